"""`ChatstoreSession`: what the SDK asks of a session, in its own runs, and what others read of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, RunConfig, Runner, SessionSettings, function_tool
from agents.extensions.memory import EncryptedSession
from agents.memory import OpenAIResponsesCompactionSession, Session
from agents.testing import ScriptedModel, assistant_message, function_call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chatstore
from chatstore import AIMessage, HumanMessage, OpaqueMessage, SystemMessage, ToolMessage
from chatstore.errors import Invalid, InvalidMessage
from chatstore.integrations.openai_agents import ChatstoreSession

if TYPE_CHECKING:
    from collections.abc import Callable

#: One item of each kind that the API has, and some that it has not.
ITEMS: list[Any] = [
    {"role": "user", "content": "When do I plant tomatoes?"},
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "And this?"},
            {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
            {"type": "input_file", "file_id": "file_1"},
        ],
    },
    {"role": "developer", "content": "Be brief."},
    {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "A gardener"}],
        "encrypted_content": "a\u0000b",
    },
    {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "call_1",
        "name": "climate",
        "arguments": '{"city": "Graz"}',
        "status": "completed",
    },
    {"type": "function_call", "call_id": "call_2", "name": "climate", "arguments": '{"x": NaN}'},
    {"type": "function_call", "call_id": "call_3", "name": "climate", "arguments": "not JSON"},
    {"type": "function_call_output", "call_id": "call_1", "output": "mild"},
    {
        "type": "function_call_output",
        "call_id": "call_2",
        "output": [{"type": "input_text", "text": "mild"}, {"type": "input_image", "file_id": "file_2"}],
    },
    {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    },
    {"type": "mcp_approval_request", "id": "m", "arguments": "{}", "name": "n", "server_label": "s"},
    {"type": "compaction", "encrypted_content": "secret"},
    {"type": "item_reference", "id": "msg_0"},
    {"type": "a_type_that_the_api_gets_later_and_that_is_long", "value": 1},
    {"type": "human", "content": "a type that is one of chatstore's"},
    {"role": "critic", "content": "a role that the API has not"},
    {
        "role": "user",
        "content": [{"type": "input_text", "text": "two"}, {"type": "input_text", "text": "parts"}],
    },
    {"__enc__": 1, "v": 1, "kid": "k", "payload": "p"},
    {
        "id": "__fake_id__",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "In May. \ud83c\udf45", "annotations": [], "logprobs": []}
        ],
    },
    {"role": "user", "content": ""},
    {},
]


@function_tool
def climate(city: str) -> str:
    """Tell the climate of a city."""
    return f"{city}: mild"


def agent(*steps: Any) -> Agent[Any]:
    """Return an agent that answers as scripted."""
    return Agent(name="gardener", model=ScriptedModel(list(steps)), tools=[climate])


TURN = (
    [function_call("climate", {"city": "Graz"}, call_id="call_1")],
    [assistant_message("In May.")],
)


def test_it_is_a_session_of_the_sdk(store: chatstore.Repository) -> None:
    """Law: the SDK's own check of its protocol says so."""
    assert isinstance(ChatstoreSession("s", store), Session)


def test_every_item_comes_back_equal(store: chatstore.Repository) -> None:
    """Law: whatever an item is, it comes back deep-equal and in order, one for one, repeats included."""

    async def main() -> None:
        async with ChatstoreSession("s", store) as session:
            await session.add_items(ITEMS)
            await session.add_items(ITEMS)
            assert ITEMS + ITEMS == await session.get_items()

    asyncio.run(main())
    assert 2 * len(ITEMS) == store.count_messages("s")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
any_items = st.dictionaries(
    st.sampled_from(["type", "role", "content", "call_id", "name", "arguments", "output", "summary", "id"])
    | st.text(),
    json_values
    | st.sampled_from(
        ["message", "user", "assistant", "function_call", "function_call_output", "reasoning", "{}"]
    ),
    max_size=6,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_items, max_size=4))
def test_any_json_object_comes_back_equal(items: list[Any]) -> None:
    """Law: so does any JSON object, shaped like an item or not."""

    async def main() -> None:
        async with ChatstoreSession("s", chatstore.connect("memory:")) as session:
            await session.add_items(items)
            assert json.dumps(items) == json.dumps(await session.get_items())

    asyncio.run(main())


