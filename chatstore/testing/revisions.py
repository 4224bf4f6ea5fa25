"""The contract of ``expected_revision``: a writer who minds is told, a writer who repeats is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chatstore.errors import Conflict, Invalid
from chatstore.testing.appending import everything
from chatstore.testing.driver import ContractPart, exactly, offered
from chatstore.testing.samples import numbered, say, says

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository


class RevisionContract(ContractPart):
    """What ``expected_revision`` does to an append or a replacement."""

    @pytest.mark.parametrize("method", ["add_messages", "replace_messages"])
    async def test_the_current_revision_passes(self, store: AsyncRepository, method: str) -> None:
        """A call on condition of the current revision succeeds and returns the next one to expect."""
        revision = 0
        for text in "abc":
            records = await getattr(store, method)("s", says(text), expected_revision=revision)
            assert revision < records.revision
            revision = records.revision

        assert revision == (await store.get_session("s")).revision

    @pytest.mark.parametrize("method", ["add_messages", "replace_messages"])
    async def test_any_other_revision_is_a_conflict(self, store: AsyncRepository, method: str) -> None:
        """A stale or invented revision raises `Conflict` itself, and nothing is written."""
        stale = (await store.add_messages("s", says("a"))).revision
        current = (await store.add_messages("s", [say("b", id="m1")])).revision
        before = await everything(store)

        for revision in (stale, 0, 1, current + 1, 2**63, 2**70):
            with pytest.raises(Conflict) as caught:
                await getattr(store, method)("s", says("c"), expected_revision=revision)
            assert Conflict is type(caught.value)
        assert before == await everything(store)

    @pytest.mark.parametrize("method", ["add_messages", "replace_messages"])
    async def test_zero_means_not_yet(self, store: AsyncRepository, method: str) -> None:
        """``expected_revision=0`` makes the session; a session that is there, even empty, is a `Conflict`."""
        await getattr(store, method)("s", says("a"), expected_revision=0)
        await store.create_session("t")

        for name in "st":
            with pytest.raises(Conflict):
                await getattr(store, method)(name, says("b"), expected_revision=0)
        assert (1, 0) == (await store.count_messages("s"), await store.count_messages("t"))

    @pytest.mark.parametrize("method", ["add_messages", "replace_messages"])
    async def test_a_missing_session_has_no_revision(self, store: AsyncRepository, method: str) -> None:
        """Expecting a revision of a session that is not there raises `Conflict` and creates nothing."""
        with pytest.raises(Conflict):
            await getattr(store, method)("s", says("a"), expected_revision=5)

        assert [] == (await store.list_sessions()).items

    async def test_a_retry_never_meets_a_false_conflict(self, store: AsyncRepository) -> None:
        """If every message is stored already the records come back, whatever the revision."""
        turn = numbered(2)
        first = await store.add_messages("s", turn, expected_revision=0)
        await store.add_messages("s", says("moved on"))
        before = await everything(store)

        for revision in (0, first.revision, 1, 2**62):
            exactly(first, await store.add_messages("s", turn, expected_revision=revision))
        exactly([first[1]], await store.add_messages("s", turn[1:], expected_revision=0))
        assert before == await everything(store)

    async def test_half_a_retry_is_a_conflict(self, store: AsyncRepository) -> None:
        """If only some of the messages are known, a stale revision raises `Conflict` and writes nothing."""
        stale = (await store.add_messages("s", numbered(1))).revision
        await store.add_messages("s", says("moved on"))
        before = await everything(store)

        with pytest.raises(Conflict):
            await store.add_messages("s", numbered(2), expected_revision=stale)

        assert before == await everything(store)

    async def test_a_revision_counts_for_the_session_of_that_time(self, store: AsyncRepository) -> None:
        """A revision of a deleted session is stale for the one that took its place."""
        stale = (await store.add_messages("s", says("a"))).revision
        await store.delete_session("s")
        await store.add_messages("s", says("b"))

        with pytest.raises(Conflict):
            await store.add_messages("s", says("c"), expected_revision=stale)

    @pytest.mark.parametrize("revision", [-1, "1", 1.0, True], ids=repr)
    async def test_a_revision_is_a_natural_number(self, store: AsyncRepository, revision: Any) -> None:
        """Anything else is `Invalid` in every method that takes one, and nothing is written."""
        await store.add_messages("s", says("a"))
        before = await everything(store)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "add_messages": lambda: store.add_messages("s", says("b"), expected_revision=revision),
            "replace_messages": lambda: store.replace_messages("s", says("b"), expected_revision=revision),
            "update_message": lambda: store.update_message("s", 1, say("b"), expected_revision=revision),
            "update_session": lambda: store.update_session("s", title="b", expected_revision=revision),
            "delete_session": lambda: store.delete_session("s", expected_revision=revision),
        }
        for call in offered(store, calls).values():
            with pytest.raises(Invalid):
                await call()

        assert before == await everything(store)
