"""The wire form of messages: ``{"type": …, "data": {…}}``, as files and exports hold it.

This module knows what each class writes, every shape that LangChain's releases ever wrote, and how to build a
message without validating what cannot be wrong. It knows nothing of rows, files and JSON text.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import BaseModel, ValidationError

from chatstore.errors import InvalidMessage
from chatstore.messages import BLANK, CLASSES, BaseMessage, OpaqueMessage, fill, set_extra
from chatstore.strictjson import path_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatstore.messages import Message
    from chatstore.strictjson import Path

_NONE: Final = type(None)
_ANY: Final[frozenset[type]] = frozenset({dict, list, str, int, float, bool, _NONE})
#: The exact types of values that need no validation. A status is only written where it is special.
_TYPES: Final[dict[str, frozenset[type]]] = {
    "content": frozenset({str, list}),
    "additional_kwargs": frozenset({dict}),
    "response_metadata": frozenset({dict}),
    "name": frozenset({str, _NONE}),
    "id": frozenset({str, _NONE}),
    "example": frozenset({bool}),
    "tool_calls": frozenset({list}),
    "invalid_tool_calls": frozenset({list}),
    "usage_metadata": frozenset({dict, _NONE}),
    "tool_call_id": frozenset({str}),
    "artifact": _ANY,
    "role": frozenset({str}),
    "native": frozenset({dict}),
}
_ITEMS: Final[dict[str, frozenset[type]]] = {
    "content": frozenset({str, dict}),
    "tool_calls": frozenset({dict}),
    "invalid_tool_calls": frozenset({dict}),
}
_REQUIRED: Final = {"tool": "tool_call_id", "function": "name", "chat": "role"}


class Shape:
    """One message class: its tag, the defaults of its fields in order, and what it cannot be without."""

    def __init__(self, cls: type[BaseMessage]) -> None:
        """Read it all from a blank message."""
        self.cls = cls
        self.blank = BLANK[cls]
        values = self.blank("", None)
        self.fields = frozenset(values)
        self.tag: str = values["type"]
        self.required = _REQUIRED.get(self.tag)
        self.defaults = tuple(pair for pair in values.items() if pair[0] not in ("content", "type", "id"))
        self.types = {name: _TYPES[name] for name in (*values, "native") if name in _TYPES}
        self.example = {"example": False} if "example" in values else {}
        self.shown = ("content", "additional_kwargs", *self.example)

    def fits(self, data: dict[str, Any]) -> bool:
        """Tell whether *data* surely needs no validation: right types, nothing unknown, nothing to derive."""
        types = self.types
        for name, value in data.items():
            kind = type(value)
            if kind not in types.get(name, ()):
                return False
            if kind is list and not _ITEMS.get(name, _ANY).issuperset(map(type, value)):
                return False
        kwargs = data.get("additional_kwargs")
        if kwargs and "tool_calls" in kwargs and "tool_calls" not in data:
            return False
        return self.required is None or data.get(self.required) is not None

    def build(self, data: dict[str, Any]) -> BaseMessage:
        """Return the message of *data*. Raises pydantic's `ValidationError`."""
        if not self.fits(data):
            return cast("BaseMessage", self.cls.__pydantic_validator__.validate_python(data))
        values = self.blank("", None)
        values.update(data)
        native = values.pop("native", None)
        message = self.cls.__new__(self.cls)
        fill(message, values, set(data))
        if native is not None:
            set_extra(message, {"native": native})
        return message

    def check(self, data: dict[str, Any]) -> None:
        """Raise `InvalidMessage` where `build` would refuse *data*, or change it."""
        if self.fits(data):
            return
        try:
            made = self.cls.__pydantic_validator__.validate_python(data, strict=True)
        except ValidationError as error:
            raise InvalidMessage(fault_of(error, data)) from None
        for name, value in made.__dict__.items():
            if name in data and data[name] != value:
                msg = f"data.{name} is of type {type(data[name]).__name__}: write one of type {type(value).__name__}"
                raise InvalidMessage(msg)


SHAPES: Final[dict[type[BaseModel], Shape]] = {cls: Shape(cls) for cls in dict.fromkeys(CLASSES.values())}


def shape_of(message: object) -> Shape:
    """Return the shape of *message*; a subclass has its base's. Raises `InvalidMessage` for anything else."""
    for cls in type(message).__mro__:
        if cls in SHAPES:
            return SHAPES[cls]
    kind = type(message)
    if kind.__module__.startswith("langchain_core."):
        msg = (
            f"this {kind.__name__} is LangChain's: convert it with from_langchain, or use a history, both of "
            "chatstore.integrations.langchain"
        )
        raise InvalidMessage(msg)
    msg = f"a value of type {kind.__name__} is not a message: pass one of chatstore's, such as HumanMessage"
    raise InvalidMessage(msg)


