"""The contract of errors: what is denied is denied aloud, each error says what to do, and none repeats a message."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

import pytest

from chatstore import contract
from chatstore.arguments import MAX_TYPES, MAX_WORDS
from chatstore.errors import ChatstoreError, Invalid, NotSupported
from chatstore.paging import MAX_KEYS
from chatstore.records import DurabilityLevel
from chatstore.testing.driver import ContractPart, collected, inner, offered
from chatstore.testing.loading import record
from chatstore.testing.samples import CANARY, PAST, say, unstorable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository

    Calls = dict[str, Callable[[AsyncRepository], Awaitable[Any]]]

#: What an error may tell people to do.
ADVICE = {
    "add", "append", "ask", "begin", "call", "choose", "close", "convert", "correct", "create", "delete", "flatten",
    "follow", "give", "install", "keep", "leave", "list", "load", "make", "mend", "name", "open", "pass", "read", "remove",
    "repeat", "replace", "run", "send", "set", "shorten", "split", "start", "store", "take", "try", "use", "wait", "wrap",
    "write",
}  # fmt: skip
#: One call of every operation, for backends that deny some.
OPERATIONS: Calls = {
    "create_session": lambda s: s.create_session("s"),
    "get_session": lambda s: s.get_session("s"),
    "update_session": lambda s: s.update_session("s", title="x"),
    "delete_session": lambda s: s.delete_session("s"),
    "list_sessions": lambda s: s.list_sessions(),
    "fork_session": lambda s: s.fork_session("s", "t"),
    "load_records": lambda s: s.load_records("s", [record(1)]),
    "add_messages": lambda s: s.add_messages("s", [say("x")]),
    "get_messages": lambda s: s.get_messages("s"),
    "get_records": lambda s: s.get_records("s"),
    "iter_records": lambda s: collected(s.iter_records("s")),
    "get_message": lambda s: s.get_message("s", 1),
    "update_message": lambda s: s.update_message("s", 1, say("x")),
    "delete_message": lambda s: s.delete_message("s", 1),
    "pop_message": lambda s: s.pop_message("s"),
    "count_messages": lambda s: s.count_messages("s"),
    "truncate": lambda s: s.truncate("s", after=0),
    "clear": lambda s: s.clear("s"),
    "replace_messages": lambda s: s.replace_messages("s", [say("x")]),
    "search": lambda s: s.search("x"),
    "usage": lambda s: s.usage(),
    "purge": lambda s: s.purge(),
    "durability": lambda s: s.durability(),
}
#: Calls that must fail, on a session "s" with the messages m1 and m2, both of which hold the canary.
FAILING: Calls = {
    "create_session": lambda s: s.create_session("s"),
    "create_session id": lambda s: s.create_session(""),
    "create_session scope": lambda s: s.scope(user_id="u").create_session("t", user_id="v"),
    "create_session owner": lambda s: s.create_session("t", user_id=" x"),
    "create_session title": lambda s: s.create_session("t", title="\x00"),
    "create_session metadata": lambda s: s.create_session("t", metadata={"v": float("nan")}),
    "create_session list": lambda s: s.create_session("t", metadata=["x"]),  # type: ignore[arg-type]
    "create_session nul": lambda s: s.create_session("t", metadata={"v": "\x00"}),
    "create_session expiry": lambda s: s.create_session("t", expires_at=datetime(2030, 1, 1)),  # noqa: DTZ001
    "get_session": lambda s: s.get_session("missing"),
    "update_session": lambda s: s.update_session("missing", title="x"),
    "update_session stale": lambda s: s.update_session("s", title="x", expected_revision=1),
    "update_session archived": lambda s: s.update_session("s", archived=None),  # type: ignore[arg-type]
    "update_session scope": lambda s: s.scope(user_id="u").update_session("s", user_id="v"),
    "list_sessions limit": lambda s: s.list_sessions(limit=1001),
    "list_sessions negative": lambda s: s.list_sessions(limit=-1),
    "list_sessions cursor": lambda s: s.list_sessions(cursor="x"),
    "list_sessions archived": lambda s: s.list_sessions(archived="x"),  # type: ignore[arg-type]
    "list_sessions metadata": lambda s: s.list_sessions(metadata={"k": []}),
    "fork_session": lambda s: s.fork_session("missing", "t"),
    "fork_session target": lambda s: s.fork_session("s", "s"),
    "load_records order": lambda s: s.load_records("s", [record(1, CANARY)]),
    "load_records body": lambda s: s.load_records("s", [record(1, CANARY, "m1")]),
    "load_records id": lambda s: s.load_records("s", [record(9, CANARY, "m9")._replace(message_id="m8")]),
    "load_records bad id": lambda s: s.load_records("s", [record(9, CANARY)._replace(message_id="")]),
    "load_records time": lambda s: s.load_records("s", [record(9, CANARY)._replace(created_at=None)]),  # type: ignore[arg-type]
    "add_messages body": lambda s: s.add_messages("s", [say(CANARY + "!", id="m1")]),
    "add_messages twice": lambda s: s.add_messages("s", [say(CANARY, id="m9"), say(CANARY + "!", id="m9")]),
    "add_messages stale": lambda s: s.add_messages("s", [say(CANARY)], expected_revision=1),
    "add_messages none": lambda s: s.add_messages("t", [say(CANARY)], expected_revision=1),
    "add_messages owner": lambda s: s.scope(user_id="u").add_messages("s", [say(CANARY)]),
    "add_messages text": lambda s: s.add_messages("s", CANARY),  # type: ignore[arg-type]
    "add_messages texts": lambda s: s.add_messages("s", [CANARY]),  # type: ignore[list-item]
    "add_messages revision": lambda s: s.add_messages("s", [say(CANARY)], expected_revision=-1),
    "get_messages": lambda s: s.get_messages("s", last=1, limit=1),
    "get_messages negative": lambda s: s.get_messages("s", last=-1),
    "get_messages type": lambda s: s.get_messages("s", after="x"),  # type: ignore[arg-type]
    "get_message": lambda s: s.get_message("s", 99),
    "get_message id": lambda s: s.get_message("s", "x"),
    "get_message key": lambda s: s.get_message("s", None),  # type: ignore[arg-type]
    "update_message": lambda s: s.update_message("s", 99, say(CANARY)),
    "update_message id": lambda s: s.update_message("s", 1, say(CANARY, id="m2")),
    "update_message stale": lambda s: s.update_message("s", 1, say(CANARY), expected_revision=1),
    "delete_message": lambda s: s.delete_message("s", 99),
    "truncate": lambda s: s.truncate("s", after=-1),
    "search": lambda s: s.search(None),  # type: ignore[arg-type]
    "search types": lambda s: s.search("x", types="human"),
    "usage": lambda s: s.usage(by=("week",)),
    "purge": lambda s: s.purge(expired_only=False),
    "purge naive": lambda s: s.purge(updated_before=datetime(2030, 1, 1)),  # noqa: DTZ001
}


class Named(StrEnum):
    """What an application may use for ids and titles: each member is text, and drivers disagree about which."""

    ADA = "ada lovelace"
    NUL = "a\x00b"


def many(count: int) -> dict[str, int]:
    """Return that many metadata keys."""
    return {f"k{number}": number for number in range(count)}


#: Calls with arguments of which there are too many, or that no database could hold, or that have no meaning.
REFUSED: Calls = {
    "search types of objects": lambda s: s.search("x", types=[object()]),  # type: ignore[list-item]
    "search types of nothing": lambda s: s.search("x", types=5),  # type: ignore[arg-type]
    "search types with a surrogate": lambda s: s.search("x", types=["human", "\ud800"]),
    "search types with NUL": lambda s: s.search("x", types=["\x00"]),
    "search many types": lambda s: s.search("x", types=[f"t{number}" for number in range(70_000)]),
    "search many words": lambda s: s.search(" ".join(map(str, range(100_000)))),
    "search some words": lambda s: s.search(" ".join(map(str, range(501)))),
    "search a long word": lambda s: s.search("x" * 1_000_000),
    "search session": lambda s: s.search("x", session_id=5),  # type: ignore[arg-type]
    "list_sessions many keys": lambda s: s.list_sessions(metadata=many(101)),
    "list_sessions very many keys": lambda s: s.list_sessions(metadata=many(40_000)),
    "list_sessions archived": lambda s: s.list_sessions(archived=1),  # type: ignore[arg-type]
    "list_sessions owner": lambda s: s.list_sessions(user_id=Named.NUL),
    "usage nothing": lambda s: s.usage(by=None),  # type: ignore[arg-type]
    "usage lists": lambda s: s.usage(by=[[]]),  # type: ignore[list-item]
    "usage many keys": lambda s: s.usage(by=["day"] * 100_000),
    "get_session": lambda s: s.get_session(Named.NUL),
    "get_session of a number": lambda s: s.get_session(7),  # type: ignore[arg-type]
    "get_session of a UUID": lambda s: s.get_session(UUID(int=7)),  # type: ignore[arg-type]
    "get_message": lambda s: s.get_message("s", Named.NUL),
    "create_session title": lambda s: s.create_session("t", title=Named.NUL),
    "create_session owner": lambda s: s.create_session("t", user_id=UUID(int=7)),  # type: ignore[arg-type]
    "add_messages id": lambda s: s.add_messages("t", [say("x").model_copy(update={"id": Named.NUL})]),
    "add_messages session": lambda s: s.add_messages(Named.NUL, [say("x")]),
}


def advice(error: BaseException) -> str:
    """Return the last clause of an error: what it tells people to do, '' where it tells nothing."""
    return str(error).rpartition(": ")[2] if ": " in str(error) else ""


def chain(error: BaseException | None) -> list[BaseException]:
    """Return *error* with everything it came from."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