@pytest.mark.parametrize("bad", [{"role": "user", "content": float("nan")}, {"x": {1, 2}}, {"a": b"bytes"}])
def test_what_is_no_json_is_refused_whole(bad: Any, store: chatstore.Repository) -> None:
    """Law: an item that would not come back equal stores nothing, neither itself nor those beside it."""

    async def main() -> None:
        async with ChatstoreSession("s", store) as session:
            with pytest.raises(InvalidMessage):
                await session.add_items([{"role": "user", "content": "Hi"}, bad])
            assert [] == await session.get_items()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, [0, 1, 2, 3]), (2, [2, 3]), (9, [0, 1, 2, 3]), (0, [])]
)
def test_limits(limit: int | None, expected: list[int], store: chatstore.Repository) -> None:
    """Law: a limit gives the newest, oldest first; given explicitly or by the settings, explicitly above all."""
    items: list[Any] = [{"role": "user", "content": str(number)} for number in range(4)]

    async def main() -> None:
        async with ChatstoreSession("s", store) as session:
            await session.add_items(items)
            chosen = [items[number] for number in expected]
            assert chosen == await session.get_items(limit)
            session.session_settings = SessionSettings(limit=limit)
            assert chosen == await session.get_items()
            assert items[3:] == await session.get_items(1)
            with pytest.raises(Invalid):
                await session.get_items(-1)

    asyncio.run(main())


def test_a_run_and_what_others_see_of_it(store: chatstore.Repository) -> None:
    """Law: two runs share a conversation; its messages are readable, searchable, and have their columns and tokens."""

    async def main() -> tuple[Any, Any]:
        async with ChatstoreSession("s", store) as session:
            first = await Runner.run(agent(*TURN), "When do I plant tomatoes?", session=session)
            second = agent([assistant_message("In May, as I said.")])
            await Runner.run(second, "Sure?", session=session)
            return first, second.model

    first, model = asyncio.run(main())
    said = [(type(message), message.text) for message in store.get_messages("s")]
    assert [
        (HumanMessage, "When do I plant tomatoes?"),
        (AIMessage, ""),
        (ToolMessage, "Graz: mild"),
        (AIMessage, "In May."),
        (HumanMessage, "Sure?"),
        (AIMessage, "In May, as I said."),
    ] == said
    call, output = store.get_messages("s")[1:3]
    assert isinstance(call, AIMessage)
    assert isinstance(output, ToolMessage)
    assert [
        {"name": "climate", "args": {"city": "Graz"}, "id": "call_1", "type": "tool_call"}
    ] == call.tool_calls
    assert "call_1" == output.tool_call_id
    assert first.to_input_list() == model.calls[0].input[:4]
    assert ["In May."] == [hit.content for hit in store.search("may -said")]


def test_the_usage_of_a_run_is_stored_with_its_answers(store: chatstore.Repository) -> None:
    """Law: each answer has the tokens of its own request, which nobody had to store; they sum up to the run's."""

    async def main() -> Any:
        async with ChatstoreSession("s", store) as session:
            result = await Runner.run(agent(*spending()), "When?", session=session)
            await Runner.run(agent(*spending()), "When?", session=session)
            return result.context_wrapper.usage

    usage = asyncio.run(main())
    counted = [
        (message.usage_metadata or {}).get("total_tokens")
        for message in store.get_messages("s")
        if isinstance(message, AIMessage)
    ]
    assert [15, 27, 15, 27] == counted
    (row,) = store.usage(by=("session_id",))
    assert (2 * usage.input_tokens, 2 * usage.output_tokens) == (row.input_tokens, row.output_tokens)


def spending() -> list[Any]:
    """Return the steps of `TURN`, with usage."""
    from agents.items import ModelResponse
    from agents.usage import Usage

    spent = [(10, 5), (20, 7)]
    return [
        ModelResponse(
            output=list(items),
            usage=Usage(requests=1, input_tokens=given, output_tokens=made, total_tokens=given + made),
            response_id=None,
        )
        for items, (given, made) in zip(TURN, spent, strict=True)
    ]


def test_the_limit_of_a_run(store: chatstore.Repository) -> None:
    """Law: `RunConfig(session_settings=…)` limits what the model is given of the session."""

    async def main() -> Any:
        async with ChatstoreSession("s", store) as session:
            await session.add_items([{"role": "user", "content": str(number)} for number in range(9)])
            asked = agent([assistant_message("Yes.")])
            limits = RunConfig(session_settings=SessionSettings(limit=2))
            await Runner.run(asked, "And?", session=session, run_config=limits)
            return asked.model

    assert ["7", "8", "And?"] == [item["content"] for item in asyncio.run(main()).calls[0].input]


