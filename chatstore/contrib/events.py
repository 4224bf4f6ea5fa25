"""An answer that streams, as server-sent events: what each event says, and how it is written.

Knows the format (https://html.spec.whatwg.org/multipage/server-sent-events.html) and three kinds of events; refuses
to know any framework. An event without a name brings text, ``{"text": "…"}``; ``done`` says where the answer stands in
its session and why it ended; ``problem`` is a problem details object. The id of an event that brings text says what a
browser has so far, so that it can go on behind it: which message, and how many characters of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from chatstore.errors import Invalid

if TYPE_CHECKING:
    from chatstore.contrib.problems import Problem
    from chatstore.messages import MessageRecord

MEDIA_TYPE: Final = "text/event-stream"
#: More digits than a text has characters are no offset.
_DIGITS: Final = 12
#: Nothing between server and browser may keep events to itself.
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def text_event(text: str, message_id: str, offset: int) -> str:
    """Return the event that brings *text*, after which *offset* characters of the message are there."""
    return _event({"text": text}, id=f"{message_id}:{offset}")


def done_event(record: MessageRecord) -> str:
    """Return the event that says how an answer ended."""
    return _event(
        {
            "session_id": record.session_id,
            "message_id": record.message_id,
            "position": record.position,
            "state": record.state,
            "finish_reason": record.finish_reason,
        },
        "done",
    )


def problem_event(problem: Problem) -> str:
    """Return the event that says what went wrong, when the answer's head has been sent long since."""
    return _event(problem.body, "problem")


def offset_of(last_event_id: str | None, message_id: str) -> int:
    """Return how many characters of the message a browser has that sends this ``Last-Event-ID``. Raises `Invalid`."""
    if not last_event_id:
        return 0
    message, _, offset = last_event_id.rpartition(":")
    if message != message_id or not (offset.isascii() and offset.isdecimal() and len(offset) <= _DIGITS):
        raise Invalid("Last-Event-ID is not of this answer: send the id of its last event, or none")
    return int(offset)


def _event(data: dict[str, Any], name: str = "", id: str = "") -> str:
    """Write an event: neither JSON nor ids have line breaks in them."""
    lines = [f"event: {name}"] if name else []
    lines += [f"id: {id}"] if id else []
    return "\n".join((*lines, f"data: {json.dumps(data)}", "", ""))
