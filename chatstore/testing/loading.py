"""The contract of forks and of `load_records`: copies that keep positions, ids and times."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.arguments import microseconds, utcnow
from chatstore.errors import (
    ChatstoreError,
    Conflict,
    Invalid,
    MessageConflict,
    SessionExists,
    SessionNotFound,
)
from chatstore.messages import MessageRecord
from chatstore.testing.appending import everything, positions
from chatstore.testing.driver import ContractPart, exactly
from chatstore.testing.samples import (
    FUTURE,
    MOMENTS,
    PAST,
    contents,
    messages_of_every_class,
    numbered,
    say,
    says,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatstore.aio import AsyncRepository


def record(position: int, content: str = "x", message_id: str | None = None, **other: Any) -> MessageRecord:
    """Return a record as another store would hand it over; the message has an id where one is given."""
    values = {
        "message": say(content, id=message_id),
        "position": position,
        "message_id": message_id or f"generated-{position}",
        "created_at": PAST + timedelta(seconds=position),
        "session_id": "elsewhere",
    }
    return MessageRecord(**{**values, **other})


def moved(records: Iterable[MessageRecord], session_id: str) -> list[MessageRecord]:
    """Return *records* as they should be in another session."""
    return [found._replace(session_id=session_id) for found in records]


class LoadingContract(ContractPart):
    """What holds for `load_records`."""

    async def test_records_keep_what_they_are(self, store: AsyncRepository) -> None:
        """Positions (gaps too), times and ids are stored as given; a generated id stays one; the count comes back."""
        records = [record(2), record(3, "y", "m3"), record(7, "z", "m7")]

        assert 3 == await store.load_records("s", records)

        exactly(moved(records, "s"), await store.get_records("s"))
        session = await store.get_session("s")
        assert (3, 7) == (session.message_count, session.last_position)
        assert [8] == positions(await store.add_messages("s", says("next")))

    async def test_a_loaded_session_began_with_its_first_message(self, store: AsyncRepository) -> None:
        """`created_at` is the first record's time, missing session or empty one; the revision is new, `updated_at` too."""
        before = utcnow()
        await store.create_session("e", user_id="u", title="title", metadata={"k": 1})

        for name in "se":
            await store.load_records(name, [record(2), record(3, created_at=PAST)])

            session = await store.get_session(name)
            assert PAST + timedelta(seconds=2) == session.created_at
            assert before <= session.updated_at
            assert microseconds(before) <= session.revision
            assert [session] == [
                found for found in (await store.list_sessions()).items if found.session_id == name
            ]
        assert ("u", "title", {"k": 1}) == (session.user_id, session.title, session.metadata)

    async def test_what_is_loaded_later_moves_no_beginning(self, store: AsyncRepository) -> None:
        """Only the first messages say when a session began: not those behind others, nor any after a clear."""
        await store.load_records("s", [record(1)])
        await store.add_messages("t", says("x"))
        began = (await store.get_session("t")).created_at

        await store.load_records("s", [record(1), record(2, created_at=PAST - timedelta(days=1))])
        await store.load_records("t", [record(2)])
        await store.clear("t")
        await store.load_records("t", [record(3)])

        assert PAST + timedelta(seconds=1) == (await store.get_session("s")).created_at
        assert began == (await store.get_session("t")).created_at

    async def test_no_session_begins_in_the_future(self, store: AsyncRepository) -> None:
        """Records that say a time to come are stored as they are; their session begins now."""
        before = utcnow()

        await store.load_records("s", [record(1, created_at=FUTURE), record(2)])

        assert before <= (await store.get_session("s")).created_at <= utcnow()

    async def test_a_fork_begins_with_a_message_of_its_own(self, store: AsyncRepository) -> None:
        """What a fork copied is of another session; the first record loaded behind it says when the fork began."""
        await store.load_records("s", [record(1), record(2)])
        fork = await store.fork_session("s", "f")
        assert PAST < fork.created_at - timedelta(days=1)

        await store.load_records("f", [record(1), record(2), record(3)])

        assert PAST + timedelta(seconds=3) == (await store.get_session("f")).created_at

    async def test_a_session_that_was_loaded_anew_has_a_revision_of_its_own(
        self, store: AsyncRepository
    ) -> None:
        """Deleted and loaded again, with the same beginning: no revision comes twice."""
        await store.load_records("s", [record(1)])
        first = await store.get_session("s")
        await store.delete_session("s")
        await store.load_records("s", [record(1)])
        second = await store.get_session("s")

        assert first.created_at == second.created_at
        assert first.revision < second.revision
        with pytest.raises(Conflict):
            await store.add_messages("s", says("x"), expected_revision=first.revision)

    async def test_loading_again_changes_nothing(self, store: AsyncRepository) -> None:
        """`load_records` is idempotent by message id: what is known is not new, and the revision stays."""
        records = [record(1), record(2, "y", "m2")]
        await store.load_records("s", iter(records))
        before = await everything(store)

        assert 0 == await store.load_records("s", records)
        assert 0 == await store.load_records("s", records[1:])
        assert before == await everything(store)
        assert 1 == await store.load_records("s", [*records, record(3, "z")])

    async def test_loading_nothing(self, store: AsyncRepository) -> None:
        """No records are none that are new, and change nothing."""
        await store.add_messages("s", says("x"))
        before = await everything(store)

        assert 0 == await store.load_records("s", [])
        assert before == await everything(store)

    async def test_a_whole_session_moves(self, store: AsyncRepository) -> None:
        """What `get_records` returns loads into another session and is equal there."""
        await store.add_messages("s", messages_of_every_class())
        await store.delete_message("s", 3)
        records = await store.get_records("s")

        assert len(records) == await store.load_records("t", records)

        exactly(moved(records, "t"), await store.get_records("t"))

    async def test_many_records_are_loaded_in_chunks(self, store: AsyncRepository) -> None:
        """A long load is written in chunks, in order, and one that stopped half way goes on where it was."""
        records = [record(position, f"message {position}") for position in range(1, 1102)]

        assert 601 == await store.load_records("s", records[:601])
        assert 500 == await store.load_records("s", records)
        assert 0 == await store.load_records("s", records)
        exactly(moved(records, "s"), await store.get_records("s"))

    @pytest.mark.parametrize("position", [0, 1, 4, 5])
    async def test_a_position_that_is_not_above_all_others_is_refused(
        self, store: AsyncRepository, position: int
    ) -> None:
        """A new record at or below one that is there is an error, and nothing of its chunk is written."""
        await store.load_records("s", [record(1, "a", "m1"), record(5, "b", "m5")])
        before = await everything(store)

        with pytest.raises(ChatstoreError):
            await store.load_records("s", [record(position, "c", "new"), record(9, "d", "newer")])

        assert before == await everything(store)

    @pytest.mark.parametrize("order", [[2, 1], [1, 1], [3, 4, 4], [1, 3, 2]], ids=repr)
    async def test_positions_must_grow(self, store: AsyncRepository, order: list[int]) -> None:
        """Records out of order raise `Conflict`, and nothing of their chunk is written."""
        with pytest.raises(Conflict):
            await store.load_records(
                "s", [record(position, message_id=f"m{place}") for place, position in enumerate(order)]
            )

        assert [] == (await store.list_sessions()).items

    async def test_a_position_below_one_that_was_used_is_refused(self, store: AsyncRepository) -> None:
        """Positions are never used again, by a load neither."""
        await store.add_messages("s", numbered(3))
        await store.clear("s")

        with pytest.raises(Conflict):
            await store.load_records("s", [record(2)])
        assert 1 == await store.load_records("s", [record(4)])

    async def test_a_loaded_id_with_another_body(self, store: AsyncRepository) -> None:
        """It raises `MessageConflict`, and nothing of its chunk is written."""
        await store.load_records("s", [record(1, "a", "m1")])
        before = await everything(store)

        with pytest.raises(MessageConflict):
            await store.load_records("s", [record(1, "other", "m1"), record(2)])

        assert before == await everything(store)

    async def test_the_same_id_twice_in_one_load(self, store: AsyncRepository) -> None:
        """With the same body the first one counts; with another it is a `MessageConflict`, and nothing is written."""
        with pytest.raises(MessageConflict):
            await store.load_records("s", [record(1, "a", "m1"), record(2, "b", "m1")])
        assert [] == (await store.list_sessions()).items

        assert 2 == await store.load_records(
            "s", [record(1, "a", "m1"), record(2, "a", "m1"), record(3, "c", "m3")]
        )
        assert ([1, 3], 3) == (
            positions(await store.get_records("s")),
            (await store.get_session("s")).last_position,
        )

    async def test_loading_behind_what_is_there(self, store: AsyncRepository) -> None:
        """Records with higher positions join a session that exists."""
        await store.create_session("s", title="kept")
        await store.add_messages("s", says("here"))

        assert 2 == await store.load_records("s", [record(4, "a"), record(6, "b")])

        assert ["here", "a", "b"] == contents(await store.get_messages("s"))
        assert "kept" == (await store.get_session("s")).title

    @pytest.mark.parametrize("moment", MOMENTS, ids=str)
    async def test_times_of_records_come_back_equal(self, store: AsyncRepository, moment: datetime) -> None:
        """A record's time comes back to the microsecond."""
        await store.load_records("s", [record(1, created_at=moment)])

        assert moment == (await store.get_records("s"))[0].created_at

    @pytest.mark.parametrize(
        "wrong",
        [
            {"created_at": datetime(2024, 1, 1)}, {"created_at": None}, {"position": -1}, {"position": "1"}, {"position": 2**63},  # noqa: DTZ001
            {"position": True}, {"message_id": ""}, {"message_id": "a\x00"}, {"message_id": "x" * 256}, {"message_id": None},
            {"message": say("x", id="mine")}, {"message": None}, {"message": "text"}, {"message": say("x", additional_kwargs={"v": b"x"})},
        ],
        ids=repr,
    )  # fmt: skip
    async def test_bad_records_are_refused(self, store: AsyncRepository, wrong: dict[str, Any]) -> None:
        """A record that cannot be stored as it is raises `Invalid`, and nothing of its chunk is written."""
        with pytest.raises(Invalid):
            await store.load_records("s", [record(1), record(2)._replace(**wrong)])

        assert [] == (await store.list_sessions()).items