def rest_of(message: BaseMessage, shape: Shape) -> dict[str, Any]:
    """Return all fields but content, type and id that differ from their default; then the unknown ones."""
    values = message.__dict__
    rest = {}
    for name, default in shape.defaults:
        value = values.get(name, default)
        if value is not default and (type(value) is not type(default) or value != default):
            rest[name] = value
    if type(message) is not shape.cls:
        rest.update((name, value) for name, value in values.items() if name not in shape.fields)
    if message.__pydantic_extra__:
        rest.update(message.__pydantic_extra__)
    kwargs = rest.get("additional_kwargs")
    # Said even where it is empty, or it would be read from additional_kwargs on the way back.
    if isinstance(kwargs, dict) and "tool_calls" in kwargs and "tool_calls" in shape.fields:
        rest.setdefault("tool_calls", values.get("tool_calls"))
    return rest


def to_wire(message: Message) -> dict[str, Any]:
    """Return ``{"type": …, "data": {…}}``; nested values are shared with *message*, not copied.

    A plain human or ai message has the keys content, additional_kwargs and example in its data; every other
    field is there if it differs from its default. The values are not checked to be JSON. Raises `InvalidMessage`
    for anything but a message.
    """
    if isinstance(message, OpaqueMessage):
        return {"type": message.type, "data": dict(message.data)}
    shape = shape_of(message)
    values = message.__dict__
    data = {name: values.get(name) for name in shape.shown}
    data.update(rest_of(message, shape))
    if values.get("id") is not None:
        data["id"] = values["id"]
    return {"type": shape.tag, "data": data}


def from_wire(obj: Mapping[str, Any]) -> Message:
    """Return the message of a wire form, whichever release of LangChain wrote it.

    Reads ``{"type", "data"}`` of any age, streamed chunks (they become the whole message), ``{"lc": 1, "kwargs"}``
    and the flat ``{"type", "content", …}``. An unknown type becomes an `OpaqueMessage`. Other keys beside type and
    data are ignored. Raises `InvalidMessage` with the path.
    """
    tag, data = _tagged(obj)
    if tag not in CLASSES:
        return OpaqueMessage.model_construct(type=tag, data=data)
    cls = CLASSES[tag]
    if _class(data.pop("type", tag)) is not cls:
        msg = "data.type contradicts type: make them the same"
        raise InvalidMessage(msg)
    try:
        return cast("Message", cls.__pydantic_validator__.validate_python(data))
    except ValidationError as error:
        raise InvalidMessage(fault_of(error, data)) from None


def _class(tag: object) -> type[BaseMessage] | None:
    return CLASSES.get(tag) if isinstance(tag, str) else None


def _tagged(obj: Any) -> tuple[str, dict[str, Any]]:
    """Return the type in any of the shapes, and a copy of the data."""
    if not isinstance(obj, dict):
        msg = f"a message is of type {type(obj).__name__}: write an object with type and data"
        raise InvalidMessage(msg)
    tag, data = obj.get("type"), obj.get("data")
    if obj.get("lc") == 1 and isinstance(obj.get("id"), list):
        tag, data = _class_tag(obj["id"]), obj.get("kwargs")
    elif "data" not in obj and "content" in obj:
        data = {name: value for name, value in obj.items() if name != "type"}
    if not isinstance(tag, str) or not tag:
        msg = (
            "type is missing or not text: write human, ai, system, tool, function, chat or a type of your own"
        )
        raise InvalidMessage(msg)
    if not isinstance(data, dict):
        msg = f"data is of type {type(data).__name__}: write an object with the message's fields"
        raise InvalidMessage(msg)
    return tag, dict(data)


def _class_tag(path: list[Any]) -> str | None:
    """Return the tag of a class by its import path; None for what is not a message."""
    name = str(path[-1]).removesuffix("Chunk") if path else ""
    return next((shape.tag for cls, shape in SHAPES.items() if cls.__name__ == name), None)


def fault_of(error: ValidationError, data: dict[str, Any]) -> str:
    """Say the first fault, with its path as far as it leads into *data*, and never a value."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = faults[0]
    if first["type"] == "missing":
        return f"{path_text(((None, 'data'), first['loc'][-1]))} is missing: add it"
    if first["loc"][:1] != ("content",):
        return f"{path_text(_followed(first['loc'], data)[0])} is invalid: {first['msg']}"
    # Either text or a list would do, so pydantic tells a fault of each: the one that leads deepest is meant.
    at, _ = max((_followed(fault["loc"], data) for fault in faults), key=itemgetter(1))
    return f"{path_text(at)} is invalid: write text, or a list of texts and objects"


def _followed(location: tuple[int | str, ...], data: dict[str, Any]) -> tuple[Path, int]:
    """Return the path as far as *location* leads into *data*, without pydantic's steps, and its length."""
    at: Path = (None, "data")
    node: Any = data
    length = 0
    key: Any
    for key in location:
        if (isinstance(node, dict) and key in node) or (isinstance(node, list) and isinstance(key, int)):
            at, node, length = (at, key), node[key], length + 1
    return at, length
