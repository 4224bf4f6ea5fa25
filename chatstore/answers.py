"""Answers that stream: a placeholder that is stored with the question, and whose text grows as it comes.

This module knows when a growing answer is written and how it ends; it refuses to know where it is kept. Whoever appends
only adds to a list. A thread, or under asyncio a task, writes what has come since the last time: after a quarter of a
second, or 8 kB. The last write is the caller's own, so that its error reaches them. A writer that has nothing to
write says a few times a minute that it is there; what nobody has written to for a minute reads as abandoned.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, Self

from chatstore import codec
from chatstore.arguments import check_natural, check_revision, utcnow
from chatstore.codec import Appended, answered, batch, encode
from chatstore.contract import BeginAnswer, WriteAnswer
from chatstore.errors import ChatstoreError, Invalid, InvalidMessage, MessageTooLarge, StorageUnavailable
from chatstore.failures import another_body
from chatstore.forks import renewed_in_child
from chatstore.messages import AIMessage, text_of
from chatstore.records import COMPLETE, INCOMPLETE, STREAMING, AnswerPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from chatstore.aio import AsyncRepository
    from chatstore.codec import Batch, Draft
    from chatstore.messages import Message, MessageRecord, Records
    from chatstore.records import AnswerState
    from chatstore.repository import Repository

_log: Final = logging.getLogger("chatstore")
#: How old text may become, and how much of it may come, before it is written.
FLUSH_SECONDS: Final = 0.25
FLUSH_BYTES: Final = 8 * 1024
#: A write begins earlier than that by as long as the one before took, and a little more; but not all the time.
_AHEAD: Final = 0.05
_LEAST_PAUSE: Final = 0.05
#: How often a writer says that it is there.
HEARTBEAT_SECONDS: Final = 15.0
#: Why an answer is incomplete, beside the reasons that a caller gives.
CANCELLED: Final = "cancelled"
FAILED: Final = "error"
INTERRUPTED: Final = "interrupted"
DROPPED: Final = "dropped"


def part_of(record: MessageRecord, offset: int) -> AnswerPart:
    """Return what comes after *offset* in the text of *record*."""
    content = getattr(record.message, "content", "")
    text = content if isinstance(content, str) else text_of(content)
    return AnswerPart(text[offset:], max(offset, len(text)), record.state or COMPLETE, record.finish_reason)


# ------------------------------------------------------------------------------------------------ the growing answer


class Growing:
    """An answer while it grows: what has come, what of it is written, and how it ends.

    The caller adds, the writer takes away, and neither holds a lock: each counts for itself, in one direction.
    """

    def __init__(self, call: BeginAnswer, made: Batch, done: Appended) -> None:
        """Begin with the placeholder that *call* stored, the last of its drafts."""
        self.call = call
        self.position, stored = done.rows[-1]
        self.message_id, self.created_at = stored.message_id, stored.created_at
        self.questions = answered(call.session_id, made, Appended(done.revision, done.rows[:-1]))
        self.parts: list[str] = []
        self.tool_calls: list[dict[str, Any]] = []
        self.details: dict[str, Any] = {}
        self.given: AIMessage | None = None
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.added = 0
        #: Bytes, parts and tool calls that are written, or were to be in the write that is under way.
        self.written, self.kept, self._calls = 0, 0, 0
        self.beat = time.monotonic()
        #: Seconds; the first write may have to connect, and takes longer than others.
        self.took = 0.1
        self.state: AnswerState = STREAMING
        self.reason: str | None = None
        #: What ends the stream: nothing more can be stored.
        self.fault: ChatstoreError | None = None
        self.warned = False
        #: The writer ends: the caller goes on alone, or is gone.
        self.ending = False
        self.dropped = False
        self.record: MessageRecord | None = None
        #: This is a forked child's copy: the parent goes on with the answer, and ends it.
        self.copied = False
        renewed_in_child(self)

    def _renew(self) -> None:
        msg = (
            f"the answer {self.message_id!r} belongs to the process that began it: "
            "begin another one here with begin_answer, or fork before that"
        )
        self.copied, self.fault = True, Invalid(msg)

    def drop(self, wake: Callable[[], object] = lambda: None) -> None:
        """Note that nobody has the answer any more who could end it."""
        self.dropped = self.ending = True
        if not self.copied:  # the writer may have held a lock of *wake* when the process forked
            wake()

    # ---- the caller's side

    def add(self, text: str | None) -> bool:
        """Take *text*; tell whether so much has come that it should be written now."""
        if self.state != STREAMING or self.fault is not None:
            self.refuse()
        if not text:
            if text is not None and type(text) is not str:
                self._refuse_type(text)
            return False
        if not isinstance(text, str):
            self._refuse_type(text)
        now = utcnow()
        if self.first is None:
            self.first = now
        self.last = now
        self.parts.append(text)
        self.added += len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
        return self.added - self.written >= FLUSH_BYTES

    def add_tool_call(self, name: str, args: Mapping[str, Any], id_: str | None) -> None:
        """Take a call of a tool."""
        if self.state != STREAMING or self.fault is not None:
            self.refuse()
        call = {"name": name, "args": dict(args), "id": id_, "type": "tool_call"}
        encode(AIMessage("", tool_calls=[call]), now=self.created_at)  # bad input ends here
        self.last = utcnow()
        self.first = self.first or self.last
        self.tool_calls.append(call)

    def refuse(self) -> None:
        """Raise what ended the stream."""
        if self.fault is not None:
            raise self.fault
        msg = f"the answer {self.message_id!r} has ended ({self.state}): begin another one with begin_answer"
        raise Invalid(msg)

    def _refuse_type(self, text: object) -> None:
        msg = f"append takes text, not a value of type {type(text).__name__}: pass the text of the chunk"
        raise InvalidMessage(msg)

    def finishing(
        self,
        message: AIMessage | None,
        usage: Mapping[str, Any] | None,
        finish_reason: str | None,
        model: str | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        """Take what is known at the end. Raises `InvalidMessage` before anything of it counts."""
        if message is not None and not isinstance(message, AIMessage):
            msg = f"finish takes an AIMessage, not a value of type {type(message).__name__}: leave it out, or pass one"
            raise InvalidMessage(msg)
        about = dict(metadata or {})
        if model is not None:
            about["model_name"] = model
        if finish_reason is not None:
            about["finish_reason"] = finish_reason
        details: dict[str, Any] = {}
        if about:
            details["response_metadata"] = about
        if usage is not None:
            details["usage_metadata"] = _checked_usage(usage)
        before = self.given, self.details
        self.given, self.details = message, details
        try:
            self.draft(COMPLETE)
        except InvalidMessage:
            self.given, self.details = before
            raise

    # ---- the writer's side

    def draft(self, state: AnswerState, reason: str | None = None, count: int | None = None) -> Draft:
        """Return the answer's stored form, of its first *count* parts (None: all)."""
        if self.given is not None:
            about = self.given.response_metadata | self.details.get("response_metadata", {})
            changes = self.details | {"response_metadata": about, "id": None}
            message = self.given.model_copy(update=changes)
        else:
            named = {"tool_calls": list(self.tool_calls)} if self.tool_calls else {}
            message = AIMessage("".join(self.parts[:count]), **named, **self.details)
        draft = encode(message, now=self.created_at)
        return draft._replace(
            state=state,
            finish_reason=draft.finish_reason if reason is None else reason,
            first_token_at=self.first,
            last_token_at=self.last,
        )

    def due(self) -> bool:
        """Tell whether there is something to write, be it that the writer is still there."""
        grown = len(self.parts) > self.kept or len(self.tool_calls) > self._calls
        return grown or time.monotonic() - self.beat >= HEARTBEAT_SECONDS

    def pause(self) -> float:
        """Return how long to wait before the next write, in seconds, so that text is stored in time."""
        return max(_LEAST_PAUSE, FLUSH_SECONDS - _AHEAD - self.took)

    def take(self) -> tuple[WriteAnswer, tuple[int, int, int]]:
        """Return the call that writes what has come so far, and what `wrote` is told once it is done."""
        mark = (self.added, len(self.parts), len(self.tool_calls))
        self.written = self.added
        return self._write(self.draft(STREAMING, count=mark[1])), mark

    def _write(self, draft: Draft) -> WriteAnswer:
        call = self.call
        return WriteAnswer(call.scope, utcnow(), call.session_id, self.message_id, draft, None)

    def wrote(self, mark: tuple[int, int, int], began: float) -> None:
        """Note that everything up to *mark* is stored."""
        _, self.kept, self._calls = mark
        self.beat = time.monotonic()
        self.took = self.beat - began
        self.warned = False

    def failed(self, error: ChatstoreError) -> None:
        """Note that a write failed: what may pass is tried again with the next one, anything else ends the stream."""
        if not isinstance(error, StorageUnavailable):
            self.fault = error
        elif not self.warned:
            self.warned = True
            _log.warning("an answer that streams is not being stored for now (%s)", type(error).__name__)

    def end(self) -> None:
        """Have the writer stop; raise in a forked child, where there is none."""
        if self.copied:
            self.refuse()
        self.ending = True

    def last_write(self, state: AnswerState, reason: str | None) -> WriteAnswer:
        """Return the call that ends the answer; raise what makes that impossible."""
        count = None
        if self.fault is not None:
            if state == COMPLETE or not isinstance(self.fault, MessageTooLarge):
                raise self.fault
            count, self.given = self.kept, None
        return self._write(self.draft(state, reason, count))

    def ended(self, record: MessageRecord) -> MessageRecord:
        """Note that the answer is stored as it stays."""
        self.record, self.reason = record, record.finish_reason
        self.state = record.state or COMPLETE
        self.ending = True
        return record


