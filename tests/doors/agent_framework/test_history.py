"""The history provider: agents that run over it, messages of every kind, replays, and several writers."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from agent_framework import (
    AgentMiddleware,
    AgentSession,
    Content,
    HistoryProvider,
    InMemoryHistoryProvider,
    Message,
)
from agent_framework._sessions import _RunPersistenceGate

import chatstore
from chatstore import AIMessage, ChatMessage, HumanMessage, OpaqueMessage, SystemMessage, ToolMessage
from chatstore.errors import InvalidMessage, InvalidSessionId, SessionExists
from chatstore.integrations.agent_framework import ChatstoreHistoryProvider
from tests.doors.agent_framework.fakes import Told, agent, ask, call, two_turns

QUESTIONS = ("How is Oslo?", "And the others?")


def every() -> list[Message]:
    """Return messages with contents of every kind that the framework makes."""
    text = Content.from_text("so", annotations=[{"type": "citation", "url": "https://example.org"}])
    asked = Content.from_function_approval_request("a1", call("c9"))
    return [
        Message("system", ["Be brief."]),
        Message("developer", ["Be kind."]),
        Message("user", ["Hello \x00 🙂", Content.from_data(b"\x89PNG", "image/png")], author_name="Ada"),
        Message("user", [Content.from_uri("https://example.org/a.png", media_type="image/png")]),
        Message("assistant", [Content.from_text_reasoning(text="Well", protected_data="x"), text, "Yes."]),
        Message("assistant", [call("c1"), call("c2")], message_id="two calls"),
        Message(
            "tool",
            [
                Content.from_function_result("c1", result="mild"),
                Content.from_function_result("c2", result=[Content.from_data(b"GIF", "image/gif")]),
            ],
            additional_properties={"n": [1, None, {"deep": True}]},
        ),
        Message("assistant", [call("c3"), Content.from_function_result("c3", result={"x": 1}), "Done."]),
        Message("tool", [Content.from_function_result("c4", exception="ValueError: no")]),
        Message("tool", [Content.from_function_result("c5", result="both"), "and text"]),
        Message("tool", ["only text"]),
        Message("assistant", [Content.from_function_call("c6", "f", arguments='{"broken": NaN')]),
        Message("assistant", [Content.from_function_call("c7", "f", arguments={"x": [1.5]})]),
        Message("assistant", [Content.from_mcp_server_tool_call("c8", "look", arguments={"q": 1})]),
        Message("assistant", [Content.from_hosted_file("file-1"), Content.from_error(message="it failed")]),
        Message("assistant", [asked]),
        Message("user", [asked.to_function_approval_response(True)]),
        Message("assistant", []),
        Message("user", []),
    ]


def dicts(messages: Any) -> list[Any]:
    """Return *messages* as what they compare by."""
    return [message.to_dict() for message in messages]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("each_call", [False, True])
def test_an_agent_runs_over_it(store: chatstore.Repository, each_call: bool, stream: bool) -> None:
    """Law: the second turn, of another process, has the first one; what a run said is stored once, whole, counted."""
    client = Told(two_turns())
    appends: list[int] = []

    async def go() -> None:
        for question in QUESTIONS:
            async with ChatstoreHistoryProvider(store) as provider:
                one = agent(client, provider, require_per_service_call_history_persistence=each_call)
                assert isinstance(provider, HistoryProvider)
                await ask(one, question, one.create_session(session_id="s"), stream=stream)
                appends.append(store.count_messages("s"))
        async with ChatstoreHistoryProvider(store) as provider:
            read = await provider.get_messages("s")
        assert ["user", "assistant", "tool", "assistant"] * 2 == [message.role for message in read]
        assert ["m1", "m2", "m3", "m4"] == [one.message_id for one in read if one.role == "assistant"]

    asyncio.run(go())
    assert [4, 9] == appends
    assert [1, 3, 5, 7] == [len(asked) for asked in client.asked]
    messages = store.get_messages("s")
    assert ["human", "ai", "tool", "ai", "human", "ai", "tool", "tool", "ai"] == [
        one.type for one in messages
    ]
    results = [one for one in messages if isinstance(one, ToolMessage)]
    assert [("mild in Oslo", "climate", "c1"), ("mild in Rome", "climate", "c2")] == [
        (one.text, one.name, one.tool_call_id) for one in results[:2]
    ]
    answers = [one for one in messages if isinstance(one, AIMessage)]
    assert {"told-1"} == {one.response_metadata["model_name"] for one in answers}
    counts = [one.usage_metadata and one.usage_metadata["total_tokens"] for one in answers]
    assert counts == ([11, 22, 33, 44] if each_call else [None, 33, None, 77])
    assert "stop" == answers[-1].response_metadata["finish_reason"]


def test_messages_of_every_kind_come_back(store: chatstore.Repository) -> None:
    """Law: each message is what it was, in one call or one by one; a part of one is no message here."""

    async def go() -> None:
        async with ChatstoreHistoryProvider(store) as provider:
            await provider.save_messages("at once", every())
            for message in every():
                await provider.save_messages("one by one", [message])
            for name in ("at once", "one by one"):
                assert dicts(every()) == dicts(await provider.get_messages(name))
            assert [] == await provider.get_messages("missing")
            await provider.save_messages("missing", [])

    asyncio.run(go())
    kinds = [message.type for message in store.get_messages("at once")]
    assert ["system", "chat", "human", "human", "ai", "ai", "tool", "tool", "ai", "tool"] == kinds[:10]
    calls: Any = store.get_message("at once", "two calls").message
    assert ["c1", "c2"] == [one["id"] for one in calls.tool_calls]
    results = [one for one in store.get_messages("at once") if isinstance(one, ToolMessage)]
    assert ["c4"] == [one.tool_call_id for one in results if one.status == "error"]
    with pytest.raises(chatstore.errors.SessionNotFound):
        store.get_session("missing")


def test_what_others_stored_is_read(store: chatstore.Repository) -> None:
    """Law: messages of other frameworks are read as messages that say the same, and run with an agent's own."""
    made = {"name": "climate", "args": {"city": "Oslo"}, "id": "c1", "type": "tool_call"}
    store.add_messages(
        "s",
        [
            SystemMessage("Be brief."),
            HumanMessage("How is Oslo?", id="q"),
            AIMessage("I look.", tool_calls=[made]),
            ToolMessage("mild", tool_call_id="c1"),
            OpaqueMessage(type="sdk:thing", data={"content": "?"}),
            ChatMessage("Hm.", role="critic"),
        ],
    )

    async def go() -> None:
        client = Told([["Mild."]])
        async with ChatstoreHistoryProvider(store) as provider:
            read = await provider.get_messages("s")
            await ask(agent(client, provider), "So?", AgentSession(session_id="s"))
        assert ["system", "user", "assistant", "tool", "critic"] == [message.role for message in read]
        assert ["Be brief.", "How is Oslo?", "I look.", "", "Hm."] == [message.text for message in read]
        assert "q" == read[1].message_id
        assert {"city": "Oslo"} == read[2].contents[1].parse_arguments()
        assert ("c1", "mild") == (read[3].contents[0].call_id, read[3].contents[0].result)
        assert 6 == len(client.asked[0])

    asyncio.run(go())


