"""How a conversation looks in a terminal: who said what and when, tool calls folded to a line.

This module knows messages and colours; it refuses to know where they come from.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from chatstore.cli.output import console, counted, cut, line, moment, styled
from chatstore.messages import AIMessage, OpaqueMessage, ToolMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.text import Text

    from chatstore.messages import ChatSession, Message, MessageRecord, SearchHit

ROLES: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool"}
_STYLES: Final = {
    "user": "bold cyan",
    "assistant": "bold green",
    "system": "bold magenta",
    "tool": "bold yellow",
}
#: What a model said about its answer: the word for it, and what it is called by one provider or another.
_ABOUT: Final = {
    "model": ("model_name", "model"),
    "finish reason": ("finish_reason", "stop_reason", "done_reason"),
}
#: Characters of a folded line.
FOLDED: Final = 100
_INDENT: Final = 4

Parts = list[tuple[str, str]]


def show(session: ChatSession, records: Iterable[MessageRecord], *, full: bool) -> None:
    """Print a session's own data, then its messages; *full* unfolds tool calls and their results."""
    to = console()
    title = f"  {line(session.title)}" if session.title else ""
    to.print(styled((line(session.session_id), "bold"), (title, "")))
    owners = ("user", session.user_id), ("tenant", session.tenant_id)
    owner = [f"{word} {value}" for word, value in owners if value]
    about = [*owner, counted(session.message_count, "message"), f"updated {moment(session.updated_at)} UTC"]
    about += [f"archived {moment(session.archived_at)} UTC"] if session.archived_at else []
    about += [json.dumps(session.metadata, ensure_ascii=False)] if full and session.metadata else []
    to.print(styled((line(" · ".join(about)), "dim")))
    for record in records:
        show_record(to, record, full=full)


def show_record(to: Console, record: MessageRecord, *, full: bool) -> None:
    """Print one message."""
    role = role_of(record.message)
    name = getattr(record.message, "name", None)
    head = [(f"\n#{record.position} ", "dim"), (line(role), _STYLES.get(role, "bold"))]
    head += [(f" {line(name)}", "")] if name else []
    head += [(" (failed)", "bold red")] if _failed(record.message) else []
    to.print(styled(*head, (f"  {moment(record.created_at)}", "dim")))
    for block in _blocks(record.message, full=full):
        _print_indented(to, styled(*block))


def show_hit(hit: SearchHit) -> None:
    """Print one search hit, the words found marked."""
    to = console()
    role = ROLES.get(hit.type, hit.type)
    head = (
        (line(hit.session_id), "bold"),
        (f" #{hit.position} ", "dim"),
        (line(role), _STYLES.get(role, "bold")),
    )
    title = [(f"  {line(hit.title)}", "dim")] if hit.title else []
    to.print(styled(*head, (f"  {moment(hit.created_at)}", "dim"), *title))
    parts: list[tuple[str, str]] = []
    at = 0
    for start, end in hit.highlights:
        parts += [(line(hit.snippet[at:start]), ""), (line(hit.snippet[start:end]), "bold reverse")]
        at = end
    _print_indented(to, styled(*parts, (line(hit.snippet[at:]), "")))


def role_of(message: Message) -> str:
    """Return who speaks, in the words of the views: user, assistant, system, tool, or another role."""
    return ROLES.get(message.type) or str(getattr(message, "role", message.type))


def _failed(message: Message) -> bool:
    return isinstance(message, ToolMessage) and message.status == "error"


def _blocks(message: Message, *, full: bool) -> Iterator[Parts]:
    """Yield what stands below a message's head, each on lines of its own."""
    text = "\n".join(_texts(message))
    if isinstance(message, ToolMessage) and not full:
        yield [("← ", "dim"), (_folded(text), "red" if _failed(message) else "")]
    elif text:
        yield [(text, "")]
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            yield _call(call, full=full, valid=True)
        for call in message.invalid_tool_calls:
            yield _call(call, full=full, valid=False)
    if full:
        yield from ([(detail, "dim")] for detail in _details(message))


def _texts(message: Message) -> Iterator[str]:
    """Yield the text parts, and a word in brackets for every other part."""
    content = message.content
    for part in [content] if isinstance(content, str) else content:
        if isinstance(part, str):
            yield part
        elif part.get("type") == "text" and isinstance(part.get("text"), str):
            yield part["text"]
        else:
            yield f"[{part.get('type', 'part')}]"


def _call(call: dict[str, Any], *, full: bool, valid: bool) -> Parts:
    name, args = str(call.get("name")), call.get("args")
    mark = [] if valid else [(" (invalid)", "bold red")]
    if full:
        written = args if isinstance(args, str) else json.dumps(args, ensure_ascii=False, indent=2)
        return [
            ("→ ", "dim"),
            (name, "yellow"),
            (f" {call.get('id') or ''}", "dim"),
            *mark,
            (f"\n{written}", ""),
        ]
    listed = str(args)
    if isinstance(args, dict):
        listed = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in args.items())
    return [("→ ", "dim"), (line(name), "yellow"), (f"({cut(line(listed), FOLDED)})", ""), *mark]


def _details(message: Message) -> Iterator[str]:
    """Yield what else is worth a line when everything is shown."""
    if isinstance(message, OpaqueMessage):
        yield f"a message of type {line(message.type)}, which this release does not know"
    elif message.id is not None:
        yield f"id {line(message.id)}"
    about = getattr(message, "response_metadata", None) or {}
    for word, keys in _ABOUT.items():
        if value := next((about[key] for key in keys if about.get(key)), None):
            yield f"{word} {line(str(value))}"
    usage = getattr(message, "usage_metadata", None)
    if isinstance(usage, dict):
        yield f"tokens {usage.get('input_tokens', '?')} in, {usage.get('output_tokens', '?')} out"


def _folded(text: str) -> str:
    short = cut(line(text), FOLDED)
    return short if len(text) <= FOLDED else f"{short} ({len(text):,} characters, --full shows all)"


def _print_indented(to: Console, text: Text) -> None:
    from rich.padding import Padding

    if to.is_terminal:
        to.print(Padding(text, (0, 0, 0, _INDENT)))
        return
    for one in text.split(allow_blank=True):  # in a pipe, lines stay as they are
        one.pad_left(_INDENT)
        to.print(one, soft_wrap=True)