def _checked_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return *usage* with LangChain's names for it; OpenAI's are known, too."""
    counts = dict(usage)
    for name, other in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
        if name not in counts and other in counts:
            counts[name] = counts.pop(other)
        if type(counts.get(name)) is not int:
            msg = f"usage needs the number of {name}: pass a dict with input_tokens and output_tokens"
            raise InvalidMessage(msg)
    counts.setdefault("total_tokens", counts["input_tokens"] + counts["output_tokens"])
    return counts


def reason_of(error: BaseException) -> str:
    """Return why an answer is incomplete whose block was left by *error*."""
    # By name: asyncio need not be imported, and other loops have a class of their own. A closed generator is a client
    # that left.
    if isinstance(error, GeneratorExit) or type(error).__name__ in {"CancelledError", "Cancelled"}:
        return CANCELLED
    return FAILED if isinstance(error, Exception) else INTERRUPTED


def made_call(
    repository: Repository | AsyncRepository,
    session_id: str,
    messages: Iterable[Message],
    message_id: str | None,
    after: int | None,
    expected_revision: int | None,
) -> tuple[BeginAnswer, Batch]:
    """Return the call that stores *messages* and the placeholder of their answer. Bad input ends here."""
    now = utcnow()
    made = batch(session_id, messages, now)
    placeholder = encode(AIMessage("", id=message_id), now=now)
    if any(draft.message_id == placeholder.message_id for draft in made.drafts):
        raise another_body(session_id, placeholder.message_id)
    drafts = [*made.drafts, placeholder._replace(state=STREAMING, updated_at=now)]
    revision = None if expected_revision is None else check_revision(expected_revision)
    place = None if after is None else check_natural(after, "after")
    return BeginAnswer(repository._scope, now, session_id, drafts, revision, place), made


def note_failure(error: BaseException, growing: Growing, failed: ChatstoreError) -> None:
    """Say with *error*, which goes on, that the answer's end could not be stored."""
    if failed is not error:
        note = (
            f"the end of the streamed answer {growing.message_id!r} is not stored ({type(failed).__name__})"
        )
        error.add_note(note)
        _log.warning(note)


