"""The door of Pydantic AI: the same results as the framework's own store in memory, and durable.

Two stores get the same random operations; what one does the other must do: results, errors, and what is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from pydantic_ai import Agent, Conversation, DeferredToolRequests
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
    InMemoryConversationStore,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.test import TestModel
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai.usage import RequestUsage, RunUsage
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

import chatstore
from chatstore import AIMessage, HumanMessage
from chatstore.integrations.pydantic_ai import ChatstoreConversationStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

NAMES, SCOPES = ("a", "b", "c", "d/é"), (None, "ada", "bob")


# ------------------------------------------------------------------------------------------------ the same results


class Twins:
    """The framework's own store and the door, which get the same calls."""

    def __init__(self, door: ConversationStore, seed: int) -> None:
        """Begin with both empty."""
        self.stores: tuple[ConversationStore, ...] = (InMemoryConversationStore(), door)
        self.chance = random.Random(seed)
        #: What each has loaded, by name: two copies of each, so that some are stale.
        self.held: dict[str, list[tuple[Any, ...]]] = {name: [] for name in NAMES}
        self.done: Counter[str] = Counter()

    async def both(self, name: str, *calls: Any) -> tuple[Any, ...]:
        """Make a call of each store; both raise the same, or both answer."""
        found: list[Any] = []
        errors: list[Any] = []
        for call in calls:
            try:
                found.append(await call)
                errors.append(None)
            except (ConversationConflict, UserError, LookupError) as error:
                found.append(None)
                errors.append(type(error))
        assert errors[0] == errors[1], (name, errors)
        self.done[name if errors[0] is None else f"{name} {errors[0].__name__}"] += 1
        return tuple(found)

    async def step(self) -> None:
        """Do one random operation, and compare."""
        name, scope = self.chance.choice(NAMES), self.chance.choice(SCOPES)
        kinds: list[Any] = [self.save] * 3 + [self.fork] * 2  # most forks find their id taken
        kinds += [self.load, self.branch, self.delete, self.list, self.entries]
        await self.chance.choice(kinds)(name, scope)

    async def load(self, name: str, scope: str | None) -> None:
        """Load all or the last messages."""
        limit = self.chance.choice((None, None, 0, 1, 3, 100))
        pair = await self.both("load", *(one.load(name, limit=limit, scope=scope) for one in self.stores))
        same(*pair)
        if pair[0] is not None and limit is None:
            self.held[name] = [*self.held[name][-1:], pair]

    async def branch(self, name: str, scope: str | None) -> None:
        """Branch from a place that may not be there, on a revision that may be stale."""
        if not self.held[name]:
            return
        pair = self.chance.choice(self.held[name])
        at = self.chance.randrange(len(pair[0].messages) + 2)
        calls = (
            store.branch(name, at=at, expected_revision=one.revision, scope=scope)
            for store, one in zip(self.stores, pair, strict=True)
        )
        made = await self.both("branch", *calls)
        same(*made)
        self.held[name] += [made] if made[0] is not None else []

    async def fork(self, name: str, scope: str | None) -> None:
        """Fork to an id that may be taken."""
        target, at = self.chance.choice(NAMES), self.chance.choice((None, 0, 1, 2, 5))
        calls = (one.fork(name, at=at, new_conversation_id=target, scope=scope) for one in self.stores)
        made = await self.both("fork", *calls)
        same(*made)
        self.held[target] += [made] if made[0] is not None else []

    async def delete(self, name: str, scope: str | None) -> None:
        """Delete, more rarely than the rest."""
        if self.chance.random() < 0.4:
            await self.both("delete", *(one.delete(name, scope=scope) for one in self.stores))

    async def list(self, _: str, scope: str | None) -> None:
        """List the conversations of a scope, or all."""
        lists = await self.both("list", *(one.list_conversations(scope=scope) for one in self.stores))
        assert [shown(record) for record in lists[0]] == [shown(record) for record in lists[1]]

    async def entries(self, name: str, scope: str | None) -> None:
        """Load the entries: each stands behind the one before it."""
        lines = await self.both("entries", *(one.load_entries(name, scope=scope) for one in self.stores))
        assert (lines[0] is None) == (lines[1] is None)
        if lines[0] is not None:
            assert [one.message for one in lines[0]] == [one.message for one in lines[1]]
            for line in lines:
                assert [None, *(one.id for one in line)][: len(line)] == [one.parent_id for one in line]

    async def save(self, name: str, scope: str | None) -> None:
        """Save a loaded conversation that went on, or was rewritten, or a new one."""
        chance = self.chance
        if self.held[name] and chance.random() < 0.8:
            pair = chance.choice(self.held[name])
        else:
            pair = (Conversation(conversation_id=name), Conversation(conversation_id=name))
        new = messages(chance, chance.randrange(4))
        deferred = (
            DeferredToolRequests(calls=[ToolCallPart("pay", {"n": 1}, "c")])
            if chance.random() < 0.2
            else None
        )
        rewrite, seed = chance.random() < 0.15, chance.random()
        for one in pair:
            if rewrite and one.messages:
                one.new_message_index = None
                one.messages[int(seed * len(one.messages)) :] = []
            one.messages.extend(deepcopy(new))
            one.usage = one.usage + RunUsage(requests=1, input_tokens=len(new))
            one.deferred_tool_requests = deferred
        calls = (store.save(one, scope=scope) for store, one in zip(self.stores, pair, strict=True))
        saved = await self.both("save", *calls)
        if saved[0] is not None:
            assert [one.message for one in saved[0]] == [one.message for one in saved[1]]
            self.held[name] = [*self.held[name][-2:], pair]


