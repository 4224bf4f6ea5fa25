"""What is new in the end of a conversation as somebody else knows it.

Many callers keep a conversation themselves and send all they know of it with every turn: stateless chat endpoints, web
clients, telemetry. What they know is a window that slides, or begins with a summary of what it has lost. This module
finds which of their messages are stored; it refuses to know where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chatstore.messages import OpaqueMessage, text_of
from chatstore.strictjson import canonical

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from chatstore.messages import Message
    from chatstore.records import MessageRecord

#: How often what is new is found out again while others write.
CONTENDED: Final = 1000
#: How many messages of other writers may have come since the caller looked.
SLACK: Final = 100
#: What of an unknown type's data differs between two tellings of the same.
_ASIDE: Final = frozenset({"id", "native", "usage_metadata", "response_metadata"})


def reach(given: Sequence[Message]) -> int:
    """Return how many of the newest stored messages `unknown` needs beside *given*."""
    return len(given) + SLACK


def unknown(given: Sequence[Message], stored: Sequence[MessageRecord]) -> list[Message]:
    """Return what comes in *given* behind the last message that is stored; both begin with the oldest.

    Of the runs of *given* that end as *stored* does, the longest counts, and of equally long ones the first: so a
    message that was said twice is stored twice. Where no run does (others wrote in the meantime), the longest run
    that is anywhere in *stored* counts, but not one message alone at the end of *given*: that is said once more.
    """
    said, known = [_said(message) for message in given], [_said(record.message) for record in stored]
    ids = [record.message.id for record in stored]
    before = [0] * len(known)
    ends: list[tuple[bool, int, int, int]] = []
    for place, (message, words) in enumerate(zip(given, said, strict=True)):
        runs = [0] * len(known)
        for at, other in enumerate(known):
            same = message.id == ids[at] if message.id and ids[at] else words == other
            if same:
                runs[at] = 1 + (before[at - 1] if at else 0)
                last = at == len(known) - 1
                if last or runs[at] > 1 or place < len(given) - 1:
                    ends.append((last, runs[at], at, -place))
        before = runs
    return list(given[1 - max(ends)[3] :]) if ends else list(given)


def _said(message: Message) -> Hashable:
    """Return what *message* says, without what only whoever stored it knows: counts, ids, its native form."""
    if isinstance(message, OpaqueMessage):
        return message.type, canonical(
            {key: value for key, value in message.data.items() if key not in _ASIDE}
        )
    content = message.content
    parts: list[Any] = [] if isinstance(content, str) else [part for part in content if _is_no_text(part)]
    calls = [
        (call.get("name"), call.get("args"), call.get("id")) for call in getattr(message, "tool_calls", ())
    ]
    more = [parts, calls, message.additional_kwargs.get("function_call")]
    about = [getattr(message, name, None) for name in ("role", "tool_call_id", "name")]
    return message.type, text_of(content), canonical({"said": more}), *about


def _is_no_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") != "text"
