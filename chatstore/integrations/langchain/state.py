"""The messages of a graph's state against those of a session: what to store, what to seed.

This module knows that LangGraph passes the whole state again and again and tells messages apart by their ids. It
refuses to know agents and their hooks; its operations yield what must be carried out on a repository, as those of
`chatstore.contract` do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from chatstore import codec
from chatstore.arguments import utcnow
from chatstore.errors import ChatstoreError, Invalid, MessageConflict, NotFound
from chatstore.ids import new_id
from chatstore.integrations.langchain.convert import become, from_langchain
from chatstore.integrations.langchain.turns import in_turn, says_something

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from chatstore.messages import Message, MessageRecord

#: What an operation yields: a call on a repository, which is awaited where that is asynchronous.
Step: TypeAlias = Callable[[Any], Any]
#: For each message id, a digest of the body that is stored.
Saved: TypeAlias = dict[str, str]

log: Final = logging.getLogger("chatstore.integrations.langchain")


@contextmanager
def loud(session_id: str, count: int) -> Iterator[None]:
    """Log at ERROR what could not be written, because callers in LangChain swallow exceptions; raise it again."""
    try:
        yield
    except Exception as error:
        # Only chatstore's own errors are known to hold no message text; a traceback would show their causes.
        told = str(error) if isinstance(error, ChatstoreError) else type(error).__name__
        log.error("session %r: a write of %d messages failed: %s", session_id, count, told)  # noqa: TRY400
        raise


def digest(message: Message) -> str:
    """Return a short text that is the same for the same body, ids apart."""
    draft = codec.encode(message, now=utcnow())
    body = f"{draft.type}\x00{draft.content}\x00{draft.payload}"
    return blake2b(body.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def is_spoken(message: Any) -> bool:
    """Tell whether *message* belongs to the conversation: not an instruction to a graph, nor a summary of it."""
    if message.type == "remove":
        return False
    return bool(message.additional_kwargs.get("lc_source") != "summarization")


def upserted(
    session_id: str, given: Iterable[BaseMessage], saved: Mapping[str, str], *, omits: bool = False
) -> Generator[Step, Any, Saved]:
    """Store those of *given* that are not *saved*, and update those whose body is another; return what is saved.

    A saved message that is gone from the session was deleted there on purpose and stays so. What was saved and is
    not *given* any more was forgotten by the graph; the session keeps it. *omits* is that of `from_langchain`.
    """
    bodies = {_named(one): from_langchain(one, omits=omits) for one in given if is_spoken(one)}
    now_saved = {name: digest(message) for name, message in bodies.items()}
    before = dict(saved)
    try:
        yield from _added(session_id, bodies, before)
    except MessageConflict:
        # One of them is stored with another body: a run that was resumed elsewhere, or a new memory of an old session.
        records = yield lambda store: store.get_records(session_id)
        before |= {record.message_id: digest(record.message) for record in records}
        yield from _added(session_id, bodies, before)
    for name, message in bodies.items():
        if before.get(name, now_saved[name]) != now_saved[name]:
            yield from _updated(session_id, name, message)
    if forgotten := len(saved.keys() - now_saved.keys()):
        log.info("session %r: the graph forgot %d messages; they stay stored", session_id, forgotten)
    return now_saved


def _named(message: Any) -> str:
    if message.id is None:
        msg = "a message has no id to be known by: reduce the state with langgraph's add_messages, which gives it one"
        raise Invalid(msg)
    return str(message.id)


def _added(
    session_id: str, bodies: Mapping[str, Message], before: Mapping[str, str]
) -> Generator[Step, Any, None]:
    new = [message for name, message in bodies.items() if name not in before]
    if new:
        yield lambda store: store.add_messages(session_id, new)


def _updated(session_id: str, name: str, message: Message) -> Generator[Step, Any, None]:
    try:
        yield lambda store: store.update_message(session_id, name, message)
    except NotFound:
        log.info("session %r: a message that the graph changed was deleted before; it stays so", session_id)


def seeded(
    session_id: str, state: Sequence[BaseMessage], last: int | None, *, omits: bool = False
) -> Generator[Step, Any, tuple[list[BaseMessage], Saved]]:
    """Return the session's messages followed by those of *state* that it has not, and what of them is saved.

    They come as models accept them: see `chatstore.integrations.langchain.turns`.
    """
    records = yield lambda store: store.get_records(session_id, last=last)
    saved = {record.message_id: digest(record.message) for record in records}
    here = {message.id: message for message in state}
    stored = [here.get(record.message_id) or _identified(record) for record in records]
    new = [message for message in state if message.id not in saved]
    messages = in_turn([*filter(says_something, stored), *new])
    names = {message.id for message in messages}
    if unsent := [message for message in new if message.id not in names and message.type in ("ai", "tool")]:
        log.warning(
            "session %r: of the input %d calls or answers are stored and not sent, since models refuse them alone",
            session_id,
            len(unsent),
        )
        yield from upserted(session_id, unsent, {}, omits=omits)
    return messages, {name: body for name, body in saved.items() if name in names}


def named(message: BaseMessage) -> BaseMessage:
    """Return *message* with an id to be known by: a copy of it where it has none."""
    return message if message.id is not None else message.model_copy(update={"id": new_id()})


def _identified(record: MessageRecord) -> BaseMessage:
    """Return the message with the id that it has in the session, so that the graph gives it no other."""
    message = become(record.message)
    message.id = record.message_id
    return message