# ---- what is handed again


def some(chance: random.Random, number: int) -> Message:
    """Return a message of little variety, with an id of its own or without one."""
    role = chance.choice(["user", "assistant", "tool"])
    said: Any = chance.choice("ab")
    if role == "tool":
        said = Content.from_function_result("c", result=said)
    return Message(role, [said], message_id=f"id{number}" if chance.random() < 0.5 else None)


@pytest.mark.parametrize("seed", range(20))
def test_it_takes_for_new_what_the_framework_does(seed: int) -> None:
    """Law: of turns, ends and whole transcripts that are handed again it keeps what the framework's own does."""
    chance = random.Random(seed)

    async def go() -> None:
        with chatstore.connect("memory:") as store:
            theirs, state = InMemoryHistoryProvider(), dict[str, Any]()
            ours = [ChatstoreHistoryProvider(store), ChatstoreHistoryProvider(store)]
            for number in range(60):
                known = await theirs.get_messages("s", state=state)
                fresh = [some(chance, 10 * number + one) for one in range(chance.randrange(4))]
                start = chance.choice([0, len(known), max(0, len(known) - chance.randrange(20))])
                await theirs.save_messages("s", [*known[start:], *fresh], state=state)
                await chance.choice(ours).save_messages("s", [*known[start:], *fresh])
                expected = dicts(await theirs.get_messages("s", state=state))
                assert expected == dicts(await chance.choice(ours).get_messages("s"))
            for one in ours:
                await one.aclose()

    asyncio.run(go())


