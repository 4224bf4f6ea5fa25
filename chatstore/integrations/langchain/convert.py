"""LangChain's messages to chatstore's and back, without loss.

This module knows the message classes of langchain-core, 0.3 and 1.x; it refuses to know histories and agents. What
chatstore stores is its own form, which every framework's adapter reads, so nothing here is written to a database.

Reading a long conversation is mostly `become`, so a message that was just read is given LangChain's class instead
of being made again: both are pydantic models with the same fields, validated when they were stored. Classes that have
other fields than the ones known here (those of a later release) are made by their constructor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from chatstore import messages as own
from chatstore.errors import InvalidMessage
from chatstore.extras import not_installed
from chatstore.integrations.langchain.objects import simplify
from chatstore.messages import BLANK, OpaqueMessage, fill

try:
    from langchain_core import messages as theirs
except ImportError as error:
    raise not_installed("LangChain", "langchain") from error

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from pydantic import BaseModel

    from chatstore.messages import Message

#: The attribute of a ChatMessage in which a message of an unknown type keeps its own data.
OPAQUE: Final = "chatstore_data"
#: Fields of streamed chunks that say how they were streamed, and not what was said.
_STREAMED: Final = frozenset({"tool_call_chunks", "chunk_position"})
#: A field of chatstore's (and of old releases of LangChain) that is an unknown attribute in LangChain 1.
_EXAMPLE: Final = "example"

_NAMES: Final = (
    "HumanMessage",
    "AIMessage",
    "SystemMessage",
    "ToolMessage",
    "FunctionMessage",
    "ChatMessage",
)
_THEIRS: Final[dict[type[BaseModel], Any]] = {getattr(own, name): getattr(theirs, name) for name in _NAMES}
_OWN: Final[dict[type, Any]] = {cls: mine for mine, cls in _THEIRS.items()}
_TAGS: Final[dict[type, str]] = {mine: mine.model_fields["type"].default for mine in _THEIRS}


#: Changes the class of an object; pydantic's own `__setattr__` knows fields only.
_set_class: Final = object.__dict__["__class__"].__set__


def _fits(mine: type[BaseModel], cls: Any) -> bool:
    """Tell whether *cls* has the fields and slots of *mine*, and nothing that only its constructor would set up."""
    blank = mine.__new__(mine)
    try:
        _set_class(blank, cls)
    except TypeError:  # another layout
        return False
    return (
        set(cls.model_fields) | {_EXAMPLE} == set(BLANK[mine]("", None)) | {_EXAMPLE}
        and not cls.__private_attributes__
        and cls.__pydantic_post_init__ is None
    )


_FITTING: Final = {mine: cls for mine, cls in _THEIRS.items() if _fits(mine, cls)}
#: The classes whose messages have no field `example`, though chatstore's have.
_WITHOUT_EXAMPLE: Final = {
    mine
    for mine, cls in _THEIRS.items()
    if _EXAMPLE in BLANK[mine]("", None) and _EXAMPLE not in cls.model_fields
}


def to_langchain(message: Message) -> BaseMessage:
    """Return LangChain's message for one of chatstore's; nested values are shared, not copied.

    A message of a type that LangChain does not know becomes a ChatMessage in that role, which `from_langchain`
    turns back exactly.
    """
    return become(message.model_copy())


def become(message: Message) -> BaseMessage:
    """Do `to_langchain` to a message that nobody else holds: it is used up."""
    mine = type(message)
    cls = _FITTING.get(mine)
    if cls is None:
        return _constructed(message)
    if mine in _WITHOUT_EXAMPLE and message.__dict__.pop(_EXAMPLE):
        own.set_extra(message, {_EXAMPLE: True, **(message.__pydantic_extra__ or {})})
    _set_class(message, cls)
    return cast("BaseMessage", message)


def _constructed(message: Message) -> BaseMessage:
    """Make a message by LangChain's constructor: unknown types, subclasses, later releases."""
    if isinstance(message, OpaqueMessage):
        if message.type == "remove" and isinstance(message.data.get("id"), str):
            return cast("BaseMessage", theirs.RemoveMessage(id=message.data["id"]))
        data = {OPAQUE: message.data}
        made = theirs.ChatMessage(content=message.content, role=message.type, id=message.id, **data)
        return cast("BaseMessage", made)
    mine = next((cls for cls in type(message).__mro__ if cls in _THEIRS), None)
    if mine is None:
        msg = f"a {type(message).__name__} is no message: pass one of chatstore's, such as HumanMessage"
        raise InvalidMessage(msg)
    data = {**message.__dict__, **(message.__pydantic_extra__ or {})}
    if mine in _WITHOUT_EXAMPLE and not data[_EXAMPLE]:
        del data[_EXAMPLE]
    return cast("BaseMessage", _THEIRS[mine](**data))


def from_langchain(message: Any, *, omits: bool = False) -> Message:
    """Return chatstore's message for one of LangChain's; nested values are shared, not copied.

    Streamed chunks become the whole message, subclasses the class that LangChain derives them from with their own
    fields as unknown ones. Pydantic objects and dataclasses in its data become their JSON; with *omits* what has none
    is left out. chatstore's own messages come back as they are. Raises `InvalidMessage` for what is no message.
    """
    mine = _OWN.get(type(message))
    if mine is None:
        made = _folded(message)
    else:
        extra = message.__pydantic_extra__
        if extra and OPAQUE in extra and mine is own.ChatMessage:
            return OpaqueMessage.model_construct(type=message.role, data=extra[OPAQUE])
        made = _filled(mine, message.__dict__, extra)
    return made if made is message else simplify(made, omits=omits)


def _folded(message: Any) -> Message:
    if isinstance(message, own.BaseMessage | OpaqueMessage):
        return message
    if not isinstance(message, theirs.BaseMessage):
        msg = f"a {type(message).__name__} is no message: pass LangChain's, such as HumanMessage, in a list"
        raise InvalidMessage(msg)
    values = {name: value for name, value in message.__dict__.items() if name not in _STREAMED}
    mine = next((_OWN[cls] for cls in type(message).__mro__ if cls in _OWN), None)
    tag = values.pop("type")
    if mine is not None and tag in (_TAGS[mine], f"{_THEIRS[mine].__name__}Chunk"):
        return _filled(mine, {**values, "type": _TAGS[mine]}, message.__pydantic_extra__)
    data = {name: value for name, value in values.items() if name != "id" or value is not None}
    return OpaqueMessage.model_construct(type=tag, data={**data, **(message.__pydantic_extra__ or {})})


def _filled(mine: Any, given: dict[str, Any], extra: dict[str, Any] | None) -> Message:
    """Return a message of the class *mine*; what none of its fields takes is unknown to it, and kept."""
    values = BLANK[mine](given.get("content", ""), given.get("id"))
    unknown = dict(extra) if extra else {}
    for name, value in given.items():
        if name in values:
            values[name] = value
        else:
            unknown[name] = value
    if _EXAMPLE in unknown and _EXAMPLE in values:
        values[_EXAMPLE] = unknown.pop(_EXAMPLE)
    made = mine.__new__(mine)
    fill(made, values, set(values) - {"type"})
    if unknown:
        own.set_extra(made, unknown)
    return cast("Message", made)
