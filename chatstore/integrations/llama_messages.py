"""Messages of LlamaIndex: a role, blocks of content, and whatever a model's integration adds; and their status.

This module knows what a message says, as which message another framework reads it, and whether it is archived; it
writes nothing. A message of either side is one of the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llama_index.core.base.llms import types as theirs
from llama_index.core.storage.chat_store.base_db import MessageStatus
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from chatstore.errors import InvalidMessage
from chatstore.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    OpaqueMessage,
    SystemMessage,
    ToolMessage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chatstore.messages import ChatSession, Message
    from chatstore.records import MessageRecord

#: Under which name a message keeps what the framework stored, and what its column `source` says.
SOURCE: Final = "llama-index"
ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED
_BLOCK: Final[TypeAdapter[Any]] = TypeAdapter(theirs.ContentBlock)
_MESSAGES: Final[TypeAdapter[list[Any]]] = TypeAdapter(list[theirs.ChatMessage])
#: The kinds of block whose files may be gone, or that have such blocks inside.
_FILES: Final[dict[str, Any]] = {
    "image": theirs.ImageBlock,
    "audio": theirs.AudioBlock,
    "video": theirs.VideoBlock,
    "citable": theirs.CitableBlock,
    "citation": theirs.CitationBlock,
}
ROLES: Final = {"human": "user", "ai": "assistant"}
_KNOWN: Final = {role.value for role in theirs.MessageRole}


def said(message: theirs.ChatMessage) -> Any:
    """Return a message that says what *message* says and has it as its native form. Raises `InvalidMessage`."""
    try:
        dumped = message.model_dump(mode="json")
    except PydanticSerializationError as error:
        raise InvalidMessage(
            f"a message is no JSON ({error}): keep what is not out of additional_kwargs"
        ) from error
    role, about, text = dumped["role"], dumped["additional_kwargs"], message.content or ""
    native = {SOURCE: {"message": dumped}}
    name = about.get("name") if isinstance(about.get("name"), str) else None
    if role == "tool":
        return ToolMessage(text, tool_call_id=str(about.get("tool_call_id") or ""), name=name, native=native)
    if role == "function":
        return FunctionMessage(text, name=name or "function", native=native)
    if role in ("user", "system", "developer"):
        return (HumanMessage if role == "user" else SystemMessage)(text, native=native)
    calls = [
        _in_openai_form(block.tool_call_id, block.tool_name, block.tool_kwargs)
        for block in message.blocks
        if isinstance(block, theirs.ToolCallBlock)
    ] or about.get("tool_calls")  # where a model's integration keeps them that has no blocks for them
    read = AIMessage(text, additional_kwargs={"tool_calls": calls})
    return AIMessage(
        text, tool_calls=read.tool_calls, invalid_tool_calls=read.invalid_tool_calls, native=native
    )


def _in_openai_form(id_: str | None, name: str, arguments: Any) -> dict[str, Any]:
    return {"id": id_, "function": {"name": name, "arguments": arguments}}


def form(_type: str, _content: str, data: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a stored message keeps of one of the framework's, which `load` takes in its place."""
    kept = data["native"].get(SOURCE) if "native" in data else None
    return kept if isinstance(kept, dict) and "message" in kept else None


def load(message: Message | dict[str, Any]) -> theirs.ChatMessage | None:
    """Return the message that *message* holds, or one that says the same; None for what only its framework knows."""
    kept = _about(message)
    if isinstance(kept, dict) and "message" in kept:
        # Without validation of the whole, which would add legacy images once more.
        given = kept["message"]
        return theirs.ChatMessage.model_construct(
            role=theirs.MessageRole(given["role"]),
            additional_kwargs=given["additional_kwargs"],
            blocks=[_block(block) for block in given["blocks"]],
        )
    if isinstance(message, dict | OpaqueMessage):
        return None
    blocks: list[Any] = [theirs.TextBlock(text=message.text)] if message.text else []
    about: dict[str, Any] = {}
    if isinstance(message, AIMessage):
        blocks += [
            theirs.ToolCallBlock(
                tool_call_id=call["id"], tool_name=call["name"] or "", tool_kwargs=call["args"] or {}
            )
            for call in (*message.tool_calls, *message.invalid_tool_calls)
        ]
    if isinstance(message, ToolMessage):
        about["tool_call_id"] = message.tool_call_id
    if isinstance(message, ToolMessage | FunctionMessage) and message.name:
        about["name"] = message.name
    role = message.role if isinstance(message, ChatMessage) else ROLES.get(message.type, message.type)
    return theirs.ChatMessage(role=role if role in _KNOWN else "user", blocks=blocks, additional_kwargs=about)


