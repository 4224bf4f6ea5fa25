"""The contract of ``expires_at``: from that instant a session looks missing to every method.

No test waits: a session expires when its ``expires_at`` is set to a moment that has passed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.arguments import utcnow
from chatstore.errors import Conflict, SessionNotFound
from chatstore.testing.appending import positions
from chatstore.testing.driver import ContractPart, collected, offered
from chatstore.testing.loading import record
from chatstore.testing.samples import FUTURE, PAST, contents, numbered, say, says

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository

WRITES: dict[str, Callable[[AsyncRepository], Awaitable[Any]]] = {
    "create_session": lambda store: store.create_session("s"),
    "add_messages": lambda store: store.add_messages("s", [say("fresh", id="m1")]),
    "add_messages zero": lambda store: store.add_messages("s", [say("fresh", id="m1")], expected_revision=0),
    "replace_messages": lambda store: store.replace_messages("s", [say("fresh", id="m1")]),
    "load_records": lambda store: store.load_records("s", [record(1, "fresh", "m1")]),
    "fork_session": lambda store: store.fork_session("source", "s"),
}


async def expired(store: AsyncRepository, session_id: str = "s", **data: Any) -> int:
    """Make a session with three messages that has expired, and return its last revision."""
    await store.create_session(session_id, title="old", metadata={"old": True}, **data)
    await store.add_messages(session_id, numbered(3))
    return (await store.update_session(session_id, expires_at=PAST)).revision


class ExpiryContract(ContractPart):
    """What holds for sessions whose time is over."""

    async def test_an_expired_session_reads_as_missing(self, store: AsyncRepository) -> None:
        """Every read answers as if there were no session."""
        await expired(store)

        records = await store.get_records("s")
        assert ([], 0) == (records, records.revision)
        assert [] == await store.get_messages("s", last=2)
        assert [] == await collected(store.iter_records("s"))
        assert 0 == await store.count_messages("s")
        for call in (
            store.get_session,
            lambda name: store.get_message(name, 1),
            lambda name: store.get_message(name, "m1"),
        ):
            with pytest.raises(SessionNotFound):
                await call("s")

    async def test_an_expired_session_is_in_no_list(self, store: AsyncRepository) -> None:
        """Lists, searches and sums leave it out, whatever the filter."""
        await expired(store, user_id="u")
        await store.add_messages("t", says("message here"))

        for filters in (
            {},
            {"archived": None},
            {"user_id": "u"},
            {"metadata": {"old": True}},
            {"updated_since": PAST},
        ):
            assert "s" not in [found.session_id for found in (await store.list_sessions(**filters)).items]
        if offered(store, {"search": 1}):
            assert ["t"] == [hit.session_id for hit in await store.search("message")]
            assert [] == await store.search("message", session_id="s")
        if offered(store, {"usage": 1}):
            assert ["t"] == [row.session_id for row in await store.usage(by=("session_id",))]

    async def test_an_expired_session_cannot_be_changed(self, store: AsyncRepository) -> None:
        """What needs a session raises `SessionNotFound`; what does not, does nothing."""
        revision = await expired(store)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "update_session": lambda: store.update_session("s", title="x"),
            "update_session back": lambda: store.update_session(
                "s", expires_at=None, expected_revision=revision
            ),
            "update_message": lambda: store.update_message("s", 1, say("x")),
            "delete_message": lambda: store.delete_message("s", "m1"),
            "fork_session": lambda: store.fork_session("s", "f"),
        }
        for call in offered(store, calls).values():
            with pytest.raises(SessionNotFound):
                await call()

        assert await store.pop_message("s") is None
        assert await store.delete_session("s") is False
        await store.clear("s")
        await store.truncate("s", after=1)
        assert [] == (await store.list_sessions(archived=None)).items

    @pytest.mark.parametrize("write", WRITES)
    async def test_the_first_write_starts_afresh(self, store: AsyncRepository, write: str) -> None:
        """It finds the id free: the old data, messages, ids and positions are gone, and the revision is a new one."""
        stale = await expired(store, user_id="u", tenant_id="t")
        await store.add_messages("source", [say("fresh", id="m1")])
        before = utcnow()

        await WRITES[write](store)

        session = await store.get_session("s")
        count = 0 if write == "create_session" else 1
        assert (None, None, None, {}, None) == (
            session.tenant_id, session.user_id, session.title, session.metadata, session.expires_at
        )  # fmt: skip
        assert (count, count) == (session.message_count, session.last_position)
        assert ["fresh"] * count == contents(await store.get_messages("s"))
        assert stale < session.revision
        # what was loaded says itself when it began
        assert before <= (session.updated_at if write == "load_records" else session.created_at)
        assert [count + 1] == positions(await store.add_messages("s", [say("another body", id="m2")]))

    async def test_an_old_revision_is_stale(self, store: AsyncRepository) -> None:
        """A revision of the expired session passes nowhere, and expecting it writes nothing."""
        stale = await expired(store)

        for call in (store.add_messages, store.replace_messages):
            with pytest.raises(Conflict):
                await call("s", says("x"), expected_revision=stale)
        with pytest.raises(Conflict):
            await store.add_messages("s", numbered(3), expected_revision=stale)

        assert [] == (await store.list_sessions(archived=None)).items

    @pytest.mark.parametrize("write", ["create_session", "add_messages", "replace_messages"])
    async def test_an_expired_session_takes_no_id_from_another_owner(
        self, store: AsyncRepository, write: str
    ) -> None:
        """The id is free for everybody, and the new session is the new owner's."""
        await expired(store, user_id="old")

        await WRITES[write](store.scope(user_id="new"))

        assert "new" == (await store.get_session("s")).user_id
        with pytest.raises(SessionNotFound):
            await store.scope(user_id="old").get_session("s")

    async def test_a_session_may_be_born_expired(self, store: AsyncRepository) -> None:
        """`create_session` returns it, and nobody sees it."""
        made = await store.create_session("s", expires_at=PAST)

        assert made.expires_at == PAST
        with pytest.raises(SessionNotFound):
            await store.get_session("s")
        assert (await store.create_session("s")).expires_at is None

    async def test_a_session_that_has_time_left(self, store: AsyncRepository) -> None:
        """Until ``expires_at`` a session is as any other, and None takes the limit away."""
        await store.create_session("s", expires_at=FUTURE)
        await store.add_messages("s", says("x"))
        assert FUTURE == (await store.get_session("s")).expires_at
        assert ["s"] == [found.session_id for found in (await store.list_sessions()).items]

        await store.update_session("s", expires_at=utcnow() + timedelta(days=1))
        assert (await store.update_session("s", expires_at=None)).expires_at is None
