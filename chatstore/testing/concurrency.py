"""The contract under several callers at once: threads on a synchronous repository, tasks on an asynchronous one.

Campaigns with processes, kills and cut connections are elsewhere; this is the short form that every backend passes.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from chatstore.errors import Conflict, SessionExists
from chatstore.testing.driver import ContractPart, at_once
from chatstore.testing.samples import contents, numbered, say, says

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.messages import MessageRecord, Records

WORKERS = 8


class ConcurrencyContract(ContractPart):
    """What holds when many work on one session at the same time."""

    async def test_nothing_is_lost_and_turns_stay_together(self, store: AsyncRepository) -> None:
        """Eight writers append turns to one new session: all succeed, each turn contiguous, positions without a gap."""
        self.need("threads")

        def writer(number: int) -> Any:
            async def write(each: AsyncRepository) -> list[Records]:
                return [
                    await each.add_messages("s", says(f"{number} {turn} a", f"{number} {turn} b"))
                    for turn in range(6)
                ]

            return write

        answers = await at_once(store, [writer(number) for number in range(WORKERS)])

        records = await store.get_records("s")
        told = [record for answer in answers for turn in answer for record in turn]
        assert list(range(1, 2 * 6 * WORKERS + 1)) == [record.position for record in records]
        assert sorted(told, key=lambda record: record.position) == records
        pairs = [
            (one.position + 1, one.message.content)
            for one in records
            if str(one.message.content).endswith("a")
        ]
        assert pairs == [
            (two.position, str(two.message.content)[:-1] + "a")
            for two in records
            if str(two.message.content).endswith("b")
        ]
        for number in range(WORKERS):
            mine = [
                text
                for text in contents([record.message for record in records])
                if str(text).startswith(f"{number} ")
            ]
            assert [f"{number} {turn} {part}" for turn in range(6) for part in "ab"] == mine

    async def test_overlapping_ids_are_stored_once(self, store: AsyncRepository) -> None:
        """Eight writers send overlapping batches of known ids: every call returns all its records, each id has one record."""
        self.need("threads")
        messages = numbered(24)

        def writer(number: int) -> Any:
            draw = random.Random(number)

            async def write(each: AsyncRepository) -> list[tuple[list[str | None], Records]]:
                batches = [draw.sample(messages, 5) for _ in range(6)]
                return [([one.id for one in batch], await each.add_messages("s", batch)) for batch in batches]

            return write

        answers = await at_once(store, [writer(number) for number in range(WORKERS)])

        stored: dict[str, MessageRecord] = {
            record.message_id: record for record in await store.get_records("s")
        }
        for ids, records in (call for answer in answers for call in answer):
            assert [stored[str(one)] for one in ids] == list(records)
        session = await store.get_session("s")
        assert list(range(1, len(stored) + 1)) == sorted(record.position for record in stored.values())
        assert len(stored) == session.message_count == session.last_position

    async def test_one_of_many_creates(self, store: AsyncRepository) -> None:
        """Eight callers create one session: exactly one succeeds, the others are told that it exists."""
        self.need("threads")

        async def create(each: AsyncRepository) -> bool:
            try:
                await each.create_session("s")
            except SessionExists:
                return False
            return True

        assert [False] * (WORKERS - 1) + [True] == sorted(await at_once(store, [create] * WORKERS))

    async def test_one_of_many_wins_a_revision(self, store: AsyncRepository) -> None:
        """Of eight writers that expect the same revision exactly one succeeds; nothing of the others is written."""
        self.need("threads")
        revision = (await store.add_messages("s", says("first"))).revision

        async def write(each: AsyncRepository) -> bool:
            try:
                await each.add_messages("s", says("a", "b"), expected_revision=revision)
            except Conflict:
                return False
            return True

        assert [False] * (WORKERS - 1) + [True] == sorted(await at_once(store, [write] * WORKERS))
        assert ["first", "a", "b"] == contents(await store.get_messages("s"))

    async def test_every_message_is_popped_once(self, store: AsyncRepository) -> None:
        """Eight callers pop until nothing is left: no message comes twice."""
        self.need("threads")
        await store.add_messages("s", numbered(30))

        async def drain(each: AsyncRepository) -> list[str]:
            taken = []
            while (record := await each.pop_message("s")) is not None:
                taken.append(record.message_id)
            return taken

        taken = [name for names in await at_once(store, [drain] * WORKERS) for name in names]

        assert sorted(message.id or "" for message in numbered(30)) == sorted(taken)

    async def test_appends_race_with_removal(self, store: AsyncRepository) -> None:
        """Clearing, deleting and replacing beside appends leaves counters equal to what is there, positions growing."""
        self.need("threads")

        async def append(each: AsyncRepository) -> None:
            for number in range(8):
                records = await each.add_messages("s", [say("x"), say(f"{number}")])
                assert 1 == records[1].position - records[0].position

        async def remove(each: AsyncRepository) -> None:
            for _ in range(4):
                await each.clear("s")
                await each.delete_session("s")
                await each.replace_messages("s", says("r"))

        await at_once(store, [append, append, append, append, remove, remove])

        records = await store.get_records("s")
        session = await store.get_session("s")
        positions = [record.position for record in records]
        assert sorted(set(positions)) == positions
        assert len(records) == session.message_count == await store.count_messages("s")
        assert session.last_position >= max(positions, default=0)
        assert session.revision == records.revision

    async def test_readers_see_whole_turns(self, store: AsyncRepository) -> None:
        """What is read while others append is a prefix of the session, in whole turns."""
        self.need("threads")

        async def append(each: AsyncRepository) -> None:
            for _ in range(10):
                await each.add_messages("s", says("a", "b", "c"))

        async def read(each: AsyncRepository) -> None:
            for _ in range(10):
                seen = contents(await each.get_messages("s"))
                assert ["a", "b", "c"] * (len(seen) // 3) == seen

        await at_once(store, [append, append, read, read])
        assert 60 == await store.count_messages("s")