def test_pop_gives_each_item_to_one_caller(store: chatstore.Repository) -> None:
    """Law: the newest goes first; of callers at the same time no two get the same; nothing gives None."""
    items: list[Any] = [{"role": "user", "content": str(number)} for number in range(20)]

    async def main() -> None:
        async with ChatstoreSession("s", store) as session:
            assert await session.pop_item() is None
            await session.add_items(items)
            assert items[-1] == await session.pop_item()
            popped = await asyncio.gather(*(session.pop_item() for _ in range(21)))
            assert sorted(map(json.dumps, items[:-1])) == sorted(json.dumps(item) for item in popped if item)
            assert 2 == popped.count(None)
            await session.add_items(items)
            await session.clear_session()
            assert [] == await session.get_items()

    asyncio.run(main())


def test_what_another_framework_wrote(store: chatstore.Repository) -> None:
    """Law: it is read as the items that say the same; popping takes these one by one; a limit counts them."""
    call = {"name": "climate", "args": {"city": "Graz"}, "id": "c1", "type": "tool_call"}
    store.add_messages(
        "s",
        [
            SystemMessage("Be brief."),
            HumanMessage(
                [{"type": "text", "text": "This?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
            ),
            AIMessage("Let me see.", tool_calls=[call, {**call, "id": "c2"}]),
            OpaqueMessage(type="elsewhere", data={"content": "unsayable"}),
        ],
    )
    wanted: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "This?"},
                {"type": "input_image", "image_url": "data:,", "detail": "auto"},
            ],
        },
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "c1", "name": "climate", "arguments": '{"city":"Graz"}'},
        {"type": "function_call", "call_id": "c2", "name": "climate", "arguments": '{"city":"Graz"}'},
    ]

    async def main() -> None:
        async with ChatstoreSession("s", store) as session:
            assert wanted == await session.get_items()
            assert wanted[1:] == await session.get_items(4)
            assert wanted[::-1] == [await session.pop_item() for _ in wanted]
            assert await session.pop_item() is None

    asyncio.run(main())


def test_what_was_edited_counts(store: chatstore.Repository) -> None:
    """Law: a message whose text somebody changed is read as it says now, not as the item it once was."""

    async def main() -> list[Any]:
        async with ChatstoreSession("s", store) as session:
            await session.add_items([{"role": "user", "content": "May"}])
            (stored,) = store.get_messages("s")
            store.update_message("s", 1, stored.model_copy(update={"content": "June"}))
            return await session.get_items()

    assert [{"role": "user", "content": "June"}] == asyncio.run(main())


def test_what_was_edited_counts_in_parts_too(store: chatstore.Repository) -> None:
    """Law: the same for content of several parts, for outputs of tools, and beside items that stay as they were."""
    parts = [{"type": "input_text", "text": "May"}, {"type": "input_text", "text": "?"}]
    output = {"type": "function_call_output", "call_id": "c", "output": "mild"}
    kept: list[Any] = [{"role": "user", "content": parts}, {"role": "user", "content": "\0"}, output]

    async def main() -> list[Any]:
        async with ChatstoreSession("s", store) as session:
            await session.add_items([*kept, *kept])
            for record in store.get_records("s")[3:]:
                store.update_message(
                    "s", record.position, record.message.model_copy(update={"content": "June"})
                )
            return await session.get_items()

    june = {"role": "user", "content": "June"}
    assert [*kept, june, june, {**output, "output": "June"}] == asyncio.run(main())


def test_encrypted_around_it(store: chatstore.Repository) -> None:
    """Law: the SDK's encryption works around it, and nothing of what was said is stored in the clear."""

    async def main() -> None:
        async with ChatstoreSession("s", store) as inner:
            session: Any = EncryptedSession("s", inner, "a key for this test")
            await Runner.run(agent(*TURN), "When do I plant tomatoes?", session=session)
            assert 4 == len(await session.get_items())
            assert 2 == len(await session.get_items(2))
            assert "In May." in json.dumps(await session.pop_item())

    asyncio.run(main())
    assert 3 == store.count_messages("s")
    assert not [record for record in store.get_records("s") if "tomatoes" in repr(record)]


class Compacting:
    """The part of OpenAI's client that compacts; *meanwhile* runs before it answers."""

    def __init__(self, meanwhile: Callable[[], Any] = lambda: None) -> None:
        self.responses = self
        self.meanwhile = meanwhile
        self.asked: list[Any] = []

    async def compact(self, **request: Any) -> Any:
        """Answer with one item that stands for all."""
        from types import SimpleNamespace

        self.asked.append(request)
        self.meanwhile()
        return SimpleNamespace(output=[{"type": "compaction", "encrypted_content": "all"}], usage=None)