def same(one: Conversation | None, other: Conversation | None) -> None:
    """Compare what two stores loaded; their revisions and ids are their own."""
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.messages == other.messages
        assert (one.usage, one.deferred_tool_requests) == (other.usage, other.deferred_tool_requests)
        assert one.new_message_index == other.new_message_index


def shown(record: ConversationRecord) -> tuple[Any, ...]:
    """Return what two records have alike."""
    about = record.usage, record.deferred_tool_requests, record.scope, record.forked_from
    return (
        record.conversation_id,
        record.head_id is None,
        *about,
        record.forked_at is None,
        len(record.branches),
    )


def messages(chance: random.Random, count: int) -> list[ModelMessage]:
    """Return *count* messages of every kind of part."""
    kinds: Sequence[Any] = (
        lambda: ModelRequest([SystemPromptPart("Be kind."), UserPromptPart(f"Hello {chance.randrange(3)}")]),
        lambda: ModelRequest(
            [UserPromptPart(["Look:", BinaryContent(b"\x00\xff", media_type="application/pdf")])]
        ),
        lambda: ModelResponse(
            [ThinkingPart("Hm.", signature="s"), TextPart("Well."), ToolCallPart("f", '{"x": 1}', "1")],
            usage=RequestUsage(input_tokens=3, output_tokens=4),
            model_name="m",
        ),
        lambda: ModelRequest([ToolReturnPart("f", {"a": [1, None]}, "1"), ToolReturnPart("g", "two", "2")]),
        lambda: ModelResponse([TextPart("Fine. \x00 🙂")], finish_reason="stop"),
        lambda: ModelRequest([], instructions="only these"),
    )
    return [chance.choice(kinds)() for _ in range(count)]


async def differ(url: str, steps: int, seed: int) -> Counter[str]:
    """Make *steps* random operations on both stores; return how often each was done, and refused."""
    async with chatstore.connect_async(url) as repository:
        twins = Twins(ChatstoreConversationStore(repository), seed)
        for _ in range(steps):
            await twins.step()
        return twins.done


def test_the_same_results_as_in_memory(place: str) -> None:
    """Law: whatever is saved, branched, forked, deleted and listed, results and errors are those of the framework."""
    seed = random.randrange(2**32)
    done = asyncio.run(differ(place, 400, seed))

    assert {"save", "save ConversationConflict", "load", "branch", "fork", "delete", "list"} <= set(done), (
        seed,
        done,
    )


@pytest.mark.whole
@pytest.mark.timeout(1_500)
def test_the_same_results_over_ten_thousand_operations(durable: str) -> None:
    """Law: the same, ten thousand times."""
    seed = random.randrange(2**32)
    assert asyncio.run(differ(durable, 10_000, seed)), seed


