"""What a message is made of, for the eye: text, reasoning, pictures, tool calls and their results, files.

Knows the content blocks of chatstore's, LangChain's, OpenAI's and Anthropic's messages; refuses to know HTML. What it
does not know is kept as JSON, so that nothing is hidden.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from chatstore.messages import AIMessage, FunctionMessage, ToolMessage, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.messages import Message

#: Pictures by their first bytes: what a browser is told they are. Never SVG, which is a document.
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_WEBP: Final = re.compile(rb"RIFF....WEBP", re.DOTALL)
_DATA_URL: Final = re.compile(r"data:[^,]*;base64,(.*)", re.DOTALL | re.IGNORECASE)
#: The largest picture that is sent, in characters of base64.
PICTURE_LIMIT: Final = 16_000_000
_REASONING: Final = ("reasoning", "thinking", "reasoning_content", "redacted_thinking")


@dataclass(frozen=True, slots=True)
class Text:
    """What was said, as markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thought before it answered."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture whose data the message holds: the *number*th of it."""

    number: int
    base64: str


@dataclass(frozen=True, slots=True)
class Note:
    """Anything else: a *label*, and what there is to say about it."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool; *arguments* is JSON, or, of a call that is not *valid*, what the model wrote."""

    id: str | None
    name: str
    arguments: str
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool answered to the call *id*."""

    id: str | None
    name: str | None
    text: str
    failed: bool = False
    pictures: tuple[Picture, ...] = ()


Part = Text | Reasoning | Picture | Note | Call | Result


def parts_of(message: Message) -> list[Part]:
    """Return the parts of *message*, in its order; calls that stand beside the content come last."""
    found = list(_Reader(message).read())
    return [part for part in found if not isinstance(part, Text) or part.text.strip()]


def picture(message: Message, number: int) -> tuple[bytes, str] | None:
    """Return the bytes of the *number*th picture and their media type; None where there is none to be shown."""
    pictures = [
        shown
        for part in parts_of(message)
        for shown in (
            [part] if isinstance(part, Picture) else part.pictures if isinstance(part, Result) else ()
        )
    ]
    chosen = next((one for one in pictures if one.number == number), None)
    if chosen is None or len(chosen.base64) > PICTURE_LIMIT:
        return None
    try:
        data = b64decode(chosen.base64)
    except (Base64Error, ValueError):
        return None
    kind = media_type(data)
    return None if kind is None else (data, kind)


def media_type(data: bytes) -> str | None:
    """Return the media type that the first bytes of a picture say; None for anything else."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    return "image/webp" if _WEBP.match(data) else None


def pretty(value: Any) -> str:
    """Return *value* as JSON to read; text that is JSON is laid out where nothing of it is lost, other text stays."""
    if isinstance(value, str):
        return _laid_out(value) if value.lstrip().startswith(("{", "[")) else value
    try:
        return json.dumps(value, ensure_ascii=False, indent=2, default=str)
    except (ValueError, RecursionError):
        return str(value)


def _laid_out(text: str) -> str:
    try:
        value = json.loads(text, parse_float=_same_float, object_pairs_hook=_all_pairs)
        return json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


def _same_float(written: str) -> float:
    """Return the number; `ValueError` where it would be written otherwise, as 12.50 would."""
    value = float(written)
    if repr(value) != written:
        raise ValueError(written)
    return value


def _all_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object; `ValueError` where a key is there twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(len(pairs))
    return made


