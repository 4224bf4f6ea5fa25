"""A chat client of the framework that says what it is told to say, and an agent with a tool that runs over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    Message,
    tool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Told(FunctionInvocationLayer, ChatMiddlewareLayer, BaseChatClient):
    """A chat client that gives *answers*, one after the other, and keeps what it was *asked*."""

    def __init__(self, answers: list[list[Any]]) -> None:
        """Give *answers*: the contents of a message each."""
        super().__init__()
        self.answers, self.asked = [*answers], list[list[dict[str, Any]]]()

    def _inner_get_response(self, *, messages: Any, stream: bool, **_: Any) -> Any:
        self.asked.append([message.to_dict() for message in messages])
        number = len(self.asked)
        message = Message("assistant", self.answers.pop(0), message_id=f"m{number}")
        used: Any = {"input_token_count": 10 * number, "output_token_count": number}
        about: Any = {"model": "told-1", "finish_reason": "stop"}

        async def answer() -> ChatResponse:
            return ChatResponse(messages=[message], usage_details=used, **about)

        async def updates() -> AsyncIterator[ChatResponseUpdate]:
            for content in (*message.contents, Content.from_usage(used)):
                yield ChatResponseUpdate(
                    role="assistant", contents=[content], message_id=message.message_id, **about
                )

        return self._build_response_stream(updates()) if stream else answer()


@tool(approval_mode="never_require")
def climate(city: str) -> str:
    """Say what the weather is like in *city*."""
    return f"mild in {city}"


def call(call_id: str, city: str = "Oslo") -> Content:
    """Return a call of the tool."""
    return Content.from_function_call(call_id, "climate", arguments=f'{{"city":"{city}"}}')


def two_turns() -> list[list[Any]]:
    """Return what a model says in two turns: each time it calls the tool, and answers."""
    return [[call("c1")], ["Mild."], [call("c2", "Rome"), call("c3", "Bonn")], ["Mild, too."]]


def agent(client: Told, provider: Any, **options: Any) -> Agent:
    """Return an agent with the tool, which keeps what is said in *provider*."""
    return Agent(client, "Be brief.", tools=[climate], context_providers=[provider], **options)


async def ask(one: Agent, question: Any, session: Any, *, stream: bool = False) -> Any:
    """Run *one* until it has answered."""
    if not stream:
        return (await one.run(question, session=session)).text
    updates = one.run(question, session=session, stream=True)
    async for _ in updates:
        pass
    return (await updates.get_final_response()).text