def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a door that loses the last of the new entries is found out."""
    good = ChatstoreConversationStore.write_record

    async def bad(self: Any, record: Any, *, new_entries: Any = (), expected_revision: Any) -> None:
        if len(new_entries) > 1:
            record.head_id = new_entries[-2].id
        await good(self, record, new_entries=new_entries, expected_revision=expected_revision)

    monkeypatch.setattr(ChatstoreConversationStore, "write_record", bad)
    with pytest.raises(AssertionError):
        asyncio.run(differ("memory:", 400, 1))


# ------------------------------------------------------------------------------------------------ beside others


def agent() -> Agent[None, str]:
    """Return an agent that calls a tool and answers."""
    made = Agent(TestModel(custom_output_text="It is mild."), system_prompt="Be brief.")

    @made.tool_plain
    def climate(city: str) -> str:
        return f"mild in {city}"

    return made


async def talk(door: ConversationStore, name: str, *prompts: str) -> Conversation:
    """Run the agent on each of *prompts*; return the conversation as it was saved last."""
    for prompt in prompts:
        conversation = await door.load(name) or Conversation(conversation_id=name)
        result = await agent().run(prompt, conversation=conversation)
        await door.save(result)
    return result.conversation


def test_columns_say_what_was_said(place: str) -> None:
    """Law: others read a request with several parts as several messages, with roles, calls, tokens and models."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            door = ChatstoreConversationStore(repository)
            saved = await talk(door, "s", "And in Rome?")
            loaded = await door.load("s")
            read: list[Any] = await repository.get_messages("s")

            assert loaded is not None
            assert saved.messages == loaded.messages
            assert ["system", "human", "ai", "tool", "ai"] == [message.type for message in read]
            assert ["Be brief.", "And in Rome?", "", "mild in a", "It is mild."] == [one.text for one in read]
            assert {"pydantic-ai"} == {key for message in read for key in message.native}
            assert read[2].tool_calls[0]["id"] == read[3].tool_call_id
            assert read[4].response_metadata["model_name"] == "test"
            usage = await repository.usage(by=())
            assert (loaded.usage.input_tokens, loaded.usage.output_tokens) == usage[0][6:]
            assert 1 == len(await repository.search("rome"))

    asyncio.run(run())


def test_what_others_store_is_read_and_gone_on_from(place: str) -> None:
    """Law: a conversation of another framework loads, and one that another went on with does; nothing is lost."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            door = ChatstoreConversationStore(repository)
            call = {"name": "f", "args": {"x": 1}, "id": "1", "type": "tool_call"}
            await repository.add_messages(
                "s",
                [
                    HumanMessage("Hi", id="q"),
                    AIMessage("Well.", tool_calls=[call]),
                    chatstore.ToolMessage("2", tool_call_id="1", name="f"),
                    chatstore.OpaqueMessage(type="openai:reasoning", data={"content": "hm"}),
                ],
            )
            assert ["request", "response", "request"] == [one.kind for one in (await loaded(door)).messages]
            stale = await loaded(door)
            await talk(door, "s", "More?")
            before = len((await loaded(door)).messages)
            with pytest.raises(ConversationConflict):
                await door.save(stale)

            mine = await loaded(door)
            await repository.add_messages("s", [HumanMessage("Me too.")])
            with pytest.raises(ConversationConflict):  # or what the other said would be left out
                await door.save(mine)
            now = await loaded(door)
            assert before + 1 == len(now.messages)
            await talk(door, "s", "And more?")
            assert (await loaded(door)).messages[: before + 1] == now.messages
            entries = await door.load_entries("s")
            assert entries is not None
            assert entries[-1] == await door.read_entry(entries[-1].id)

    async def loaded(door: ConversationStore) -> Conversation:
        found = await door.load("s")
        assert found is not None
        return found

    asyncio.run(run())


def test_a_scope_is_the_owner(place: str) -> None:
    """Law: a record's scope owns the session; the repository of one user has that user's conversations only."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            door = ChatstoreConversationStore(repository)
            made = Conversation(conversation_id="s", messages=messages(random.Random(1), 2))
            await door.save(made, scope="ada")

            assert "ada" == (await repository.get_session("s")).user_id
            bobs = ChatstoreConversationStore(repository.scope(user_id="bob"))
            assert await bobs.load("s") is None
            with pytest.raises(ConversationConflict):
                await bobs.save(Conversation(conversation_id="s", messages=list(made.messages)))
            await bobs.delete("s")
            channel = Conversation(conversation_id="t", messages=messages(random.Random(2), 1))
            await bobs.save(channel, scope="general")
            assert ["t"] == [one.conversation_id for one in await bobs.list_conversations(scope="general")]
            assert "bob" == (await repository.get_session("t")).user_id

    asyncio.run(run())


