"""What OpenAI and Anthropic publish about the order of a conversation, as checks of the requests that are sent.

This module knows the two providers' documentation of chat completions and of the Messages API; it refuses to know how
a request was made. A check returns what it finds wrong, in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def openai_faults(messages: Sequence[dict[str, Any]]) -> list[str]:
    """Return what chat completions would refuse: calls not answered at once, answers to nothing, empty turns."""
    return list(_openai_faults(messages))


def _openai_faults(messages: Sequence[dict[str, Any]]) -> Iterator[str]:
    wanted: list[str] = []
    for place, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] in wanted:
                wanted.remove(message["tool_call_id"])
            else:
                yield f"{place}: an answer to no call of the message before"
            continue
        if wanted:
            yield f"{place}: calls that are not answered before this message: {wanted}"
        calls = message.get("tool_calls") or []
        wanted = [call["id"] for call in calls]
        if role not in {"system", "developer", "user", "assistant"}:
            yield f"{place}: no role {role!r}"
        if not calls and message.get("content") in (None, ""):
            yield f"{place}: neither content nor calls"
        yield from _call_faults(place, wanted, [call["function"]["name"] for call in calls])
    if wanted:
        yield f"end: calls that are not answered: {wanted}"


def _call_faults(place: int, ids: list[str], names: list[str]) -> Iterator[str]:
    if not all(ids) or not all(names):
        yield f"{place}: a call without an id or a name"
    if len(set(ids)) < len(ids):
        yield f"{place}: an id for two calls"


def anthropic_faults(request: dict[str, Any], *, unique: bool = True) -> list[str]:
    """Return what the Messages API would refuse; *unique*: ids of calls are wanted to be unique in all of it."""
    return list(_anthropic_faults(request, unique))


def _anthropic_faults(request: dict[str, Any], unique: bool) -> Iterator[str]:
    turns = _turns(request["messages"])
    if not turns or turns[0][0] != "user":
        yield "the first turn is not the user's"
    calls: list[str] = []
    seen: list[str] = []
    for place, (_, blocks) in enumerate(turns):
        if not blocks or any(one["type"] == "text" and not one["text"].strip() for one in blocks):
            yield f"{place}: an empty turn or text"
        answers = [one["tool_use_id"] for one in blocks if one["type"] == "tool_result"]
        if sorted(answers) != sorted(calls):
            yield f"{place}: answers {answers} to the calls {calls}"
        if any(one["type"] == "tool_result" for one in blocks[len(answers) :]):
            yield f"{place}: answers behind something else"
        made = [one for one in blocks if one["type"] == "tool_use"]
        calls = [one["id"] for one in made]
        yield from _call_faults(place, calls, [one["name"] for one in made])
        if unique and set(calls) & set(seen):
            yield f"{place}: an id that was used before"
        seen += calls
    if calls:
        yield f"end: calls that are not answered: {calls}"


def _turns(messages: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Join messages of one role in a row to one turn, as is done there."""
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(blocks)
        else:
            turns.append((message["role"], blocks))
    return turns