class RefusalContract(ContractPart):
    """What holds for errors."""

    async def test_what_is_denied_raises_not_supported(self, store: AsyncRepository) -> None:
        """Every operation named in `capabilities.denied` raises `NotSupported`, which names backends that can."""
        repository = inner(store)
        for name in sorted(repository.capabilities.denied & set(OPERATIONS)):
            with pytest.raises(NotSupported, match=r"memory|file|sqlite|postgres|mysql|SQL") as caught:
                found: Any = OPERATIONS[name](_plain(store))
                await found
            assert advice(caught.value), name

    async def test_what_is_denied_is_an_operation(self, store: AsyncRepository) -> None:
        """`capabilities` names operations of the contract, and says the rest in sentences."""
        capabilities = store.capabilities

        assert set() == set(capabilities.denied) - set(contract.OPERATIONS) - {"using", "scope", "history"}
        assert all(isinstance(note, str) and note for note in capabilities.notes)
        assert capabilities.atomic_batch is None or capabilities.atomic_batch > 0

    async def test_durability_is_stated(self, store: AsyncRepository) -> None:
        """`durability` says in a word and a sentence what an acknowledged write survives."""
        stated = await store.durability()

        assert stated.level in get_args(DurabilityLevel)
        assert " " in stated.detail

    async def test_using_needs_a_transaction(self, store: AsyncRepository) -> None:
        """`using` of something that is no transaction is refused aloud, on backends without transactions always."""
        with pytest.raises(ChatstoreError) as caught:
            inner(store).using(object())
        assert advice(caught.value)

    async def test_every_error_says_what_to_do(self, store: AsyncRepository) -> None:
        """Each error of the contract ends with an instruction."""
        errors = await self._errors(store)

        assert [] == [
            (name, str(error)) for name, error in errors if advice(error).split(" ")[0] not in ADVICE
        ]

    async def test_bad_arguments_are_invalid_everywhere(self, store: AsyncRepository) -> None:
        """Arguments that some database would choke on are refused before any is asked, with the same words."""
        await store.add_messages("s", [say("x")])
        for name, call in offered(store, REFUSED).items():
            with pytest.raises(Invalid) as caught:
                await call(store)
                pytest.fail(f"{name} did not raise")
            assert advice(caught.value).split(" ")[0] in ADVICE, name
        assert 1 == await store.count_messages("s")

    async def test_what_is_not_refused_works_everywhere(self, store: AsyncRepository) -> None:
        """As many words, types and keys as are allowed are asked for without an error."""
        words = " ".join(f"w{number}" for number in range(MAX_WORDS))
        await store.add_messages("s", [say(words)])
        calls: Calls = {
            "search words": lambda s: s.search(words),
            "search types": lambda s: s.search("w1", types=[f"t{number}" for number in range(MAX_TYPES)]),
            "list_sessions keys": lambda s: s.list_sessions(metadata=many(MAX_KEYS)),
        }
        found = {name: await call(store) for name, call in offered(store, calls).items()}

        assert [] == found.get("search types", [])
        assert {"s"} >= {hit.session_id for hit in found.get("search words", [])}
        assert ("search words" in found) == bool(found.get("search words"))

    async def test_a_member_of_an_enumeration_is_its_text(self, store: AsyncRepository) -> None:
        """Ids, owners and titles may be of a subclass of str: what is stored and found is its text."""
        await store.create_session(Named.ADA, user_id=Named.ADA, title=Named.ADA)
        await store.add_messages(Named.ADA, [say("hello")])
        await store.scope(user_id=Named.ADA).add_messages(Named.ADA, [say("again", id="m")])
        found = await store.get_session("ada lovelace")

        assert ("ada lovelace",) * 3 == (found.session_id, found.user_id, found.title)
        assert [str, str] == [type(found.session_id), type(found.user_id)]
        assert 2 == await store.count_messages(Named.ADA) == found.message_count
        assert ["ada lovelace"] == [
            one.session_id for one in (await store.list_sessions(user_id=Named.ADA)).items
        ]
        assert "again" == (await store.get_message(Named.ADA, "m")).message.content

    async def test_no_error_repeats_a_message(self, store: AsyncRepository) -> None:
        """No error, and nothing it came from, holds the text of a message."""
        errors = await self._errors(store)
        for what, bad in unstorable().items():
            with pytest.raises(ChatstoreError) as caught:
                await store.add_messages("s", [bad])
            errors.append((what, caught.value))

        assert [] == [
            name
            for name, error in errors
            for found in chain(error)
            if CANARY in str(found) or CANARY in repr(found)
        ]

    @staticmethod
    async def _errors(store: AsyncRepository) -> list[tuple[str, ChatstoreError]]:
        """Return the error of every failing call; one that does not fail fails the test."""
        await store.add_messages("s", [say(f"{CANARY} one", id="m1"), say(f"{CANARY} two", id="m2")])
        await store.add_messages("late", [say(CANARY)])
        await store.update_session("late", expires_at=PAST)
        errors = []
        for name, call in offered(store, FAILING).items():
            with pytest.raises(ChatstoreError) as caught:
                await call(store)
                pytest.fail(f"{name} did not raise")
            errors.append((name, caught.value))
        return errors


def _plain(store: AsyncRepository) -> AsyncRepository:
    """Return *store* without the skip for what is denied."""
    return Unskipped(store)  # type: ignore[return-value]


class Unskipped:
    """The repository behind a store, awaited, with nothing skipped."""

    def __init__(self, store: AsyncRepository) -> None:
        self.repository = inner(store)

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **named: Any) -> Any:
            found = getattr(self.repository, name)(*args, **named)
            return await found if hasattr(found, "__await__") else found

        return call
