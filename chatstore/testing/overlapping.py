"""The contract of ``add_messages(overlap=True)``: the end of a conversation as somebody knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chatstore.errors import Conflict, InvalidMessage
from chatstore.messages import AIMessage, HumanMessage, OpaqueMessage, ToolMessage
from chatstore.testing.driver import ContractPart, at_once
from chatstore.testing.samples import say, says
from chatstore.testing.together import need_own_data

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository

#: What is stored, what the caller knows, and what of it is new; a letter is a message.
TAILS = {
    "nothing is stored": ("", "abc", "abc"),
    "all of it is known": ("abc", "abc", ""),
    "one more": ("abc", "abcd", "d"),
    "a window that slides": ("abcdef", "defg", "g"),
    "a window that has slid past nothing new": ("abcdef", "ef", ""),
    "a summary in the place of the head": ("abcd", "Scde", "e"),
    "a summary and the last message": ("abcd", "Sde", "e"),
    "a summary and nothing known": ("abcd", "Se", "Se"),
    "the same said again": ("aba", "abaa", "a"),
    "the same said again and again": ("aa", "aaaa", "aa"),
    "a window of repeats that slides": ("xababab", "ababab", ""),
    "repeats, and one more turn": ("abab", "ababab", "ab"),
    "one known message": ("ab", "b", ""),
    "one that was said before": ("ab", "a", "a"),
    "the last and one that was said before": ("ab", "ba", "a"),
    "a summary, a repeat": ("xb", "Sbb", "b"),
    "others wrote meanwhile": ("abcXY", "abcd", "d"),
    "others wrote, nothing is new": ("abcXY", "abc", ""),
    "a changed middle": ("abTcd", "abUcde", "e"),
}


class OverlapContract(ContractPart):
    """What is new is stored, once."""

    @pytest.mark.parametrize("tail", TAILS)
    async def test_what_is_new_is_stored(self, store: AsyncRepository, tail: str) -> None:
        """Honest repeats are kept, what is known is not stored again, what stands before it is left out."""
        stored, given, new = TAILS[tail]
        await store.add_messages("s", says(*stored))
        records = await store.add_messages("s", says(*given), overlap=True)

        assert new == "".join(record.message.text for record in records)
        assert [*stored, *new] == [message.text for message in await store.get_messages("s")]
        assert records.revision == (await store.get_records("s", last=0)).revision

    async def test_a_conversation_is_stored_once(self, store: AsyncRepository) -> None:
        """Whoever sends all they know with every turn, in a window that slides, leaves each message once."""
        turns = [say(f"turn {number % 3}") for number in range(30)]
        for end in range(1, len(turns) + 1):
            await store.add_messages("s", turns[max(0, end - 7) : end], overlap=True)

        assert turns == await store.get_messages("s")

    async def test_what_only_the_store_knows_does_not_count(self, store: AsyncRepository) -> None:
        """Usage, the model and the native form do not come back from a client; tool calls and results do."""
        call = {"name": "look", "args": {"x": 1}, "id": "c1", "type": "tool_call"}
        other = {**call, "args": {"x": 2}}
        usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        full: list[Any] = [
            HumanMessage([{"type": "text", "text": "Hi"}]),
            AIMessage("", tool_calls=[call], usage_metadata=usage, response_metadata={"model_name": "m"}),
            ToolMessage("2", tool_call_id="c1", native={"sdk": 1}),
            OpaqueMessage(type="reasoning", data={"content": "so", "native": {"sdk": 2}}),
        ]
        told: list[Any] = [
            HumanMessage("Hi"),
            AIMessage("", tool_calls=[call]),
            ToolMessage("2", tool_call_id="c1"),
            OpaqueMessage(type="reasoning", data={"content": "so"}),
        ]
        await store.add_messages("s", full)

        assert [] == await store.add_messages("s", told, overlap=True)
        other_call = AIMessage("", tool_calls=[other])
        assert 1 == len(await store.add_messages("s", [*told, other_call], overlap=True))

    async def test_ids_decide_where_both_have_one(self, store: AsyncRepository) -> None:
        """Two messages that say the same under other ids are two; one that says something else by its id is known."""
        await store.add_messages("s", [say("a", id="1"), say("a", id="2")])

        new = await store.add_messages(
            "s", [say("a", id="1"), say("b", id="2"), say("a", id="3")], overlap=True
        )
        assert ["3"] == [record.message_id for record in new]

    async def test_its_own_revision_counts(self, store: AsyncRepository) -> None:
        """A revision that is asked for is asked, and bad messages are refused."""
        revision = (await store.add_messages("s", says("a"))).revision
        await store.add_messages("s", says("b"))

        with pytest.raises(Conflict):
            await store.add_messages("s", says("a", "b", "c"), overlap=True, expected_revision=revision)
        with pytest.raises(InvalidMessage):
            await store.add_messages("s", "abc", overlap=True)  # type: ignore[arg-type]
        assert 2 == await store.count_messages("s")

    async def test_data_comes_with_it(self, store: AsyncRepository) -> None:
        """Title and metadata are put in place also where no message is new."""
        need_own_data(store)
        await store.add_messages("s", says("a"), overlap=True, metadata={"n": 1})
        await store.add_messages("s", says("a"), overlap=True, metadata={"n": 2})

        session = await store.get_session("s")
        assert ({"n": 2}, 1) == (session.metadata, session.message_count)

    async def test_many_send_the_same_at_once(self, store: AsyncRepository) -> None:
        """Of many who send the same end at the same moment, one stores what is new."""
        self.need("threads")
        await store.add_messages("s", says("a"))

        def send(one: AsyncRepository) -> Any:
            return one.add_messages("s", says("a", "b", "c"), overlap=True)

        found = await at_once(store, [send] * 6)
        assert ["a", "b", "c"] == [message.text for message in await store.get_messages("s")]
        assert [0, 0, 0, 0, 0, 2] == sorted(map(len, found))