class Streaming:
    """What the two kinds of streaming answers have in common: nothing here waits."""

    _growing: Growing

    @property
    def session_id(self) -> str:
        """The session that the answer is in."""
        return self._growing.call.session_id

    @property
    def position(self) -> int:
        """The answer's position."""
        return self._growing.position

    @property
    def message_id(self) -> str:
        """The answer's message id."""
        return self._growing.message_id

    @property
    def questions(self) -> Records:
        """The records of the messages that were stored with the placeholder."""
        return self._growing.questions

    @property
    def text(self) -> str:
        """What was appended so far, stored or not yet."""
        return "".join(self._growing.parts)

    @property
    def state(self) -> AnswerState:
        """``streaming``, ``complete`` or ``incomplete``."""
        return INCOMPLETE if self._growing.fault is not None else self._growing.state

    @property
    def reason(self) -> str | None:
        """Why the answer ended: the model's word, or why it is incomplete; None while it streams."""
        return self._growing.reason

    def append(self, text: str | None) -> None:
        """Add *text* at the end; None and "" add nothing. Returns at once: another thread, or a task, stores it.

        What was added is stored a quarter of a second later, or after 8 kB. Where the storage cannot be reached, the
        text is kept and stored later. Raises what makes storing impossible (`SessionNotFound` where the session was
        deleted or has expired, `Conflict` where somebody else ended the answer, `MessageTooLarge`), and `Invalid` once
        it has ended.
        """
        if self._growing.add(text):
            self._wake()

    def add_tool_call(self, name: str, args: Mapping[str, Any], id: str | None = None) -> None:
        """Add a call of the tool *name* with *args*, a JSON object; *id* is what its answer will refer to.

        Raises as `append`, and `InvalidMessage` for what is no JSON.
        """
        self._growing.add_tool_call(name, args, id)

    def _wake(self) -> None:
        raise NotImplementedError


