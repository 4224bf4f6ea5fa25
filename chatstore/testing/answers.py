"""Answers that stream: what is stored while their text grows, and how each of them ends."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from chatstore import codec
from chatstore.answers import FLUSH_BYTES, FLUSH_SECONDS
from chatstore.arguments import utcnow
from chatstore.errors import (
    Conflict,
    Invalid,
    InvalidMessage,
    MessageConflict,
    MessageNotFound,
    SessionExists,
    SessionNotFound,
)
from chatstore.messages import AIMessage, HumanMessage
from chatstore.testing.driver import ContractPart, collected

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.messages import MessageRecord

QUESTION = HumanMessage("Where to?")
#: Seconds within which what was appended must be seen by readers, on the slowest machine.
PATIENCE = 20


async def stored_text(store: AsyncRepository, key: int | str, text: str) -> MessageRecord:
    """Return the record of the message once it has *text*: it must be stored without anybody doing anything."""
    end = time.monotonic() + PATIENCE
    while (found := await store.get_message("s", key)).message.content != text:
        assert time.monotonic() < end, f"never stored: {text[:40]!r}; there is {found.message!r}"
        await asyncio.sleep(FLUSH_SECONDS / 10)
    return found


def later(**passed: Any) -> Any:
    """Return a context in which the clock of every reader has *passed*."""

    def clock() -> datetime:
        return utcnow() + timedelta(**passed)

    return mock.patch.object(codec, "utcnow", clock)


class AnswerContract(ContractPart):
    """Whoever reads sees the text as far as it came, and whether more is to come."""

    async def test_question_and_placeholder_are_one_write(self, store: AsyncRepository) -> None:
        """The answer stands behind its question from the beginning, empty and streaming."""
        answer = await store.begin_answer("s", [QUESTION])
        records = await store.get_records("s")
        assert [QUESTION, AIMessage("")] == [record.message for record in records]
        assert [(1, None), (2, "streaming")] == [(record.position, record.state) for record in records]
        assert (records[1].position, records[1].message_id) == (answer.position, answer.message_id)
        assert list(answer.questions) == list(records[:1])
        assert ("streaming", None, "") == (answer.state, answer.reason, answer.text)
        await answer.stop()

    async def test_text_is_stored_as_it_comes(self, store: AsyncRepository) -> None:
        """What was appended is there a moment later, though nobody asked for it; None and '' are no text."""
        async with store.begin_answer("s", [QUESTION]) as answer:
            for text in ("To ", None, "", "the "):
                answer.append(text)
            record = await stored_text(store, answer.message_id, "To the ")
            assert ("streaming", answer.position) == (record.state, record.position)
            answer.append("sea.")
            await stored_text(store, answer.message_id, "To the sea.")
        assert "complete" == answer.state

    async def test_much_text_is_stored_at_once(self, store: AsyncRepository) -> None:
        """Text that comes faster than the clock ticks is stored by its size."""
        text = "ä" * FLUSH_BYTES
        async with store.begin_answer("s") as answer:
            answer.append(text)
            await stored_text(store, answer.message_id, text)

    async def test_finished_answer_is_a_message_with_what_is_known_of_it(
        self, store: AsyncRepository
    ) -> None:
        """Text, calls of tools, usage and reason stand where other messages have them."""
        async with store.begin_answer("s", [QUESTION], message_id="a1") as answer:
            answer.append("Let me look.")
            answer.add_tool_call("look", {"where": "map"}, "c1")
            record = await answer.finish(
                usage={"input_tokens": 3, "output_tokens": 4},
                finish_reason="tool_calls",
                model="m",
                metadata={"x": 1},
            )
        expected = AIMessage(
            "Let me look.",
            id="a1",
            tool_calls=[{"name": "look", "args": {"where": "map"}, "id": "c1", "type": "tool_call"}],
            usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
            response_metadata={"x": 1, "model_name": "m", "finish_reason": "tool_calls"},
        )
        assert expected == record.message
        assert record == await store.get_message("s", "a1") == (await store.get_records("s"))[-1]
        assert ("complete", "tool_calls") == (record.state, record.finish_reason)
        assert record == await answer.finish()
        assert ("complete", "tool_calls") == (answer.state, answer.reason)
        with pytest.raises(Invalid, match="has ended"):
            answer.append("more")

    async def test_whole_message_may_end_an_answer(self, store: AsyncRepository) -> None:
        """What a framework puts together takes the place of the text; the answer keeps its id."""
        blocks = AIMessage([{"type": "text", "text": "Sea."}], id="run-1", response_metadata={"a": 1})
        async with store.begin_answer("s") as answer:
            answer.append("Se")
            record = await answer.finish(blocks, finish_reason="stop")
        assert blocks.content == record.message.content
        assert {"a": 1, "finish_reason": "stop"} == record.message.model_dump()["response_metadata"]
        assert (answer.message_id, None) == (record.message_id, record.message.id)

    async def test_error_leaves_the_answer_incomplete(self, store: AsyncRepository) -> None:
        """All text up to an exception is stored, marked, and the exception goes on as it is."""
        with pytest.raises(ZeroDivisionError):
            async with store.begin_answer("s", [QUESTION]) as answer:
                answer.append("To the")
                raise ZeroDivisionError
        record = await store.get_message("s", 2)
        assert AIMessage("To the") == record.message
        assert (
            ("incomplete", "error") == (record.state, record.finish_reason) == (answer.state, answer.reason)
        )

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (GeneratorExit, "cancelled"),
            (asyncio.CancelledError, "cancelled"),
            (KeyboardInterrupt, "interrupted"),
        ],
    )
    async def test_client_that_leaves_leaves_the_text(
        self, store: AsyncRepository, error: type[BaseException], reason: str
    ) -> None:
        """A generator that is closed, a task that is cancelled, Ctrl-C: each leaves what there is, marked."""
        answer = await store.begin_answer("s", [QUESTION])
        answer.append("To the")
        with pytest.raises(error):
            async with answer:
                raise error
        record = await store.get_message("s", 2)
        assert (AIMessage("To the"), "incomplete", reason) == (
            record.message,
            record.state,
            record.finish_reason,
        )

    async def test_answer_can_be_stopped(self, store: AsyncRepository) -> None:
        """Who presses stop keeps what was said until then."""
        async with store.begin_answer("s", [QUESTION]) as answer:
            answer.append("To the")
            record = await answer.stop("user pressed stop")
        assert ("incomplete", "user pressed stop") == (record.state, record.finish_reason)
        assert record == await store.get_message("s", 2)

    async def test_models_can_read_without_what_is_incomplete(self, store: AsyncRepository) -> None:
        """Whole answers and all other messages are read; streaming and incomplete ones only if wanted."""
        async with store.begin_answer("s", [QUESTION]) as answer:
            answer.append("Sea.")
        async with store.begin_answer("s") as answer:
            await answer.stop()
        answer = await store.begin_answer("s", [QUESTION])
        assert [QUESTION, AIMessage("Sea."), QUESTION] == await store.get_messages("s", incomplete=False)
        assert [QUESTION] == await store.get_messages("s", last=2, incomplete=False)
        assert 5 == len(await store.get_messages("s"))
        await answer.stop()

    async def test_follower_sees_the_text_grow_and_goes_on(self, store: AsyncRepository) -> None:
        """A reader gets all text once, whenever it came, and can begin again where it was."""
        async with store.begin_answer("s", [QUESTION]) as answer:
            answer.append("To the ")
            await stored_text(store, answer.message_id, "To the ")
            parts = store.follow_answer("s", answer.message_id)
            first = await anext(parts)
            assert ["To the ", 7, "streaming", None] == [*first]
            answer.append("sea.")
            await answer.finish(finish_reason="stop")
            rest = await collected(parts)
        assert "sea." == "".join(part.text for part in rest)
        assert (11, "complete", "stop") == rest[-1][1:]
        again = await collected(store.follow_answer("s", 2, offset=first.offset))
        assert [("sea.", 11, "complete", "stop")] == again
        assert [("", 11, "complete", "stop")] == await collected(store.follow_answer("s", 2, offset=11))
        assert "Where to?" == (await anext(store.follow_answer("s", 1))).text
        with pytest.raises(MessageNotFound):
            await anext(store.follow_answer("s", 3))

    async def test_what_a_dead_process_left_reads_as_abandoned(self, store: AsyncRepository) -> None:
        """After a minute without its writer an answer is incomplete, and can be closed; not before."""
        answer = await store.begin_answer("s", [QUESTION])
        answer.append("To the")
        before = await stored_text(store, 2, "To the")
        assert 0 == await store.close_answers()
        with later(seconds=40):  # the test itself may take its time
            assert "streaming" == (await store.get_message("s", 2)).state
        with later(seconds=61):
            record = await store.get_message("s", 2)
            assert ("incomplete", "abandoned") == (record.state, record.finish_reason)
            assert record == (await store.get_records("s"))[1]
        assert before == await store.get_message("s", 2)
        await answer.finish()

    async def test_abandoned_answers_are_closed(self, store: AsyncRepository) -> None:
        """Closing stores what readers see already; a writer that was only slow takes its answer up again."""
        slow = await store.begin_answer("s", [QUESTION])
        slow.append("To the")
        await stored_text(store, 2, "To the")
        other = await store.begin_answer("t", [QUESTION])
        with (
            mock.patch("chatstore.repository.ABANDONED_AFTER", timedelta(seconds=-1)),
            mock.patch("chatstore.aio.ABANDONED_AFTER", timedelta(seconds=-1)),
        ):
            assert 2 == await store.close_answers(dry_run=True)
            assert "streaming" == (await store.get_message("s", 2)).state
            assert 2 == await store.close_answers()
            assert 0 == await store.close_answers()
        record = await store.get_message("s", 2)
        assert ("incomplete", "abandoned", AIMessage("To the")) == (
            record.state,
            record.finish_reason,
            record.message,
        )
        slow.append(" sea.")
        assert "complete" == (await slow.finish()).state
        assert AIMessage("To the sea.") == (await store.get_message("s", 2)).message
        await other.stop()

    async def test_closing_stays_in_its_scope(self, store: AsyncRepository) -> None:
        """Whoever closes their own answers closes nobody else's."""
        ada = await store.scope(user_id="ada").begin_answer("s", [QUESTION])
        with (
            mock.patch("chatstore.repository.ABANDONED_AFTER", timedelta(seconds=-1)),
            mock.patch("chatstore.aio.ABANDONED_AFTER", timedelta(seconds=-1)),
        ):
            assert 0 == await store.scope(user_id="bob").close_answers()
            assert "streaming" == (await store.get_message("s", 2)).state
            assert 1 == await store.scope(user_id="ada").close_answers()
        await ada.stop()

    async def test_answer_of_a_deleted_session_ends(self, store: AsyncRepository) -> None:
        """Whoever streams hears of it at the next word, and nothing of the answer comes back."""
        with pytest.raises(SessionNotFound):
            async with store.begin_answer("s", [QUESTION]) as answer:
                assert await store.delete_session("s")
                end = time.monotonic() + PATIENCE
                while time.monotonic() < end:
                    answer.append("word ")
                    await asyncio.sleep(FLUSH_SECONDS / 10)
        assert ("incomplete", []) == (answer.state, await store.get_messages("s"))

    async def test_answer_of_a_cleared_session_ends(self, store: AsyncRepository) -> None:
        """Finishing what is not there any more is an error, and stores nothing."""
        answer = await store.begin_answer("s", [QUESTION])
        await store.clear("s")
        with pytest.raises(MessageNotFound):
            await answer.finish()
        assert [] == await store.get_messages("s")

    async def test_edit_ends_the_stream(self, store: AsyncRepository) -> None:
        """An edit makes a whole message of an answer; its writer is told, and cannot undo the edit."""
        answer = await store.begin_answer("s", [QUESTION])
        edited = await store.update_message("s", 2, AIMessage("Inland."))
        assert "complete" == edited.state
        answer.append("To the sea.")
        with pytest.raises(Conflict):
            await answer.finish()
        assert edited == await store.get_message("s", 2)

    async def test_edits_move_the_time_of_a_message(self, store: AsyncRepository) -> None:
        """An edited message says when it was changed; one that stays as it was says nothing."""
        await store.add_messages("s", [QUESTION])
        assert None is (await store.get_message("s", 1)).updated_at
        await store.update_message("s", 1, QUESTION)
        assert None is (await store.get_message("s", 1)).updated_at
        edited = await store.update_message("s", 1, HumanMessage("Where from?"))
        assert edited.updated_at is not None
        assert edited.updated_at >= edited.created_at
        assert edited == await store.get_message("s", 1) == (await store.get_records("s"))[0]

    async def test_question_is_answered_once_more(self, store: AsyncRepository) -> None:
        """With a position, what stands behind it goes in the same write; positions are not used again."""
        async with store.begin_answer("s", [QUESTION]) as answer:
            answer.append("Inland.")
        async with store.begin_answer("s", after=1) as answer:
            answer.append("To the sea.")
        assert [QUESTION, AIMessage("To the sea.")] == await store.get_messages("s")
        assert (3, 2) == (answer.position, await store.count_messages("s"))

    async def test_other_question_is_asked_instead(self, store: AsyncRepository) -> None:
        """An edited question and its answer take the place of the old ones, also with the id of the old one."""
        await store.add_messages("s", [HumanMessage("Hello!"), HumanMessage("Where to?", id="q")])
        other = HumanMessage("Where to?", id="q")
        async with store.begin_answer("s", [other], after=1) as answer:
            answer.append("Sea.")
        assert [HumanMessage("Hello!"), other, AIMessage("Sea.")] == await store.get_messages("s")
        assert [1, 3, 4] == [record.position for record in await store.get_records("s")]
        assert 3 == await store.count_messages("s")

    async def test_beginning_refuses_before_it_deletes(self, store: AsyncRepository) -> None:
        """Nothing is stored, and nothing deleted, by a call that is refused."""
        await store.add_messages("s", [HumanMessage("a", id="a"), HumanMessage("b", id="b")])
        before = await store.get_records("s")
        with pytest.raises(MessageConflict):
            await store.begin_answer("s", [HumanMessage("other", id="a")], after=1)
        with pytest.raises(Conflict):
            await store.begin_answer("s", [QUESTION], after=1, expected_revision=before.revision + 1)
        with pytest.raises(InvalidMessage):
            await store.begin_answer("s", [object()], after=1)  # type: ignore[list-item]
        with pytest.raises(MessageConflict):
            await store.begin_answer("s", [HumanMessage("x", id="x")], message_id="x")
        with pytest.raises(SessionExists):
            await store.scope(user_id="ada").begin_answer("s", [QUESTION])
        after = await store.get_records("s")
        assert (before, before.revision) == (after, after.revision)

    async def test_bad_values_change_nothing(self, store: AsyncRepository) -> None:
        """What is no text, no tool call or no usage is refused, and the answer goes on."""
        async with store.begin_answer("s", [QUESTION]) as answer:
            with pytest.raises(InvalidMessage):
                answer.append(1)  # type: ignore[arg-type]
            with pytest.raises(InvalidMessage):
                answer.add_tool_call("look", {"a": {1, 2}})
            with pytest.raises(InvalidMessage):
                await answer.finish(usage={"tokens": 1})
            with pytest.raises(InvalidMessage):
                await answer.finish(metadata={"a": float("nan")})
            answer.append("Sea.")
        assert AIMessage("Sea.") == (await store.get_message("s", 2)).message

    async def test_fork_does_not_stream(self, store: AsyncRepository) -> None:
        """Nobody writes to the copy of an answer that is streaming, and it says so."""
        answer = await store.begin_answer("s", [QUESTION])
        await store.fork_session("s", "t")
        record = await store.get_message("t", 2)
        assert ("incomplete", "forked") == (record.state, record.finish_reason)
        await answer.stop()

    async def test_states_are_loaded(self, store: AsyncRepository) -> None:
        """A record takes its state, its reason and its time along."""
        async with store.begin_answer("s", [QUESTION]) as answer:
            await answer.stop()
        async with store.begin_answer("s") as answer:
            await answer.finish(finish_reason="stop")
        await store.update_message("s", 1, HumanMessage("Where from?"))
        records = await store.get_records("s")
        await store.load_records("t", records)
        assert [record[5:] for record in records] == [record[5:] for record in await store.get_records("t")]