def compacting(inner: Any, client: Compacting) -> Any:
    """Return the SDK's session that compacts whenever it can."""
    return OpenAIResponsesCompactionSession(
        "s",
        inner,
        client=client,
        compaction_mode="input",
        should_trigger_compaction=lambda _: True,
    )


def test_compaction_by_hand(store: chatstore.Repository) -> None:
    """Law: `run_compaction` puts the compacted items in the place of all others, in one write."""

    async def main() -> None:
        async with ChatstoreSession("s", store) as inner:
            session = compacting(inner, Compacting())
            await session.add_items(ITEMS[:1])
            before = store.get_session("s").revision
            await session.run_compaction({"force": True})
            assert [{"type": "compaction", "encrypted_content": "all"}] == await inner.get_items()
            assert before + 1 == store.get_session("s").revision

    asyncio.run(main())


def answering(text: str) -> Any:
    """Return a step that has the id of a response, which the SDK compacts after."""
    from agents.items import ModelResponse
    from agents.usage import Usage

    return ModelResponse(output=[assistant_message(text)], usage=Usage(), response_id="resp_1")


def test_compaction_after_a_run(store: chatstore.Repository) -> None:
    """Law: what the SDK compacts after a run takes the place of the whole conversation in one write."""
    client = Compacting()

    async def main() -> list[Any]:
        async with ChatstoreSession("s", store) as inner:
            await Runner.run(agent(answering("In May.")), "When?", session=compacting(inner, client))
            return await inner.get_items()

    assert [{"type": "compaction", "encrypted_content": "all"}] == asyncio.run(main())
    assert 1 == len(client.asked)


def test_compaction_loses_nothing_that_others_write(store: chatstore.Repository) -> None:
    """Law: what was stored while the SDK waited for the compacted items is not replaced by them; nothing is."""
    client = Compacting(lambda: store.add_messages("s", [HumanMessage("One more thing!")]))

    async def main() -> list[Any]:
        async with ChatstoreSession("s", store) as inner:
            await Runner.run(agent(answering("In May.")), "When?", session=compacting(inner, client))
            return await inner.get_items()

    assert ["When?", "In May.", "One more thing!"] == [
        item["content"] if isinstance(item["content"], str) else item["content"][0]["text"]
        for item in asyncio.run(main())
    ]
    assert 1 == len(client.asked)


def test_compaction_of_the_end(store: chatstore.Repository) -> None:
    """Law: where the SDK keeps the head, its messages stay, and only what follows is replaced."""
    session = ChatstoreSession("s", store)
    items: list[Any] = [{"role": "user", "content": str(number)} for number in range(4)]

    async def main() -> None:
        async with session:
            await session.add_items(items)
            assert await session._get_compaction_snapshot(3) is None
            snapshot = await session._get_compaction_snapshot(4)
            assert snapshot.complete
            assert items == snapshot.items
            assert await snapshot.replace_suffix(2, [{"type": "compaction"}])
            assert [*items[:2], {"type": "compaction"}] == await session.get_items()
            assert not await snapshot.replace_suffix(2, [])
            pruning = await session._get_compaction_snapshot(9, prune_prefix=lambda item: item == items[0])
            assert await pruning.replace_suffix(2, [])
            assert [items[1]] == await session.get_items()

    asyncio.run(main())


def test_a_run_that_was_resumed_counts_its_tokens_once(store: chatstore.Repository) -> None:
    """Law: a run that waited for an approval and goes on in another process adds only what it used there."""
    from agents import RunState

    @function_tool(needs_approval=True)
    def pay() -> str:
        """Pay."""
        return "paid"

    def payer(steps: list[Any]) -> Agent[Any]:
        return Agent(name="payer", model=ScriptedModel(steps), tools=[pay])

    steps = spending()
    steps[0].output[:] = [function_call("pay", {}, call_id="call_1")]

    async def main() -> Any:
        async with ChatstoreSession("s", store) as session:
            paused = await Runner.run(payer(steps[:1]), "Pay!", session=session)
            assert paused.interruptions
            text = json.dumps(paused.to_state().to_json())
        async with ChatstoreSession("s", store) as session:
            again = payer(steps[1:])
            state = await RunState.from_json(again, json.loads(text))
            state.approve(state.get_interruptions()[0])
            return (await Runner.run(again, state, session=session)).context_wrapper.usage

    usage = asyncio.run(main())
    (row,) = store.usage(by=("session_id",))
    assert (usage.input_tokens, usage.output_tokens) == (row.input_tokens, row.output_tokens)
