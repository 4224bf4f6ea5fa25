"""The contract of `add_messages`: order, atomicity, ids that make a repeat harmless, and expected revisions."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.arguments import utcnow
from chatstore.errors import InvalidMessage, MessageConflict
from chatstore.testing.driver import ContractPart, exactly
from chatstore.testing.samples import contents, numbered, say, says

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository
    from chatstore.messages import Message, Records

FORGETTING: dict[str, Callable[[AsyncRepository], Awaitable[object]]] = {
    "delete_message": lambda store: store.delete_message("s", "m3"),
    "pop_message": lambda store: store.pop_message("s"),
    "truncate": lambda store: store.truncate("s", after=2),
    "clear": lambda store: store.clear("s"),
    "replace_messages": lambda store: store.replace_messages("s", says("instead")),
}


def positions(records: Records) -> list[int]:
    """Return the positions of *records*."""
    return [record.position for record in records]


async def everything(store: AsyncRepository, session_id: str = "s") -> object:
    """Return all that can be read of a session, to compare before and after."""
    found = [
        item for item in (await store.list_sessions(archived=None)).items if item.session_id == session_id
    ]
    return found, list(await store.get_records(session_id))


class AppendingContract(ContractPart):
    """What holds when messages are added."""

    async def test_messages_keep_their_order(self, store: AsyncRepository) -> None:
        """Positions start at 1 and grow by one; messages come back in the order they were added."""
        first = await store.add_messages("s", says("a", "b"))
        second = await store.add_messages("s", says("c"))

        assert ([1, 2], [3]) == (positions(first), positions(second))
        assert ["a", "b", "c"] == contents(await store.get_messages("s"))

    async def test_records_say_what_was_stored(self, store: AsyncRepository) -> None:
        """The records returned are those that `get_records` returns, revision included."""
        before = utcnow()
        added = await store.add_messages("s", [say("a", id="m1"), say("b")])

        read = await store.get_records("s")
        exactly(added, read)
        assert added.revision == read.revision == (await store.get_session("s")).revision
        for record in added:
            assert "s" == record.session_id
            assert before <= record.created_at <= utcnow()
            assert UTC == record.created_at.tzinfo
        assert "m1" == added[0].message_id
        assert 1 <= len(added[1].message_id) <= 255

    async def test_a_missing_session_is_created(self, store: AsyncRepository) -> None:
        """`add_messages` creates the session, without an owner and without a title."""
        await store.add_messages("s", says("a", "b"))

        made = await store.get_session("s")
        assert (None, None, None, {}) == (made.tenant_id, made.user_id, made.title, made.metadata)
        assert (2, 2) == (made.message_count, made.last_position)

    async def test_an_empty_list_does_nothing(self, store: AsyncRepository) -> None:
        """Adding nothing returns no records with the current revision, creates nothing and changes nothing."""
        nothing = await store.add_messages("s", [])
        assert ([], 0, []) == (nothing, nothing.revision, (await store.list_sessions()).items)

        await store.add_messages("s", says("a"))
        before = await everything(store)
        nothing = await store.add_messages("s", [], expected_revision=3)
        assert before == await everything(store)
        assert ([], (await store.get_session("s")).revision) == (nothing, nothing.revision)

    async def test_any_iterable_will_do(self, store: AsyncRepository) -> None:
        """Messages may come as a tuple or a generator."""
        await store.add_messages("s", tuple(says("a", "b")))
        await store.add_messages("s", (message for message in says("c", "d")))

        assert ["a", "b", "c", "d"] == contents(await store.get_messages("s"))

    @pytest.mark.parametrize(
        "wrong", ["text", b"bytes", say("one message"), None, 5, [None], ["text"], [{"type": "human"}]]
    )
    async def test_what_is_no_list_of_messages_is_refused(self, store: AsyncRepository, wrong: Any) -> None:
        """Anything but messages raises `InvalidMessage`, and nothing is written."""
        with pytest.raises(InvalidMessage):
            await store.add_messages("s", wrong)
        with pytest.raises(InvalidMessage):
            await store.replace_messages("s", wrong)

        assert [] == (await store.list_sessions()).items

    async def test_a_message_without_id_stays_without(self, store: AsyncRepository) -> None:
        """Without an ``id`` a message is always appended, gets a record id of its own, and comes back without."""
        message = say("again")
        records = await store.add_messages("s", [message, message])
        records += await store.add_messages("s", [message])

        assert 3 == len({record.message_id for record in records})
        assert [None] * 3 == [found.id for found in await store.get_messages("s")]
        assert [None] * 3 == [record.message.id for record in await store.get_records("s")]
        assert message.id is None

    async def test_a_known_id_is_not_stored_again(self, store: AsyncRepository) -> None:
        """The same call again returns the first records, and changes nothing."""
        turn = numbered(2)
        first = await store.add_messages("s", turn)
        before = await everything(store)

        again = await store.add_messages("s", turn)

        exactly(first, again)
        assert first.revision == again.revision
        assert before == await everything(store)

    async def test_known_and_new_messages_in_one_call(self, store: AsyncRepository) -> None:
        """Records come in the order passed, known ones at their old position, new ones behind the last."""
        await store.add_messages("s", [say("one", id="m1"), say("two", id="m2")])

        records = await store.add_messages(
            "s", [say("new"), say("two", id="m2"), say("newer", id="m3"), say("one", id="m1")]
        )

        assert [3, 2, 4, 1] == positions(records)
        assert ["new", "two", "newer", "one"] == [record.message.content for record in records]
        assert ["one", "two", "new", "newer"] == contents(await store.get_messages("s"))

    async def test_the_same_id_twice_in_one_call(self, store: AsyncRepository) -> None:
        """With the same body it is stored once, and both places get the same record."""
        records = await store.add_messages("s", [say("x", id="m1"), say("y"), say("x", id="m1")])

        assert [1, 2, 1] == positions(records)
        exactly([records[0]], [records[2]])
        assert ["x", "y"] == contents(await store.get_messages("s"))

    @pytest.mark.parametrize("stored", [0, 1])
    async def test_the_same_id_with_two_bodies_in_one_call(self, store: AsyncRepository, stored: int) -> None:
        """It raises `MessageConflict` and writes nothing, whether the session is there or not."""
        await store.add_messages("s", says("kept")[:stored])
        before = await everything(store)

        with pytest.raises(MessageConflict):
            await store.add_messages("s", [say("new"), say("x", id="m1"), say("y", id="m1")])

        assert before == await everything(store)

    @pytest.mark.parametrize(
        "other",
        [
            say("other", id="m1"), say("x", id="m1", name="n"), say("x", id="m1", additional_kwargs={"k": True}),
            say("x", id="m1", additional_kwargs={"k": 1, "l": None}), say("x", id="m1", additional_kwargs={"k": "1"}),
            say("x", id="m1", additional_kwargs={"k": 1}, example=True), say("x\x00", id="m1"),
        ],
        ids=["content", "name", "true for 1", "one more", "text for 1", "example", "nul"],
    )  # fmt: skip
    async def test_a_known_id_with_another_body(self, store: AsyncRepository, other: Message) -> None:
        """It raises `MessageConflict` and changes nothing, the new messages of the call included."""
        await store.add_messages("s", [say("x", id="m1", additional_kwargs={"k": 1})])
        before = await everything(store)

        with pytest.raises(MessageConflict):
            await store.add_messages("s", [say("new"), other, say("newer", id="m2")])

        assert before == await everything(store)

    async def test_bodies_are_compared_by_what_they_say(self, store: AsyncRepository) -> None:
        """The order of keys, and defaults that are spelled out, make no other body."""
        await store.add_messages(
            "s", [say("x", id="m1", additional_kwargs={"a": 1, "b": {"c": 2, "d": "\x00"}})]
        )

        again = say(
            "x", id="m1", example=False, name=None, additional_kwargs={"b": {"d": "\x00", "c": 2}, "a": 1}
        )
        assert [1] == positions(await store.add_messages("s", [again]))

    async def test_ids_are_per_session(self, store: AsyncRepository) -> None:
        """The same id in two sessions is two messages."""
        await store.add_messages("s", [say("x", id="m1")])
        await store.add_messages("t", [say("y", id="m1")])

        assert ["x"] == contents(await store.get_messages("s"))
        assert ["y"] == contents(await store.get_messages("t"))

    async def test_message_ids_are_equal_byte_for_byte(self, store: AsyncRepository) -> None:
        """Case, accents and normal form make other message ids."""
        ids = [
            "m",
            "M",
            "\xe9",
            "e\u0301",
            "e",
            "\xdf",
            "ss",
            "i",
            "\u0131",
            "\uff4d",
            "m%",
            "m_",
            "1",
            "x" * 255,
            "\U0001f642" * 255,
        ]
        records = await store.add_messages("s", [say(name, id=name) for name in ids])

        assert list(range(1, len(ids) + 1)) == positions(records)
        assert ids == [(await store.get_message("s", name)).message.content for name in ids]
        assert positions(records) == positions(
            await store.add_messages("s", [say(name, id=name) for name in ids])
        )

    @pytest.mark.parametrize("how", FORGETTING)
    async def test_a_deleted_id_is_forgotten(self, store: AsyncRepository, how: str) -> None:
        """Once its message is gone an id is free, for another body too."""
        await store.add_messages("s", numbered(3))
        await FORGETTING[how](store)

        records = await store.add_messages("s", [say("another body", id="m3")])

        assert "another body" == (await store.get_message("s", "m3")).message.content
        assert [3] < positions(records)

    @pytest.mark.parametrize("how", FORGETTING)
    async def test_a_position_is_never_used_again(self, store: AsyncRepository, how: str) -> None:
        """What comes after a removal gets new positions, above every one ever used."""
        await store.add_messages("s", numbered(3))
        await FORGETTING[how](store)
        last = (await store.get_session("s")).last_position

        assert [last + 1] == positions(await store.add_messages("s", says("next")))
        assert last >= 3

    async def test_an_invalid_message_spoils_the_whole_call(self, store: AsyncRepository) -> None:
        """One message that cannot be stored keeps all others of its call out, and the session from being made."""
        bad = say("x", additional_kwargs={"v": float("nan")})
        with pytest.raises(InvalidMessage):
            await store.add_messages("s", [say("a"), bad, say("b")])

        assert [] == (await store.list_sessions()).items

    async def test_a_stored_message_is_the_stores_own(self, store: AsyncRepository) -> None:
        """Changing messages that were passed or returned changes nothing that is stored."""
        message = say("x", additional_kwargs={"list": [1]}, id="m1")
        records = await store.add_messages("s", [message])
        message.content = "changed"
        message.additional_kwargs["list"].append(2)
        read = await store.get_messages("s")
        read[0].additional_kwargs["list"].append(3)  # type: ignore[union-attr]
        read.clear()
        records.clear()

        assert [say("x", additional_kwargs={"list": [1]}, id="m1")] == await store.get_messages("s")

    async def test_an_archived_session_accepts_messages(self, store: AsyncRepository) -> None:
        """Archived sessions take messages and stay archived."""
        await store.create_session("s")
        archived = (await store.update_session("s", archived=True)).archived_at

        await store.add_messages("s", says("x"))

        assert archived == (await store.get_session("s")).archived_at
        assert 1 == await store.count_messages("s")

    async def test_many_messages_in_one_call(self, store: AsyncRepository) -> None:
        """A call may hold thousands of messages, more than a statement has parameters."""
        self.need("large")
        messages = numbered(6_000)

        assert list(range(1, 6_001)) == positions(await store.add_messages("s", messages))
        assert messages == await store.get_messages("s")
        assert list(range(1, 6_001)) == positions(await store.add_messages("s", messages))
