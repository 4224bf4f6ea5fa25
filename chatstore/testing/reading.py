"""The contract of reading: windows, records, single messages, iteration; checked against a plain list."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.errors import Invalid, MessageNotFound, SessionNotFound
from chatstore.testing.driver import ContractPart, collected, exactly, offered
from chatstore.testing.samples import contents, nested, numbered, say, says

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository
    from chatstore.messages import MessageRecord

EDGES = (None, 0, 1, 2, 3, 5, 8, 9, 11, 12, 13, 2**31, 2**63, 2**80)
SIZES = (0, 1, 2, 3, 8, 9, 2**31, 2**63)
ODD_KEYS: list[int | str] = [
    "'",
    "%",
    "m",
    "M1",
    "m1.",
    "1",
    "0",
    "x" * 255,
    "\U0001f642" * 255,
    "' OR 1=1 --",
]
IMPOSSIBLE: list[Any] = [
    "",
    "x" * 256,
    "nul \x00",
    "lone \ud800",
    " m1",
    "m1 ",
    -1,
    None,
    1.0,
    True,
    b"m1",
    ["m1"],
]


async def gapped(store: AsyncRepository) -> list[MessageRecord]:
    """Make session ``s`` with positions 2 3 6 7 8 9 11 12, and return its records."""
    await store.add_messages("s", numbered(10))
    for position in (1, 4, 5, 10):
        await store.delete_message("s", position)
    await store.add_messages("s", [say("message 11", id="m11"), say("message 12", id="m12")])
    return list(await store.get_records("s"))


def inside(
    records: list[MessageRecord], last: int | None, after: int | None, before: int | None, limit: int | None
) -> list[MessageRecord]:
    """Return what a plain list says is inside a window: the model that every backend must agree with."""
    found = [
        record
        for record in records
        if (after is None or record.position > after) and (before is None or record.position < before)
    ]
    if last is not None:
        return found[max(0, len(found) - last) :]
    return found if limit is None else found[:limit]


def windows() -> list[dict[str, Any]]:
    """Return windows of every shape: each argument alone, and sixty combinations (seeded)."""
    alone = [{name: edge} for name in ("after", "before") for edge in EDGES]
    alone += [{name: size} for name in ("last", "limit") for size in SIZES]
    draw = random.Random(20240229)
    mixed = [
        {
            "after": draw.choice(EDGES),
            "before": draw.choice(EDGES),
            draw.choice(["last", "limit"]): draw.choice(SIZES),
        }
        for _ in range(60)
    ]
    return [*alone, *mixed]


class ReadingContract(ContractPart):
    """What holds when messages are read."""

    async def test_windows_agree_with_a_list(self, store: AsyncRepository) -> None:
        """``after`` and ``before`` are exclusive; ``last`` counts from the newest, ``limit`` from the oldest; oldest first."""
        records = await gapped(store)
        assert [2, 3, 6, 7, 8, 9, 11, 12] == [record.position for record in records]

        for window in windows():
            chosen = {"last": None, "after": None, "before": None, "limit": None, **window}
            wanted = inside(records, **chosen)
            assert wanted == await store.get_records("s", **window), window
            assert [record.message for record in wanted] == await store.get_messages("s", **window), window

    async def test_scrolling_up(self, store: AsyncRepository) -> None:
        """``before=p, last=n`` from the newest page upwards gives everything once."""
        records = await gapped(store)
        pages: list[MessageRecord] = []
        part = await store.get_records("s", last=3)
        while part:
            pages[:0] = part
            part = await store.get_records("s", last=3, before=part[0].position)

        assert records == pages

    @pytest.mark.parametrize(
        "wrong",
        [
            {"last": 1, "limit": 1}, {"last": 0, "limit": 0}, {"last": -1}, {"limit": -1}, {"after": -1}, {"before": -1},
            {"last": True}, {"limit": "5"}, {"after": 1.0}, {"before": "x"}, {"last": [1]},
        ],
        ids=repr,
    )  # fmt: skip
    async def test_windows_that_mean_nothing_are_refused(
        self, store: AsyncRepository, wrong: dict[str, Any]
    ) -> None:
        """A negative number, ``last`` with ``limit``, or anything but integers is `Invalid`, for a missing session too."""
        for session in ("s", "missing"):
            with pytest.raises(Invalid):
                await store.get_messages(session, **wrong)
            with pytest.raises(Invalid):
                await store.get_records(session, **wrong)
            await store.add_messages("s", says("x"))
        if "after" in wrong:
            with pytest.raises(Invalid):
                await collected(store.iter_records("s", **wrong))

    async def test_a_missing_session_reads_as_empty(self, store: AsyncRepository) -> None:
        """Reads of a session that is not there are empty, removals do nothing, and none of them creates it."""
        records = await store.get_records("s")
        assert ([], 0) == (records, records.revision)
        assert [] == await store.get_messages("s")
        assert [] == await store.get_messages("s", last=5)
        assert [] == await collected(store.iter_records("s"))
        assert 0 == await store.count_messages("s")
        assert await store.pop_message("s") is None
        await store.clear("s")
        await store.truncate("s", after=1)
        assert await store.delete_session("s") is False

        assert [] == (await store.list_sessions()).items

    async def test_an_empty_session_reads_as_empty_with_its_revision(self, store: AsyncRepository) -> None:
        """Records carry the session's revision even where there are none."""
        revision = (await store.create_session("s")).revision
        for records in (await store.get_records("s"), await store.get_records("s", last=0)):
            assert ([], revision) == (records, records.revision)

        revision = (await store.add_messages("s", says("x"))).revision
        for records in (await store.get_records("s", limit=0), await store.get_records("s", after=99)):
            assert ([], revision) == (records, records.revision)

    async def test_one_message_by_position_or_id(self, store: AsyncRepository) -> None:
        """`get_message` takes an int as a position and a text as a message id, and never mixes them."""
        await store.add_messages("s", [say("first"), say("second", id="1"), say("third", id="m3")])
        records = await store.get_records("s")

        for record in records:
            exactly([record], [await store.get_message("s", record.position)])
            exactly([record], [await store.get_message("s", record.message_id)])
        assert "first" == (await store.get_message("s", 1)).message.content
        assert "second" == (await store.get_message("s", "1")).message.content

    async def test_a_message_that_is_not_there(self, store: AsyncRepository) -> None:
        """An unknown position or id raises `MessageNotFound`, a missing session `SessionNotFound`; whatever the key."""
        await store.add_messages("s", numbered(2))
        keys: list[int | str] = [0, 3, 2**31, 2**63 - 1, 2**63, 2**80, *ODD_KEYS]
        for key in keys:
            with pytest.raises(MessageNotFound):
                await store.get_message("s", key)
            with pytest.raises(MessageNotFound):
                await store.update_message("s", key, say("x"))
            with pytest.raises(MessageNotFound):
                await store.delete_message("s", key)
            with pytest.raises(SessionNotFound):
                await store.get_message("missing", key)

        assert 2 == await store.count_messages("s")

    @pytest.mark.parametrize("key", IMPOSSIBLE, ids=lambda key: repr(key)[:20])
    async def test_a_key_is_a_position_or_an_id(self, store: AsyncRepository, key: Any) -> None:
        """A key that no message can have is `Invalid`."""
        await store.add_messages("s", numbered(2))
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "get_message": lambda: store.get_message("s", key),
            "update_message": lambda: store.update_message("s", key, say("x")),
            "delete_message": lambda: store.delete_message("s", key),
        }
        for call in offered(store, calls).values():
            with pytest.raises(Invalid):
                await call()

    async def test_results_are_fresh(self, store: AsyncRepository) -> None:
        """Each read returns lists and messages of its own."""
        await store.add_messages("s", [say("x", additional_kwargs={"v": nested(3)})])
        one, two = await store.get_messages("s"), await store.get_messages("s")

        assert one == two
        assert one is not two
        assert one[0] is not two[0]
        assert (await store.get_message("s", 1)).message is not (await store.get_message("s", 1)).message

    async def test_iteration_gives_every_record(self, store: AsyncRepository) -> None:
        """`iter_records` yields all records, oldest first, from behind ``after``."""
        records = await gapped(store)

        for after in (None, 0, 2, 4, 11, 12, 99):
            assert inside(records, None, after, None, None) == await collected(
                store.iter_records("s", after=after)
            )

    async def test_iteration_over_many_records_while_more_come(self, store: AsyncRepository) -> None:
        """What is appended while a long session is read is seen too; nothing comes twice or is left out."""
        await store.add_messages("s", numbered(1001))
        seen: list[int] = []
        async for record in store.iter_records("s"):
            seen.append(record.position)
            if record.position == 600:
                await store.add_messages("s", says("late"))
                await store.delete_message("s", 1001)

        assert [*range(1, 1001), 1002] == seen

    async def test_counting(self, store: AsyncRepository) -> None:
        """`count_messages` counts what is there now."""
        await gapped(store)

        assert 8 == await store.count_messages("s")
        assert 8 == len(contents(await store.get_messages("s")))