class ForkContract(ContractPart):
    """What holds for `fork_session`."""

    async def test_a_fork_copies_up_to_a_position(self, store: AsyncRepository) -> None:
        """Messages up to ``through``, inclusive, are there with the same positions, ids and times; the source stays."""
        await store.create_session("s", tenant_id="t", user_id="u", title="title", metadata={"k": [1]})
        records = await store.add_messages("s", [*numbered(3), say("nameless")])
        before = await everything(store)

        fork = await store.fork_session("s", "f", through=2)

        exactly(moved(records[:2], "f"), await store.get_records("f"))
        assert ("s", 2, 2, 2) == (fork.forked_from, fork.forked_at, fork.message_count, fork.last_position)
        assert ("t", "u", "title", {"k": [1]}) == (fork.tenant_id, fork.user_id, fork.title, fork.metadata)
        assert fork == await store.get_session("f")
        assert before == await everything(store)

    async def test_a_fork_of_everything(self, store: AsyncRepository) -> None:
        """Without ``through``, or with one behind the end, all messages are copied."""
        records = await store.add_messages("s", messages_of_every_class())

        whole = await store.fork_session("s", "f")
        await store.fork_session("s", "g", through=2**70)

        exactly(moved(records, "f"), await store.get_records("f"))
        exactly(moved(records, "g"), await store.get_records("g"))
        assert len(records) == whole.forked_at

    async def test_a_fork_of_nothing(self, store: AsyncRepository) -> None:
        """``through=0`` copies no message; so does a fork of an empty session."""
        await store.add_messages("s", says("x"))
        await store.create_session("e")

        assert (0, 0) == (
            (await store.fork_session("s", "f", through=0)).message_count,
            await store.count_messages("f"),
        )
        assert 0 == (await store.fork_session("e", "g")).message_count
        assert [1] == positions(await store.add_messages("f", says("y")))

    @pytest.mark.parametrize("through", [2, None])
    async def test_source_and_fork_go_separate_ways(
        self, store: AsyncRepository, through: int | None
    ) -> None:
        """What happens to one of them afterwards does not touch the other."""
        await store.add_messages("s", numbered(3))
        await store.fork_session("s", "f", through=through)
        rest = ["message 3"] if through is None else []

        await store.add_messages("f", says("of the fork"))
        await store.update_message("s", 1, say("edited in the source"))
        await store.update_message("f", 2, say("edited in the fork"))
        await store.update_session("f", metadata={"fork": True})

        assert ["edited in the source", "message 2", "message 3"] == contents(await store.get_messages("s"))
        assert ["message 1", "edited in the fork", *rest, "of the fork"] == contents(
            await store.get_messages("f")
        )
        assert {} == (await store.get_session("s")).metadata
        await store.delete_session("s")
        assert 3 + len(rest) == await store.count_messages("f")
        assert "s" == (await store.get_session("f")).forked_from

    async def test_a_fork_knows_its_ids(self, store: AsyncRepository) -> None:
        """Copied ids are known in the fork, those behind ``through`` are not; no position is used twice."""
        await store.add_messages("s", numbered(3))
        await store.delete_message("s", 2)
        await store.fork_session("s", "f", through=1)

        assert [1, 2] == positions(await store.add_messages("f", [numbered(3)[0], numbered(3)[2]]))

    async def test_a_fork_is_a_new_session(self, store: AsyncRepository) -> None:
        """It begins at its own time, neither archived nor expiring, with a revision of its own; and can be forked."""
        await store.add_messages("s", numbered(3))
        await store.update_session("s", archived=True, expires_at=utcnow() + timedelta(days=1))
        source = await store.get_session("s")

        fork = await store.fork_session("s", "f", through=3)
        again = await store.fork_session("f", "g", through=2)

        assert (None, None) == (fork.archived_at, fork.expires_at)
        assert source.created_at < fork.created_at == fork.updated_at
        assert fork.revision != source.revision
        assert ("f", 2) == (again.forked_from, again.forked_at)

    async def test_a_fork_needs_a_source_and_a_free_id(self, store: AsyncRepository) -> None:
        """A missing source is `SessionNotFound`, a known target `SessionExists`, itself included; nothing is written."""
        await store.add_messages("s", says("x"))
        await store.add_messages("t", says("y"))
        before = await everything(store), await everything(store, "t")

        with pytest.raises(SessionNotFound):
            await store.fork_session("missing", "f")
        for target in "ts":
            with pytest.raises(SessionExists):
                await store.fork_session("s", target)

        assert before == (await everything(store), await everything(store, "t"))
        assert 2 == len((await store.list_sessions()).items)

    @pytest.mark.parametrize("through", [-1, "1", 1.0, True], ids=repr)
    async def test_through_is_a_position(self, store: AsyncRepository, through: Any) -> None:
        """Anything but a natural number is `Invalid`, and nothing is written."""
        await store.add_messages("s", says("x"))

        with pytest.raises(Invalid):
            await store.fork_session("s", "f", through=through)

        assert 1 == len((await store.list_sessions()).items)
