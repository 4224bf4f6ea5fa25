"""An order of stored messages that models accept: every call followed by its answer.

This module knows the rules that OpenAI and Anthropic publish for a conversation; it refuses to know where messages
come from. It looks at a message's `type`, `content` and calls only, so it serves LangChain's messages and chatstore's
own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.integrations.langchain.convert import OPAQUE
from chatstore.messages import OpaqueMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Content blocks by which a model calls a tool of the application.
_CALLS = frozenset({"tool_use", "tool_call", "invalid_tool_call"})


def sendable(messages: Iterable[Any]) -> list[Any]:
    """Return of *messages* what a model can be sent, in an order that it accepts; the messages are not changed.

    The answers of tools stand right behind the message that called them, in the order of the calls, wherever they
    were stored: a person may have written while a tool worked. Left out are calls without an answer, answers without
    a call, second answers, messages that say nothing, those of types that no model knows, and what stands before the
    first message of a person. Instructions come first, each text once.
    """
    return in_turn([message for message in messages if says_something(message)])


def in_turn(messages: Sequence[Any]) -> list[Any]:
    """Do the part of `sendable` that concerns instructions, calls and answers."""
    answers = _answers(messages)
    instructions: dict[str, Any] = {}
    rest: list[Any] = []
    for place, message in enumerate(messages):
        if message.type == "system":
            instructions.setdefault(repr(message.content), message)
        elif calls := calls_of(message):
            given = answers[place]
            if _is_answerable(message, calls) and len(given) == len(calls):
                rest += [message, *(given[name] for name in calls)]
        elif message.type != "tool":
            rest.append(message)
    return [*instructions.values(), *_from_a_person(rest)]


def _from_a_person(messages: list[Any]) -> list[Any]:
    """Return *messages* without what stands before the first of a person, if there is one."""
    persons = (place for place, one in enumerate(messages) if one.type not in ("ai", "tool", "function"))
    return messages[next(persons, 0) :]


def says_something(message: Any) -> bool:
    """Tell whether *message* is of a kind that models know, and not empty."""
    if isinstance(message, OpaqueMessage) or message.type == "remove":
        return False
    if OPAQUE in (message.__pydantic_extra__ or {}):
        return False
    if message.type in ("tool", "function") or (message.type == "ai" and message.additional_kwargs):
        return True
    if calls_of(message):
        return True
    content = message.content
    return bool(content.strip()) if isinstance(content, str) else any(map(_is_filled, content))


def calls_of(message: Any) -> list[str | None]:
    """Return the ids of the calls that *message* makes, also of those whose arguments could not be read."""
    if message.type != "ai":
        return []
    made = [call.get("id") for call in (*message.tool_calls, *message.invalid_tool_calls)]
    blocks = message.content if isinstance(message.content, list) else ()
    inside = [block.get("id") for block in blocks if isinstance(block, dict) and block.get("type") in _CALLS]
    return [*made, *(name for name in inside if name not in made)]


def _is_filled(block: Any) -> bool:
    if isinstance(block, dict) and block.get("type") != "text":
        return True
    return bool(str(block.get("text") or "" if isinstance(block, dict) else block).strip())


def _is_answerable(message: Any, calls: list[str | None]) -> bool:
    """Tell whether an answer can name each of *calls*; clients of Anthropic leave out a broken one without a name."""
    return (
        all(calls)
        and len(set(calls)) == len(calls)
        and all(call.get("name") for call in message.invalid_tool_calls)
    )


def _answers(messages: Sequence[Any]) -> dict[int, dict[str | None, Any]]:
    """Return for the place of each message with calls what answered them.

    Some models give the same ids in every turn, so an answer belongs to the newest call before it that has none. A
    repair, which says that there is no answer, gives way to an answer that comes later.
    """
    found: dict[int, dict[str | None, Any]] = {}
    newest: dict[str | None, list[int]] = {}
    for place, message in enumerate(messages):
        for name in calls_of(message):
            found.setdefault(place, {})
            newest.setdefault(name, []).append(place)
        if message.type != "tool":
            continue
        name = message.tool_call_id
        asked = newest.get(name, ())
        open_ = next((one for one in reversed(asked) if name not in found[one]), None)
        if open_ is not None:
            found[open_][name] = message
        elif asked and found[asked[-1]][name].status == "error" != message.status:
            found[asked[-1]][name] = message
    return found