class _Reader:
    """Reads one message; pictures are numbered as they are met."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.pictures = 0
        given = [*getattr(message, "tool_calls", ()), *getattr(message, "invalid_tool_calls", ())]
        self.calls = {call.get("id") for call in given}

    def read(self) -> Iterator[Part]:
        message = self.message
        if isinstance(message, ToolMessage | FunctionMessage):
            yield self._result(message)
            return
        extra = getattr(message, "additional_kwargs", None) or {}
        for name in ("reasoning_content", "reasoning"):
            if isinstance(extra.get(name), str) and extra[name].strip():
                yield Reasoning(extra[name])
                break
        content = message.content
        for block in [content] if isinstance(content, str) else content:
            yield from self._block(block)
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                yield Call(call.get("id"), str(call.get("name")), pretty(call.get("args")))
            for call in message.invalid_tool_calls:
                yield Call(call.get("id"), str(call.get("name")), str(call.get("args")), valid=False)
        elif not hasattr(message, "additional_kwargs"):
            rest = {name: value for name, value in message.data.items() if name != "content"}
            if rest:
                yield Note(f"A message of type {message.type}", pretty(rest))

    def _result(self, message: ToolMessage | FunctionMessage) -> Result:
        found, shown = text_of(message.content), []
        for block in message.content if isinstance(message.content, list) else ():
            if isinstance(block, dict) and (made := self._picture(block)):
                if isinstance(made, Picture):
                    shown.append(made)
                else:
                    found = f"{found}\n{made.label}: {made.text}".strip()
        failed = isinstance(message, ToolMessage) and message.status == "error"
        return Result(
            getattr(message, "tool_call_id", None), message.name, pretty(found), failed, tuple(shown)
        )

    def _block(self, block: str | dict[str, Any]) -> Iterator[Part]:
        if isinstance(block, str):
            yield Text(block)
            return
        kind = block.get("type")
        if kind in {"text", "input_text", "output_text"} and isinstance(block.get("text"), str):
            yield Text(block["text"])
        elif kind in _REASONING:
            yield Reasoning(_thought(block))
        elif kind in {"tool_use", "tool_call", "server_tool_use"}:
            if block.get("id") not in self.calls:
                args = block.get("input", block.get("args"))
                yield Call(block.get("id"), str(block.get("name")), pretty(args))
        elif kind == "tool_result":
            yield self._inner_result(block)
        elif made := self._picture(block):
            yield made
        else:
            yield _file(block)

    def _inner_result(self, block: dict[str, Any]) -> Result:
        content = block.get("content")
        said = text_of(content) if isinstance(content, str | list) else pretty(content)
        return Result(block.get("tool_use_id"), None, pretty(said), bool(block.get("is_error")))

    def _picture(self, block: dict[str, Any]) -> Picture | Note | None:
        """Return the picture of *block*, or where it lies if that is elsewhere; None for another block."""
        if block.get("type") not in {"image", "image_url", "input_image"}:
            return None
        given = block.get("image_url") or block.get("url")
        url = given.get("url") if isinstance(given, dict) else given
        source = block.get("source")
        source = source if isinstance(source, dict) else {}
        data = block.get("base64") or block.get("data") or source.get("data")
        if isinstance(url, str) and (found := _DATA_URL.fullmatch(url)):
            data = found[1]
        if isinstance(data, str) and _shows(data):
            self.pictures += 1
            return Picture(self.pictures, data)
        if isinstance(data, str):
            return Note("Picture, not shown", "its data is no PNG, JPEG, GIF or WebP")
        return Note("Picture, not loaded", str(url or source.get("url") or source or "no address"))


def _shows(data: str) -> bool:
    """Tell whether base64 *data* begins like a picture."""
    try:
        return media_type(b64decode(re.sub(r"\s", "", data[:64])[:48])) is not None
    except (Base64Error, ValueError):
        return False


def _thought(block: dict[str, Any]) -> str:
    for name in ("reasoning", "thinking", "text", "reasoning_content"):
        if isinstance(block.get(name), str):
            return str(block[name])
    summary = block.get("summary")
    texts = (
        [one.get("text", "") for one in summary if isinstance(one, dict)] if isinstance(summary, list) else []
    )
    return "\n\n".join(map(str, texts)) or "(the provider keeps it hidden)"


def _file(block: dict[str, Any]) -> Note:
    """Return a note of a file, a sound or a block that is not known, without its data."""
    kind = str(block.get("type") or "part")
    given = block.get("file")
    inner: dict[str, Any] = given if isinstance(given, dict) else block
    name = next((inner[key] for key in ("filename", "name", "title", "file_id") if inner.get(key)), None)
    if name is not None:
        return Note(kind.replace("_", " ").capitalize(), str(name))
    return Note(kind.replace("_", " ").capitalize(), pretty(_shortened(block)))


def _shortened(value: Any, depth: int = 0) -> Any:
    """Return *value* with long texts cut: they are data."""
    if isinstance(value, str) and len(value) > 500:  # noqa: PLR2004 - enough to recognise it
        return f"{value[:80]}… ({len(value):,} characters)"
    if depth < 8 and isinstance(value, dict):  # noqa: PLR2004
        return {key: _shortened(one, depth + 1) for key, one in value.items()}
    if depth < 8 and isinstance(value, list):  # noqa: PLR2004
        return [_shortened(one, depth + 1) for one in value]
    return value