def test_other_metadata_stays(place: str) -> None:
    """Law: what the application keeps in the session's metadata and title stays through saves."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            door = ChatstoreConversationStore(repository)
            await talk(door, "s", "One?")
            session = await repository.get_session("s")
            await repository.update_session("s", title="T", metadata={**session.metadata, "mine": [1]})
            await talk(door, "s", "Two?")
            session = await repository.get_session("s")
            assert ("T", [1]) == (session.title, session.metadata["mine"])

    asyncio.run(run())


def counted(monkeypatch: pytest.MonkeyPatch, *names: str) -> Counter[str]:
    """Count the calls of these methods of awaiting repositories from now on."""
    called = Counter[str]()
    for name in names:
        good = getattr(chatstore.AsyncRepository, name)

        def count(self: Any, *args: Any, _good: Any = good, _name: str = name, **named: Any) -> Any:
            called[_name] += 1
            return _good(self, *args, **named)

        monkeypatch.setattr(chatstore.AsyncRepository, name, count)
    return called


def test_a_save_is_one_write(durable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: entries and record are stored by one append and nothing else, so that no crash comes between."""
    called = counted(
        monkeypatch, "add_messages", "update_session", "create_session", "replace_messages", "truncate"
    )

    async def run() -> None:
        async with chatstore.connect_async(durable) as repository:
            await talk(ChatstoreConversationStore(repository), "s", "One?", "Two?")

    asyncio.run(run())
    assert {"add_messages": 2} == dict(called)


def test_what_a_store_remembers_is_not_taken_for_what_there_is(place: str) -> None:
    """Law: a store that wrote a record goes on from what others have written since, and from what they deleted."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            one, other = ChatstoreConversationStore(repository), ChatstoreConversationStore(repository)
            held = Conversation(conversation_id="s")
            held.messages.append(ModelRequest([UserPromptPart("One?")]))
            await one.save(held)
            theirs = await other.load("s")
            assert theirs is not None
            theirs.messages.append(ModelRequest([UserPromptPart("Two?")]))
            await other.save(theirs)
            held.messages.append(ModelRequest([UserPromptPart("Never.")]))
            with pytest.raises(ConversationConflict):
                await one.save(held)
            theirs.messages.append(ModelRequest([UserPromptPart("Three?")]))
            await one.save(theirs)
            assert 3 == len(await repository.get_messages("s"))
            await repository.delete_session("s")
            with pytest.raises(ConversationConflict):
                await one.save(theirs)

    asyncio.run(run())


def test_a_save_reads_nothing_that_is_known(durable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: where nobody else wrote, a save that goes on from the one before it reads no session and no message."""
    called = counted(monkeypatch, "get_session", "get_records", "get_messages", "find_message", "get_message")

    async def run() -> None:
        async with chatstore.connect_async(durable) as repository:
            door = ChatstoreConversationStore(repository)
            held = Conversation(conversation_id="s")
            for number in range(2):
                held.messages.append(ModelRequest([UserPromptPart(str(number))]))
                await door.save(held)
            called.clear()
            for number in range(2, 5):
                held.messages.append(ModelRequest([UserPromptPart(str(number))]))
                await door.save(held)
            assert {} == dict(called)
            await repository.update_session("s", title="Numbers")  # at another revision, with the same record
            held.messages.append(ModelRequest([UserPromptPart("5")]))
            await door.save(held)
            assert {"get_session": 1} == dict(called)
            assert [str(number) for number in range(6)] == [
                one.text for one in await repository.get_messages("s")
            ]
            assert "Numbers" == (await repository.get_session("s")).title

    asyncio.run(run())