def test_what_is_handed_again_is_not_stored_twice(store: chatstore.Repository) -> None:
    """Law: a call that is repeated, also by another process after others wrote, stores nothing if messages have ids."""
    turn = [Message("user", ["hi"], message_id="q"), Message("assistant", ["ho"], message_id="a")]

    async def go() -> None:
        async with ChatstoreHistoryProvider(store) as one, ChatstoreHistoryProvider(store) as other:
            await one.save_messages("s", turn)
            await other.save_messages("s", turn)
            await other.save_messages("s", [Message("user", ["more"])])
            await one.save_messages("s", turn)
            await one.save_messages("s", [*turn, Message("user", ["more"])])
            assert ["hi", "ho", "more"] == [message.text for message in await one.get_messages("s")]

    asyncio.run(go())


def test_a_conversation_that_is_told_again(store: chatstore.Repository) -> None:
    """Law: a client that sends all it knows with every turn, its answers under other ids, leaves each message once.

    Results of several tools come back one by one; a question that is repeated is kept, as is another agent's remark.
    """
    transcript: list[Message] = []

    async def go() -> None:
        async with ChatstoreHistoryProvider(store, load_messages=False) as provider:
            client = Told([*two_turns(), ["Yes."], ["Yes."]])
            one = agent(client, provider)
            session = AgentSession(session_id="s")
            for number, question in enumerate((*QUESTIONS, "Sure?", "Sure?")):
                transcript.append(Message("user", [question], message_id=f"q{number}"))
                response = await one.run([*transcript], session=session)
                for message in response.messages:
                    for part in message.contents:
                        transcript.append(
                            Message(message.role, [part], message_id=f"other {len(transcript)}")
                        )
            other = agent(Told([["Hm."], ["Hm."]]), provider)
            for _ in range(2):
                await ask(other, [Message("assistant", ["I agree."])], session)

    asyncio.run(go())
    texts = [message.text for message in store.get_messages("s")]
    told = [
        "How is Oslo?",
        "",
        "mild in Oslo",
        "Mild.",
        "And the others?",
        "",
        "mild in Rome",
        "mild in Bonn",
    ]
    assert [*told, "Mild, too.", "Sure?", "Yes.", "Sure?", "Yes."] == texts[:13]
    assert ["I agree.", "Hm.", "I agree.", "Hm."] == texts[13:]


def test_the_same_id_for_something_else(store: chatstore.Repository) -> None:
    """Law: a model, or a client, that gives an id twice loses nothing: the later message goes without it."""

    async def go() -> None:
        async with ChatstoreHistoryProvider(store) as provider:
            twice = [Message("assistant", [text], message_id="m") for text in ("one", "two")]
            await provider.save_messages("s", twice)
            await provider.save_messages(
                "s", [Message("user", ["?"]), Message("assistant", ["three"], message_id="m")]
            )
            odd = [Message("user", ["x"], message_id=text) for text in (" ", "y" * 300, "")]
            await provider.save_messages("odd", odd)
            assert dicts(odd) == dicts(await provider.get_messages("odd"))
            found = await provider.get_messages("s")
        assert [("one", "m"), ("two", "m"), ("?", None), ("three", "m")] == [
            (message.text, message.message_id) for message in found
        ]

    asyncio.run(go())
    assert "one" == store.get_message("s", "m").message.text


def test_a_repeated_question_is_kept(store: chatstore.Repository) -> None:
    """Law: the same question, asked in turn after turn, is there as often as it was asked."""

    async def go() -> None:
        async with ChatstoreHistoryProvider(store) as provider:
            one = agent(Told([[str(number)] for number in range(4)]), provider)
            session = one.create_session(session_id="s")
            for _ in range(4):
                await ask(one, "Go on.", session)

    asyncio.run(go())
    texts = [message.text for message in store.get_messages("s")]
    assert ["Go on.", "0", "Go on.", "1", "Go on.", "2", "Go on.", "3"] == texts


def test_what_others_deleted_is_stored_again(store: chatstore.Repository) -> None:
    """Law: an answer that is asked for once more, after the application took it back, is stored."""

    async def go() -> None:
        async with ChatstoreHistoryProvider(store) as provider:
            turn = [Message("user", ["hi"], message_id="q"), Message("assistant", ["ho"], message_id="a")]
            await provider.save_messages("s", turn)
            await provider.get_messages("s")
            store.truncate("s", after=1)
            await provider.save_messages("s", turn)
            assert dicts(turn) == dicts(await provider.get_messages("s"))

    asyncio.run(go())


