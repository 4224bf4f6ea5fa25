"""Items as the API sends them: each with an id and a status, and messages with a list of parts.

This module knows how a stored message becomes items and back; it refuses to know requests. A message that another
framework stored may be several items: the first has the message's id, the others go on with a number.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any, Final

from chatstore.errors import InvalidMessage
from chatstore.integrations.responses import items_of, load
from chatstore.records import INCOMPLETE, STREAMING

if TYPE_CHECKING:
    from chatstore.messages import Message, MessageRecord

#: Under which name a message keeps the item it was made of, and what its column `source` says.
SOURCE: Final = "openai-conversations"
#: Whose items these are, too.
_NATIVE: Final = (SOURCE, "openai-agents")
_PREFIXES: Final = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_WITH_STATUS: Final = frozenset({"message", "function_call", "function_call_output"})
_STATUS: Final = {STREAMING: "in_progress", INCOMPLETE: "incomplete"}
#: What parts are called in messages of each role.
_PARTS: Final = {"assistant": "output_text"}
#: Hexadecimal digits of an id.
_DIGITS: Final = 48


def make_messages(items: Any, conversation_id: str, key: str | None = None) -> list[Message]:
    """Return the messages that keep *items*, in order; those without an id get one.

    *key* names the request: the same one again gives the same ids, so that nothing is stored twice. Raises
    `InvalidMessage` for what is no list of objects.
    """
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidMessage("items must be an array of objects: pass [{…}, …]")
    made = []
    for number, item in enumerate(items):
        seed = None if key is None else f"{conversation_id}\n{key}\n{number}"
        given = item.get("id")
        id_ = given if isinstance(given, str) and given else make_id(_prefix(item), seed)
        made.append(load(item, native={SOURCE: item}, id=id_))
    return made


def make_id(prefix: str, seed: str | None = None) -> str:
    """Return a new id that begins with *prefix*; the same one for the same *seed*."""
    digits = secrets.token_hex(_DIGITS // 2) if seed is None else hashlib.sha256(seed.encode()).hexdigest()
    return f"{prefix}_{digits[:_DIGITS]}"


def _prefix(item: dict[str, Any]) -> str:
    kind = item.get("type", "message")
    return _PREFIXES.get(kind, "item") if isinstance(kind, str) else "item"


def show_items(record: MessageRecord) -> list[dict[str, Any]]:
    """Return the items of *record*, in order, as a response has them; none for what the API has no item for."""
    items: list[dict[str, Any]] = items_of(record.message, *_NATIVE)
    status = _STATUS.get(record.state or "", "completed")
    return [_shown(item, item_id(record, number), status) for number, item in enumerate(items)]


def item_id(record: MessageRecord, number: int) -> str:
    """Return the id of the item *number*, from 0, of *record*."""
    return record.message_id if not number else f"{record.message_id}:{number}"


def split_id(id_: str) -> tuple[str, int]:
    """Return the id of the message and the item's number, of an id that is no message's own."""
    message_id, _, number = id_.rpartition(":")
    return (message_id, int(number)) if message_id and number.isdecimal() else (id_, 0)


def _shown(item: dict[str, Any], id_: str, status: str) -> dict[str, Any]:
    kind = item.get("type", "message")
    shown: dict[str, Any] = {"type": kind, **item, "id": id_}
    if kind in _WITH_STATUS:
        shown["status"] = item.get("status") or status
    if kind == "message" and isinstance(item.get("content"), str):
        part = _PARTS.get(item.get("role", ""), "input_text")
        shown["content"] = [_part(part, item["content"])]
    elif kind == "message" and isinstance(item.get("content"), list):
        shown["content"] = [_completed(part) for part in item["content"]]
    return shown


def _part(kind: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = _completed({"type": kind, "text": text})
    return found


def _completed(part: Any) -> Any:
    """Return *part* with what clients take for granted in the API's answers."""
    if isinstance(part, dict) and part.get("type") == "output_text":
        return {"annotations": [], "logprobs": [], **part}
    return part
