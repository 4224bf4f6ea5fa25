"""The contract of values: what was stored comes back equal, and what cannot is refused before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chatstore.errors import Invalid, MessageTooLarge
from chatstore.messages import AIMessage
from chatstore.testing.appending import everything, positions
from chatstore.testing.driver import ContractPart, collected, exactly, offered
from chatstore.testing.loading import moved, record
from chatstore.testing.samples import (
    CANARY,
    contents,
    messages_of_every_class,
    messages_of_every_value,
    say,
    says,
    unstorable,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository
    from chatstore.messages import Message

SAMPLES = {"classes": messages_of_every_class, "values": messages_of_every_value}
LARGE = 10_000_000


class ValueContract(ContractPart):
    """What holds for the values inside messages."""

    @pytest.mark.parametrize("samples", SAMPLES)
    async def test_messages_come_back_equal_by_every_way(self, store: AsyncRepository, samples: str) -> None:
        """Every message comes back equal, types and signs included, by whatever method it is read."""
        messages: list[Message] = SAMPLES[samples]()
        added = await store.add_messages("s", messages)
        read = await store.get_records("s")

        exactly(messages, SAMPLES[samples]())
        exactly(messages, [found.message for found in added])
        exactly(messages, await store.get_messages("s"))
        exactly(added, read)
        exactly(read, await collected(store.iter_records("s")))
        exactly(messages[:3], [(await store.get_message("s", position)).message for position in (1, 2, 3)])

    @pytest.mark.parametrize("samples", SAMPLES)
    async def test_messages_come_back_equal_from_copies(self, store: AsyncRepository, samples: str) -> None:
        """Forks, loads and replacements hold the same messages."""
        messages: list[Message] = SAMPLES[samples]()
        records = await store.add_messages("s", messages)
        await store.fork_session("s", "fork")
        await store.load_records("load", records)
        await store.replace_messages("replace", messages)

        exactly(moved(records, "fork"), await store.get_records("fork"))
        exactly(moved(records, "load"), await store.get_records("load"))
        exactly(messages, await store.get_messages("replace"))

    @pytest.mark.parametrize("samples", SAMPLES)
    async def test_messages_come_back_equal_one_by_one(self, store: AsyncRepository, samples: str) -> None:
        """A message that is stored alone, put in the place of another, or popped, is equal too."""
        messages: list[Message] = [found for found in SAMPLES[samples]() if found.id is None][::7]
        for message in messages:
            [added] = await store.add_messages("s", [message])
            await store.update_message("s", added.position, say("between"))
            updated = await store.update_message("s", added.position, message)
            popped = await store.pop_message("s")
            assert popped is not None
            exactly([message] * 3, [added.message, updated.message, popped.message])

    @pytest.mark.parametrize("samples", SAMPLES)
    async def test_every_message_is_equal_to_itself(self, store: AsyncRepository, samples: str) -> None:
        """Whatever is in it, a message with a known id is known again."""
        messages = [
            found if found.id is not None else found.model_copy(update={"id": f"m{number}"})
            for number, found in enumerate(SAMPLES[samples]())
            if "data" not in type(found).model_fields
        ]
        first = await store.add_messages("s", messages)

        assert positions(first) == positions(await store.add_messages("s", messages))
        assert len(messages) == await store.count_messages("s")

    async def test_what_cannot_come_back_equal_is_refused(self, store: AsyncRepository) -> None:
        """NaN, tuples, bytes, 101 levels and their like raise `Invalid` in every method that stores; nothing is written."""
        await store.add_messages("s", says("one", "two"))
        before = await everything(store)

        for what, bad in unstorable().items():
            for name, call in offered(store, self._storing(store, bad)).items():
                with pytest.raises(Invalid) as caught:
                    await call()
                assert CANARY not in str(caught.value), (what, name)

        assert before == await everything(store)
        assert 1 == len((await store.list_sessions()).items)

    @staticmethod
    def _storing(store: AsyncRepository, bad: Message) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "add_messages": lambda: store.add_messages("s", [say("good"), bad]),
            "add_messages new": lambda: store.add_messages("new", [say("good"), bad]),
            "update_message": lambda: store.update_message("s", 1, bad),
            "replace_messages": lambda: store.replace_messages("s", [say("good"), bad]),
            "load_records": lambda: store.load_records(
                "s", [record(7), record(8, message=bad, message_id=bad.id or "g")]
            ),
        }

    async def test_ten_megabytes(self, store: AsyncRepository) -> None:
        """A message of 10 MB comes back equal, or is refused by `MessageTooLarge` before anything is written."""
        self.need("large")
        await store.add_messages("s", says("before"))
        before = await everything(store)
        line = 'Всё ещё в порядке 🙂 \\ "quoted"\n'
        text = line * (LARGE // len(line.encode()))
        messages: list[Message] = [
            say(text + "\x00"),
            AIMessage(
                content=text,
                tool_calls=[{"name": "f", "args": {"half": text[::2]}, "id": "c", "type": "tool_call"}],
            ),
        ]
        for message in messages:
            try:
                await store.add_messages("s", [message])
            except MessageTooLarge as error:
                assert error.limit < error.size
                assert before == await everything(store)
            else:
                assert [message] == await store.get_messages("s", last=1)
                await store.pop_message("s")

    async def test_large_batches_of_text(self, store: AsyncRepository) -> None:
        """Texts of every length around the limits of columns and pages come back whole."""
        sizes = [254, 255, 256, 4095, 4096, 8191, 8192, 65_534, 65_535, 65_536, 70_000]
        texts = [character * size for size in sizes for character in ("a", "\U0001f642")]
        await store.add_messages("s", says(*texts))

        assert texts == contents(await store.get_messages("s"))
        assert (
            texts[::3]
            == [(await store.get_message("s", place + 1)).message.content for place in range(len(texts))][::3]
        )