def load_all(messages: Sequence[Message | dict[str, Any]]) -> list[theirs.ChatMessage | None]:
    """Return what `load` does for each of *messages*, at once where they are as they were stored."""
    kept = [_kept(message) for message in messages]
    try:
        loaded = iter(_MESSAGES.validate_python([one for one in kept if one is not None]))
    except ValidationError:  # a file is gone
        return [load(message) for message in messages]
    return [
        load(message) if one is None else next(loaded) for message, one in zip(messages, kept, strict=True)
    ]


def _about(message: Message | dict[str, Any]) -> Any:
    """Return what *message* keeps of one of the framework's, its status beside."""
    return message if isinstance(message, dict) else message.native.get(SOURCE)


def _kept(message: Message | dict[str, Any]) -> Any:
    """Return what *message* was made of, if nothing speaks against the framework's own validation of all of it."""
    kept = _about(message)
    given = kept.get("message") if isinstance(kept, dict) else None
    # Legacy images would be added once more.
    return None if given is None or given["additional_kwargs"].get("images") else given


def _block(data: dict[str, Any]) -> Any:
    """Return a block as it was stored, also where the file that it names is gone."""
    try:
        return _BLOCK.validate_python(data)
    except ValidationError:
        if data["block_type"] not in _FILES:
            raise
    made: dict[str, Callable[[Any], Any]] = {
        "path": Path,
        "content": lambda blocks: [_block(block) for block in blocks],
        "cited_content": _block,
    }
    fields = {name: made[name](value) if value and name in made else value for name, value in data.items()}
    return _FILES[data["block_type"]].model_construct(**fields)


# ---- statuses


class Shown(NamedTuple):
    """A message of a session as the framework's, and its status."""

    position: int
    message: theirs.ChatMessage
    status: MessageStatus


def shown(records: list[MessageRecord], session: ChatSession | None = None) -> list[Shown]:
    """Return what of *records*, which are *session*'s, is a message to the framework."""
    through = archived_through(session)
    loaded = zip(records, load_all([record.message for record in records]), strict=True)
    return [
        Shown(one.position, message, _status(one, through)) for one, message in loaded if message is not None
    ]


def archived_through(session: ChatSession | None) -> int:
    """Return the position up to which *session* is archived; a fork has that of its origin as far as it was copied."""
    kept = session.metadata.get(SOURCE) if session else None
    if session is None or not isinstance(kept, dict):
        return 0
    through: int = kept.get("archived", 0)
    if session.forked_at is not None and kept.get("session") != session.session_id:
        return min(through, session.forked_at)
    return through


def _status(record: MessageRecord, through: int) -> MessageStatus:
    kept = _about(record.message)
    marked = isinstance(kept, dict) and kept.get("status") == ARCHIVED
    return ARCHIVED if marked or record.position <= through else ACTIVE


def with_status(message: Any, status: MessageStatus) -> Any:
    """Return *message* with *status* in its native form, where that is not active."""
    if status == ACTIVE:
        return message
    native = message.native
    about = {**native.get(SOURCE, {}), "status": MessageStatus(status).value}
    return message.model_copy(update={"native": {**native, SOURCE: about}})


def again(record: MessageRecord, session: ChatSession | None) -> Any:
    """Return the message of *record*, which is *session*'s, to be stored once more: with its id and its status."""
    message = record.message
    if isinstance(message, OpaqueMessage):
        return message
    status = _status(record, archived_through(session))
    return with_status(message.model_copy(update={"id": record.message_id}), status)
