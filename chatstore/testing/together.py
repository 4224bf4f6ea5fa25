"""The contract of messages and the session's own data in one write, and of deletions on condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chatstore.errors import Conflict, Invalid, InvalidMessage, SessionExists
from chatstore.testing.appending import everything
from chatstore.testing.driver import ContractPart, at_once, exactly, inner
from chatstore.testing.samples import PAST, numbered, say, says

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository

NOTES: dict[str, Any] = {
    "head": "m2",
    "branches": [1, {"a": None}],
    "title": "t",
    "quote": "'\"\\%",
    "1": 1.5,
}


def need_own_data(store: AsyncRepository) -> None:
    """Skip the test where a session has no data of its own."""
    if "update_session" in inner(store).capabilities.denied:
        pytest.skip("this backend denies update_session")


class TogetherContract(ContractPart):
    """``add_messages(title=…, metadata=…)`` and ``delete_session(expected_revision=…)``."""

    async def test_messages_bring_the_sessions_own_data(self, store: AsyncRepository) -> None:
        """Title and metadata come with the messages, in a new session and in one that is there, as one change."""
        need_own_data(store)
        first = await store.add_messages("s", says("a"), title="One\ntwo", metadata=NOTES)
        made = await store.get_session("s")
        second = await store.add_messages("s", says("b"), metadata={"head": "x"})
        third = await store.add_messages("s", says("c"), title=None, expected_revision=second.revision)
        now = await store.get_session("s")

        assert [NOTES, "One\ntwo", first.revision] == [made.metadata, made.title, made.revision]
        exactly([{"head": "x"}, None, 3], [now.metadata, now.title, now.message_count])
        assert [first.revision + 1, first.revision + 2] == [second.revision, third.revision]
        assert now.revision == third.revision

    async def test_later_messages_leave_it_alone(self, store: AsyncRepository) -> None:
        """What came with one append stays with the next ones, and with every other change."""
        need_own_data(store)
        await store.add_messages("s", says("a"))
        await store.add_messages("s", says("b"), title="T", metadata=NOTES)
        await store.add_messages("s", says("c"))
        await store.delete_message("s", 1)
        await store.pop_message("s")
        await store.clear("s")
        await store.add_messages("s", says("d"))

        session = await store.get_session("s")
        assert [NOTES, "T", 1] == [session.metadata, session.title, session.message_count]
        assert [NOTES] == [(await store.list_sessions()).items[0].metadata]

    async def test_no_message_is_enough(self, store: AsyncRepository) -> None:
        """Without messages the session is changed all the same, and made where it is missing; the same is no change."""
        need_own_data(store)
        made = await store.add_messages("s", [], metadata=NOTES)
        again = await store.add_messages("s", [], metadata=dict(reversed(NOTES.items())))
        other = await store.add_messages("s", [], title="T", expected_revision=again.revision)
        await store.add_messages("t", [], title=None)
        session = await store.get_session("s")

        assert ([], [], []) == (made, again, other)
        assert made.revision == again.revision < other.revision == session.revision
        assert [NOTES, "T", 0] == [session.metadata, session.title, session.message_count]
        assert 0 == await store.count_messages("t") == (await store.get_session("t")).message_count

    async def test_a_stale_revision_changes_nothing(self, store: AsyncRepository) -> None:
        """On condition of another revision neither messages nor data are stored, with messages or without."""
        need_own_data(store)
        stale = (await store.add_messages("s", says("a"), title="first")).revision
        await store.add_messages("s", [], title="second")
        before = await everything(store)

        for messages in (says("b"), [say("b", id="b")], []):
            for revision in (stale, 0):
                with pytest.raises(Conflict):
                    await store.add_messages(
                        "s", messages, title="x", metadata={}, expected_revision=revision
                    )
        with pytest.raises(Conflict):
            await store.add_messages("t", [], title="x", expected_revision=stale)
        assert before == await everything(store)

    async def test_a_repeated_call_changes_nothing(self, store: AsyncRepository) -> None:
        """If every message is stored and the session has moved on, the call was done: its data is not put back."""
        need_own_data(store)
        turn = numbered(2)
        first = await store.add_messages("s", turn, title="old", expected_revision=0)
        await store.add_messages("s", [], title="new")
        before = await everything(store)

        exactly(first, await store.add_messages("s", turn, title="old", expected_revision=0))
        assert before == await everything(store)
        # Nobody asked for a revision: the data is put in place.
        exactly(first, await store.add_messages("s", turn, title="old"))
        assert "old" == (await store.get_session("s")).title

    async def test_known_and_new_messages_bring_it_once(self, store: AsyncRepository) -> None:
        """Where some of the messages are known, what is new comes with the data."""
        need_own_data(store)
        first, second = numbered(2)
        await store.add_messages("s", [first])
        await store.add_messages("s", [first, second], metadata=NOTES)

        session = await store.get_session("s")
        assert [NOTES, 2] == [session.metadata, session.message_count]

    async def test_bad_own_data_changes_nothing(self, store: AsyncRepository) -> None:
        """A bad title, bad metadata or a bad message refuses all of it."""
        need_own_data(store)
        await store.add_messages("s", says("a"), title="T")
        before = await everything(store)

        with pytest.raises(Invalid):
            await store.add_messages("s", says("b"), metadata={"x": float("nan")})
        with pytest.raises(Invalid):
            await store.add_messages("s", says("b"), title="\0")
        with pytest.raises(InvalidMessage):
            await store.add_messages("s", [say("b", bad={1})], title="other")
        assert before == await everything(store)

    async def test_a_scope_keeps_its_own(self, store: AsyncRepository) -> None:
        """In a scope a new session is its owner's; another owner's is neither changed nor deleted."""
        need_own_data(store)
        mine, theirs = store.scope(user_id="ada"), store.scope(user_id="bob")
        revision = (await mine.add_messages("s", [], title="T")).revision

        assert "ada" == (await store.get_session("s")).user_id
        for messages in (says("a"), []):
            with pytest.raises(SessionExists):
                await theirs.add_messages("s", messages, title="x")
        assert not await theirs.delete_session("s", expected_revision=revision)
        assert "T" == (await mine.get_session("s")).title

    async def test_an_expired_session_starts_afresh(self, store: AsyncRepository) -> None:
        """What an expired session had of its own does not come back with the new data."""
        need_own_data(store)
        await store.create_session("s", title="old", metadata=NOTES, expires_at=PAST)
        await store.add_messages("s", says("a"), title="new")

        session = await store.get_session("s")
        exactly(["new", {}, None], [session.title, session.metadata, session.expires_at])

    async def test_many_writers_on_condition(self, store: AsyncRepository) -> None:
        """Of writers that expect the same revision one wins, and messages and data are that one's."""
        need_own_data(store)
        self.need("threads")
        revision = (await store.add_messages("s", says("a"))).revision

        async def write(name: str, one: AsyncRepository) -> str | None:
            try:
                await one.add_messages("s", says(name), metadata={"by": name}, expected_revision=revision)
            except Conflict:
                return None
            return name

        def writing(name: str) -> Any:
            return lambda one: write(name, one)

        won = [name for name in await at_once(store, [writing(name) for name in "bcde"]) if name]
        (winner,) = won
        assert ["a", winner] == [message.text for message in await store.get_messages("s")]
        assert {"by": winner} == (await store.get_session("s")).metadata

    async def test_a_deletion_on_condition(self, store: AsyncRepository) -> None:
        """Only the session at the expected revision is deleted; a missing one is missing."""
        revision = (await store.add_messages("s", says("a"))).revision
        later = (await store.add_messages("s", says("b"))).revision
        before = await everything(store)

        for stale in (revision, 0, later + 1):
            with pytest.raises(Conflict):
                await store.delete_session("s", expected_revision=stale)
        assert before == await everything(store)
        assert await store.delete_session("s", expected_revision=later)
        assert not await store.delete_session("s", expected_revision=later)