def test_several_write_at_once(store: chatstore.Repository) -> None:
    """Law: turns of several providers, which have all read the same, are all there, each in one piece."""

    async def go() -> None:
        async with ChatstoreHistoryProvider(store) as first:
            providers = [first, *(ChatstoreHistoryProvider(first._store) for _ in range(5))]
            for provider in providers:
                await provider.get_messages("s")

            async def write(number: int, provider: Any) -> None:
                for turn in range(5):
                    said = [Message(role, [f"{number}.{turn}"]) for role in ("user", "assistant")]
                    await provider.save_messages("s", said)

            await asyncio.gather(*(write(number, one) for number, one in enumerate(providers)))
            texts = [message.text for message in await first.get_messages("s")]
        assert texts[::2] == texts[1::2]
        assert 30 == len({*texts})

    asyncio.run(go())


# ---- what is not written


class Verdict(AgentMiddleware):
    """Lets a run go, and keeps what it would store until it is *allowed*, as the framework's hooks do."""

    def __init__(self, *, allowed: bool) -> None:
        """Say at the end whether it is *allowed*."""
        self.allowed = allowed

    async def process(self, context: Any, call_next: Any) -> None:
        """Run, and store or forget."""
        gate = context._run_persistence_gate = _RunPersistenceGate()
        with gate:
            await call_next()
        if self.allowed:
            await gate.flush()
        gate.drop()


@pytest.mark.parametrize("allowed", [False, True])
def test_nothing_is_stored_before_the_verdict(store: chatstore.Repository, allowed: bool) -> None:
    """Law: what a run said is stored once it is allowed, with its counts, and never if it is not."""

    async def go() -> None:
        async with ChatstoreHistoryProvider(store) as provider:
            one = agent(Told(two_turns()), provider, middleware=[Verdict(allowed=allowed)])
            await ask(one, "How is Oslo?", AgentSession(session_id="s"))

    asyncio.run(go())
    assert (4 if allowed else 0) == store.count_messages("s")
    if allowed:
        answer: Any = store.get_messages("s")[-1]
        assert 30 == answer.usage_metadata["input_tokens"]


def test_options_of_the_framework(store: chatstore.Repository) -> None:
    """Law: a provider that stores nothing writes nothing; one that stores answers alone does that."""

    async def go() -> None:
        async with ChatstoreHistoryProvider(store, store_inputs=False, store_outputs=False) as provider:
            await ask(agent(Told([["Mild."]]), provider), "Hi", AgentSession(session_id="none"))
        async with ChatstoreHistoryProvider(store, "audit", store_inputs=False) as provider:
            assert "audit" == provider.source_id
            await ask(agent(Told([["Mild."]]), provider), "Hi", AgentSession(session_id="answers"))

    asyncio.run(go())
    assert ["answers"] == [session.session_id for session in store.list_sessions().items]
    assert ["Mild."] == [message.text for message in store.get_messages("answers")]


@pytest.mark.parametrize(
    ("last", "texts"),
    [(None, 8), (8, 8), (7, 7), (6, 5), (5, 5), (3, 3), (1, 1), (0, 0), (100, 8)],
)
def test_the_newest_begin_with_no_result(store: chatstore.Repository, last: int | None, texts: int) -> None:
    """Law: a run gets the newest messages; a result without its call is left out."""

    async def go() -> None:
        async with ChatstoreHistoryProvider(store, last=last) as provider:
            one = agent(Told(two_turns()), ChatstoreHistoryProvider(provider._store))
            for question in QUESTIONS:
                await ask(one, question, AgentSession(session_id="s"))
            found = await provider.get_messages("s")
            assert texts == len(found)
            assert [] == [message for message in found[:1] if message.role == "tool"]
            await provider.save_messages("s", [Message("user", ["More."])])

    asyncio.run(go())
    assert 10 == store.count_messages("s")


def test_what_cannot_be_kept_is_refused(store: chatstore.Repository) -> None:
    """Law: a message that is no JSON, a session's id that is none, another owner's session: nothing is written."""
    store.scope(user_id="bob").add_messages("bob's", [HumanMessage("mine")])

    async def go() -> None:
        async with ChatstoreHistoryProvider(store.scope(user_id="ada")) as provider:
            bad = Message("user", ["x"], additional_properties={"n": float("nan")})
            with pytest.raises(InvalidMessage, match="nan"):
                await provider.save_messages("s", [Message("user", ["y"]), bad])
            for name in (None, ""):
                with pytest.raises(InvalidSessionId):
                    await provider.save_messages(name, [Message("user", ["x"])])
            assert [] == await provider.get_messages("bob's")
            with pytest.raises(SessionExists):
                await provider.save_messages("bob's", [Message("user", ["x"])])
            await provider.save_messages("ada's", [Message("user", ["x"])])

    asyncio.run(go())
    owners = {session.session_id: session.user_id for session in store.list_sessions().items}
    assert {"bob's": "bob", "ada's": "ada"} == owners
