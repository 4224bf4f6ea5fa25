"""The contract of changing what is stored: update, delete, pop, truncate, clear and replace messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chatstore.errors import (
    Conflict,
    Invalid,
    InvalidMessage,
    MessageConflict,
    MessageNotFound,
    SessionNotFound,
)
from chatstore.messages import AIMessage
from chatstore.testing.appending import everything, positions
from chatstore.testing.driver import ContractPart, exactly
from chatstore.testing.samples import contents, numbered, say, says

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository


class EditingContract(ContractPart):
    """What holds when stored messages are changed or removed."""

    @pytest.mark.parametrize("key", [2, "m2"])
    async def test_update_keeps_place_id_and_time(self, store: AsyncRepository, key: int | str) -> None:
        """`update_message` changes the body alone: position, id and time stay, and so do all other messages."""
        before = await store.add_messages("s", numbered(3))
        new = AIMessage(
            content="changed", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        )

        record = await store.update_message("s", key, new)

        after = await store.get_records("s")
        exactly([before[0], before[2]], [after[0], after[2]])
        exactly([record], [after[1]])
        assert new.model_copy(update={"id": "m2"}) == record.message
        assert (2, "m2", before[1].created_at) == (record.position, record.message_id, record.created_at)
        assert before.revision < after.revision

    async def test_update_of_a_message_without_id(self, store: AsyncRepository) -> None:
        """A message that came without an id stays without one, and keeps its record id."""
        [before] = await store.add_messages("s", says("a"))

        record = await store.update_message("s", 1, say("b"))

        assert ("b", None) == (record.message.content, record.message.id)
        assert (
            before.message_id
            == record.message_id
            == (await store.get_message("s", before.message_id)).message_id
        )

    async def test_update_cannot_change_the_id(self, store: AsyncRepository) -> None:
        """A new body may repeat the id; another id is `InvalidMessage` and changes nothing."""
        await store.add_messages("s", [*numbered(2), say("nameless")])
        await store.update_message("s", 1, say("same id", id="m1"))
        before = await everything(store)

        for position, other in ((1, "m2"), (1, "m9"), (3, "m9")):
            with pytest.raises(InvalidMessage):
                await store.update_message("s", position, say("x", id=other))

        assert before == await everything(store)

    async def test_update_with_the_same_body_changes_nothing(self, store: AsyncRepository) -> None:
        """The revision stays where nothing differs."""
        added = await store.add_messages(
            "s", [say("a", id="m1", additional_kwargs={"k": 1, "l": 2}), say("b")]
        )
        before = await everything(store)

        assert added[0] == await store.update_message("s", "m1", say("a", additional_kwargs={"l": 2, "k": 1}))
        await store.update_message("s", 2, say("b"))

        assert before == await everything(store)

    async def test_edit_on_condition_of_the_revision(self, store: AsyncRepository) -> None:
        """The current revision passes; any other raises `Conflict` and changes nothing."""
        stale = (await store.add_messages("s", numbered(1))).revision
        await store.update_message("s", 1, say("a"), expected_revision=stale)
        before = await everything(store)

        for revision in (stale, 0, 2**63):
            with pytest.raises(Conflict):
                await store.update_message("s", 1, say("b"), expected_revision=revision)

        assert before == await everything(store)

    async def test_an_edited_body_is_the_body(self, store: AsyncRepository) -> None:
        """Idempotency compares with what is stored now: the edited body is known, the first one conflicts."""
        await store.add_messages("s", [say("first", id="m1")])
        await store.update_message("s", "m1", say("second"))

        assert [1] == positions(await store.add_messages("s", [say("second", id="m1")]))
        with pytest.raises(MessageConflict):
            await store.add_messages("s", [say("first", id="m1")])

    async def test_edits_of_a_missing_session(self, store: AsyncRepository) -> None:
        """`update_message` and `delete_message` raise `SessionNotFound` and create nothing."""
        for key in (1, "m1"):
            with pytest.raises(SessionNotFound):
                await store.update_message("s", key, say("x"))
            with pytest.raises(SessionNotFound):
                await store.delete_message("s", key)

        assert [] == (await store.list_sessions()).items

    @pytest.mark.parametrize("key", [2, "m2"])
    async def test_delete_one_message(self, store: AsyncRepository, key: int | str) -> None:
        """One message goes, the others keep their places; a second time it is not found."""
        records = await store.add_messages("s", numbered(3))

        await store.delete_message("s", key)

        exactly([records[0], records[2]], await store.get_records("s"))
        with pytest.raises(MessageNotFound):
            await store.delete_message("s", key)
        session = await store.get_session("s")
        assert (2, 3) == (session.message_count, session.last_position)

    async def test_pop_takes_the_newest(self, store: AsyncRepository) -> None:
        """`pop_message` removes and returns the newest record, down to None; popping nothing changes nothing."""
        records = await store.add_messages("s", numbered(2))

        exactly([records[1]], [await store.pop_message("s")])
        exactly([records[0]], [await store.pop_message("s")])
        before = await everything(store)
        assert await store.pop_message("s") is None
        assert before == await everything(store)
        assert [3] == positions(await store.add_messages("s", says("next")))

    @pytest.mark.parametrize("before", ["replace_messages", "truncate", "fork_session", "load_records"])
    async def test_pop_is_possible_after_everything(self, store: AsyncRepository, before: str) -> None:
        """What stands last after a replacement, a truncation, a fork or a load can be popped and deleted."""
        records = await store.add_messages("s", numbered(4))
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "replace_messages": lambda: store.replace_messages("s", numbered(2)),
            "truncate": lambda: store.truncate("s", after=2),
            "fork_session": lambda: store.fork_session("s", "f", through=2),
            "load_records": lambda: store.load_records("f", records[:2]),
        }
        await calls[before]()
        name = "f" if before in {"fork_session", "load_records"} else "s"

        popped = await store.pop_message(name)
        await store.delete_message(name, "m1")

        assert popped is not None
        assert ("m2", []) == (popped.message_id, await store.get_messages(name))

    async def test_truncate_keeps_up_to_a_position(self, store: AsyncRepository) -> None:
        """`truncate` deletes what stands behind ``after``, a position that need not exist."""
        records = await store.add_messages("s", numbered(5))
        await store.delete_message("s", 3)

        await store.truncate("s", after=3)

        exactly(records[:2], await store.get_records("s"))
        assert 5 == (await store.get_session("s")).last_position
        assert [6] == positions(await store.add_messages("s", says("next")))

    async def test_truncating_nothing_changes_nothing(self, store: AsyncRepository) -> None:
        """Where no message stands behind ``after`` the revision stays; so for `clear` of an empty session."""
        await store.add_messages("s", numbered(2))
        await store.create_session("t")
        before = await everything(store), await everything(store, "t")

        for after in (2, 3, 2**63, 2**80):
            await store.truncate("s", after=after)
        await store.clear("t")

        assert before == (await everything(store), await everything(store, "t"))

    @pytest.mark.parametrize("after", [-1, "1", 1.0, True, None], ids=repr)
    async def test_truncate_wants_a_position(self, store: AsyncRepository, after: int) -> None:
        """Anything but a natural number is `Invalid`."""
        await store.add_messages("s", says("a"))

        with pytest.raises(Invalid):
            await store.truncate("s", after=after)

        assert 1 == await store.count_messages("s")

    async def test_clear_keeps_the_session(self, store: AsyncRepository) -> None:
        """`clear` removes all messages; title, metadata and owner stay, and so do positions that were used."""
        await store.create_session("s", title="t", metadata={"k": 1}, user_id="u")
        await store.add_messages("s", numbered(3))

        await store.clear("s")

        session = await store.get_session("s")
        assert ("t", {"k": 1}, "u", 0, 3) == (
            session.title, session.metadata, session.user_id, session.message_count, session.last_position
        )  # fmt: skip
        assert [] == await store.get_messages("s")

    async def test_replace_gives_new_positions(self, store: AsyncRepository) -> None:
        """`replace_messages` puts the new messages in the place of all others, behind every position used."""
        await store.create_session("s", title="kept")
        await store.add_messages("s", numbered(3))

        records = await store.replace_messages("s", [say("x", id="m2"), say("y")])

        assert [4, 5] == positions(records)
        exactly(records, await store.get_records("s"))
        session = await store.get_session("s")
        assert ("kept", 2, 5, records.revision) == (
            session.title, session.message_count, session.last_position, session.revision
        )  # fmt: skip
        with pytest.raises(MessageNotFound):
            await store.get_message("s", "m1")

    async def test_replace_by_the_same_messages(self, store: AsyncRepository) -> None:
        """The ids of what is replaced are free for what replaces it, with the same body or another."""
        await store.add_messages("s", numbered(2))

        assert [3, 4] == positions(await store.replace_messages("s", numbered(2)))
        assert [5, 6] == positions(await store.replace_messages("s", [say("b", id="m2"), say("a", id="m1")]))
        assert ["b", "a"] == contents(await store.get_messages("s"))

    async def test_replace_creates_a_missing_session(self, store: AsyncRepository) -> None:
        """`replace_messages` of a missing session creates it."""
        assert [1, 2] == positions(await store.replace_messages("s", says("a", "b")))
        assert 2 == (await store.get_session("s")).message_count

    async def test_replace_by_nothing(self, store: AsyncRepository) -> None:
        """An empty list leaves an empty session, made where it was missing."""
        await store.add_messages("s", numbered(2))

        assert [] == await store.replace_messages("s", [])
        assert [] == await store.replace_messages("t", [])
        assert (0, 0) == (await store.count_messages("s"), (await store.get_session("t")).message_count)
        assert [3] == positions(await store.add_messages("s", says("next")))

    async def test_replace_with_one_id_twice(self, store: AsyncRepository) -> None:
        """The same body is stored once; two bodies are a `MessageConflict` and change nothing."""
        await store.add_messages("s", numbered(2))
        before = await everything(store)
        with pytest.raises(MessageConflict):
            await store.replace_messages("s", [say("x", id="m9"), say("y", id="m9")])
        assert before == await everything(store)

        assert [3, 4, 3] == positions(
            await store.replace_messages("s", [say("x", id="m9"), say("y"), say("x", id="m9")])
        )

    async def test_a_replacement_that_cannot_be_stored_changes_nothing(self, store: AsyncRepository) -> None:
        """One bad message keeps the old ones in place."""
        await store.add_messages("s", numbered(2))
        before = await everything(store)
        bad = say("x", additional_kwargs={"v": float("inf")})

        with pytest.raises(InvalidMessage):
            await store.replace_messages("s", [say("good"), bad])
        with pytest.raises(InvalidMessage):
            await store.update_message("s", 1, bad)

        assert before == await everything(store)