# ------------------------------------------------------------------------------------------------ synchronous


class StreamingAnswer(Streaming):
    """An answer whose text grows: append to it, then finish it.

    As a context manager it ends with its block: complete, or incomplete where an exception leaves the block (reason
    ``error``; ``cancelled`` for a generator that was closed, which is what a client that leaves does; ``interrupted``
    for Ctrl-C and its like). The exception goes on. The answer belongs to the process that began it: in a forked child
    the end of the block does nothing, and everything else raises `Invalid`.
    """

    def __init__(
        self,
        repository: Repository,
        session_id: str,
        messages: Iterable[Message],
        *,
        message_id: str | None,
        after: int | None,
        expected_revision: int | None,
    ) -> None:
        """Store *messages* and the placeholder: what `Repository.begin_answer` does."""
        call, made = made_call(repository, session_id, messages, message_id, after, expected_revision)
        done = repository._call(repository._core.begin_answer, call)
        growing = self._growing = Growing(call, made, done)
        self._repository = repository
        self._event = threading.Event()
        # Nothing of the thread knows this object: whoever lets go of it ends the thread.
        self._finalizer = weakref.finalize(self, growing.drop, self._event.set)
        self._finalizer.atexit = False
        self._thread: threading.Thread | None = None
        self.attend()

    def attend(self) -> None:
        """Have what comes be written while it comes, unless that is so: where a transaction was open, it was not yet.

        Nobody else sees what is written inside a transaction of the caller's, so that nothing is until it has ended.
        """
        if self._thread is None and self._growing.record is None and self._repository._writes_beside():
            self._thread = threading.Thread(
                target=_write_beside,
                args=(self._repository, self._growing, self._event),
                name="chatstore-answer",
                daemon=True,
            )
            self._thread.start()

    def _wake(self) -> None:
        self._event.set()

    def finish(
        self,
        message: AIMessage | None = None,
        *,
        usage: Mapping[str, Any] | None = None,
        finish_reason: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> MessageRecord:
        """End the answer, complete, and return its record.

        *usage* has ``input_tokens`` and ``output_tokens``; *finish_reason* is the model's word (``stop``, ``length``),
        *model* its name. These stand in the message's ``response_metadata`` together with *metadata*. A whole
        *message* takes the place of what was appended; its id stays the answer's. Raises as `append`, and
        `StorageUnavailable` where the end cannot be stored now: call it again later. A second call returns the record.
        """
        growing = self._growing
        if growing.record is not None:
            return growing.record
        growing.finishing(message, usage, finish_reason, model, metadata)
        return self._end(COMPLETE, None)

    def stop(self, reason: str = "stopped") -> MessageRecord:
        """End the answer, incomplete, for a *reason* of at most 255 characters; return its record."""
        if self._growing.record is not None:
            return self._growing.record
        return self._end(INCOMPLETE, codec.checked_id(reason))

    def _end(self, state: AnswerState, reason: str | None) -> MessageRecord:
        growing = self._growing
        growing.end()
        self._event.set()
        if self._thread is not None:
            self._thread.join()
        repository = self._repository
        record = repository._call(repository._core.update_message, growing.last_write(state, reason))
        self._finalizer.detach()
        return growing.ended(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if self._growing.record is not None or self._growing.copied:
            return
        if error is None:
            self.finish()
            return
        try:
            self.stop(reason_of(error))
        except ChatstoreError as failed:
            note_failure(error, self._growing, failed)


def _write_beside(repository: Repository, growing: Growing, event: threading.Event) -> None:
    """Write what comes until the answer ends, and leave nothing behind: what the thread does."""
    try:
        _keep_writing(repository, growing, event)
    finally:
        repository._leave_thread()


def _keep_writing(repository: Repository, growing: Growing, event: threading.Event) -> None:
    while not growing.ending:
        event.wait(growing.pause())
        event.clear()
        if growing.ending or not growing.due():
            continue
        began = time.monotonic()
        try:
            call, mark = growing.take()
            repository._call(repository._core.update_message, call)
        except ChatstoreError as error:
            growing.failed(error)
            if growing.fault is not None:
                break
        else:
            growing.wrote(mark, began)
    if growing.dropped and growing.fault is None:
        try:
            call = growing.last_write(INCOMPLETE, DROPPED)
            repository._call(repository._core.update_message, call)
        except ChatstoreError as error:
            _log.warning(
                "a streamed answer was dropped, and its end is not stored (%s)", type(error).__name__
            )