def test_histories_with_long_branches(place: str) -> None:
    """Law: the last messages of a line are found behind branches of any length, and a branch's line too."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            door = ChatstoreConversationStore(repository)
            made = Conversation(
                conversation_id="s", messages=[ModelRequest([UserPromptPart(str(n))]) for n in range(5)]
            )
            await door.save(made)
            long = await door.load("s")
            assert long is not None
            long.messages += [ModelRequest([UserPromptPart(f"left {n}")]) for n in range(150)]
            entries = await door.save(long)
            short = await door.branch("s", at=5, expected_revision=long.revision)
            short.messages.append(ModelRequest([UserPromptPart("kept")]))
            await door.save(short)

            found = await door.load("s", limit=3)
            assert found is not None
            assert ["3", "4", "kept"] == [one.parts[0].content for one in found.messages]
            assert 155 == len(await door.read_history(entries[-1].id))
            back = await door.branch("s", from_entry=entries[99].id, expected_revision=short.revision)
            assert 105 == len(back.messages)

    asyncio.run(run())


def test_a_fork_outlives_its_source(place: str) -> None:
    """Law: a fork has its own copy: it loads when the source is deleted, and a missing head is a conflict."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            door = ChatstoreConversationStore(repository)
            await talk(door, "s", "One?")
            fork = await door.fork("s", new_conversation_id="t")
            await door.delete("s")
            left = await door.load("t")
            assert left is not None
            assert fork.messages == left.messages
            with pytest.raises(ConversationConflict):
                await door.write_record(
                    ConversationRecord(conversation_id="u", head_id="gone"), expected_revision=None
                )
            with pytest.raises(LookupError):
                await door.read_entry("gone")
            assert ConversationEntry(id="x", parent_id=None, message=left.messages[0]).id == "x"

    asyncio.run(run())


def test_several_processes_lose_nothing(durable: str) -> None:
    """Law: of processes that each add to one conversation and try again after a conflict, every turn is there once."""
    children = []
    for process in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio.run(_add(durable, process))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [0] * 4 == [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    async def read() -> Conversation | None:
        async with chatstore.connect_async(durable) as repository:
            return await ChatstoreConversationStore(repository).load("s")

    found = asyncio.run(read())
    assert found is not None
    texts = [one.parts[0].content for one in found.messages]
    assert sorted(f"{process}.{number}" for process in range(4) for number in range(5)) == sorted(texts)


async def _add(url: str, process: int) -> None:
    async with chatstore.connect_async(url) as repository:
        door = ChatstoreConversationStore(repository)
        for number in range(5):
            while True:
                found = await door.load("s") or Conversation(conversation_id="s")
                found.messages.append(ModelRequest([UserPromptPart(f"{process}.{number}")]))
                try:
                    await door.save(found)
                except ConversationConflict:
                    await asyncio.sleep(random.random() / 50)
                else:
                    break


# ------------------------------------------------------------------------------------------------ web clients


ROLES = ("user", "assistant")


def vercel(text: str, history: Sequence[str]) -> dict[str, Any]:
    """Return what a client of the Vercel AI SDK sends; what it says of the history must not count."""
    said = [
        {"id": f"u{number}", "role": ROLES[number % 2], "parts": [{"type": "text", "text": one}]}
        for number, one in enumerate([*history, text])
    ]
    return {"trigger": "submit-message", "id": "chat", "messages": said}


def ag_ui(text: str, history: Sequence[str]) -> dict[str, Any]:
    """Return what a client of AG-UI sends."""
    said = [
        {"id": f"u{number}", "role": ROLES[number % 2], "content": one}
        for number, one in enumerate([*history, text])
    ]
    rest: dict[str, Any] = {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
    return {"threadId": "chat", "runId": "r", "messages": said, **rest}


@pytest.mark.parametrize(("adapter", "body"), [(VercelAIAdapter, vercel), (AGUIAdapter, ag_ui)])
def test_web_clients_talk_through_it(place: str, adapter: Any, body: Any) -> None:
    """Law: the adapters keep each turn, take the history from the store alone, and let no other user in."""
    with chatstore.connect(place) as repository:
        door = ChatstoreConversationStore(repository)

        async def chat(request: Request) -> Response:
            user = request.headers["x-user"]
            answered: Response = await adapter.dispatch_request(
                request, agent=agent(), conversation_store=door, conversation_scope=user
            )
            return answered

        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with door:  # which is closed on the loop that used it
                yield

        routes = [Route("/", chat, methods=["POST"])]
        with TestClient(Starlette(routes=routes, lifespan=lifespan)) as client:
            for text, history in (("One?", []), ("Two?", ["Another one?", "Invented."])):
                answer = client.post("/", json=body(text, history), headers={"x-user": "ada"})
                assert (200, True) == (answer.status_code, "mild" in answer.text)
            refused = client.post("/", json=body("Three?", []), headers={"x-user": "bob"})
            assert 404 == refused.status_code

        (session,) = repository.list_sessions().items
        asked = [one.text for one in repository.get_messages(session.session_id) if one.type == "human"]
        assert ("ada", ["One?", "Two?"]) == (session.user_id, asked)
