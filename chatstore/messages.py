"""The messages of a conversation, as values.

This module knows what a message is made of and how it looks when printed. It refuses to know how a message
becomes JSON or a row (`chatstore.codec`), and which framework it came from.

Messages have the names, fields and repr of the chat message history page this project stands on. They are
ordinary pydantic models that belong to whoever holds them: repositories always hand out fresh ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chatstore.records import (
    AnswerPart,
    Capabilities,
    ChatSession,
    Durability,
    MessageRecord,
    Page,
    PurgeReport,
    Records,
    SearchHit,
    State,
    UsageRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AIMessage",
    "AnswerPart",
    "BaseMessage",
    "Capabilities",
    "ChatMessage",
    "ChatSession",
    "Content",
    "Durability",
    "FunctionMessage",
    "HumanMessage",
    "Message",
    "MessageRecord",
    "OpaqueMessage",
    "Page",
    "PurgeReport",
    "Records",
    "SearchHit",
    "State",
    "SystemMessage",
    "ToolMessage",
    "UsageRow",
]

Content: TypeAlias = str | list[str | dict[str, Any]]

# A message that is only text needs no validation, and so no schema, which pydantic builds when it is first
# needed (20 ms in a fresh interpreter). These are the slots that pydantic's own constructors fill; setting
# them is also the fastest way to make messages: 0.6 us each against 0.9 by validation and 1.3 by
# `object.__setattr__`.
set_values = BaseModel.__dict__["__dict__"].__set__
set_given = BaseModel.__dict__["__pydantic_fields_set__"].__set__
set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
set_private = BaseModel.__dict__["__pydantic_private__"].__set__


def fill(message: BaseModel, values: dict[str, Any], given: set[str]) -> None:
    """Make *message* what validation would make of *values*, which are complete, valid and in field order."""
    set_values(message, values)
    set_given(message, given)
    set_extra(message, {})
    set_private(message, None)


def text_of(content: object) -> str:
    """Return what a person reads of *content*: the text, or its text parts on lines of their own."""
    if isinstance(content, str):
        return content
    texts = []
    for part in content if isinstance(content, list) else []:
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part
        if isinstance(text, str):
            texts.append(text)
    return "\n".join(texts)


def _dict_of(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class BaseMessage(BaseModel):
    """What every message has. Unknown fields are kept, stored and given back.

    *content* is text, or a list of texts and content blocks (dicts), kept as they are. *id* is the client's
    own id (a number becomes text): a message with an id is stored once a session. *type* is the class's tag
    in JSON; it need never be given. *native* may be given too: see the property.
    """

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, defer_build=True)

    content: Content
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    response_metadata: dict[str, Any] = Field(default_factory=dict)
    type: str
    name: str | None = None
    id: str | None = Field(default=None, coerce_numbers_to_str=True)

    if TYPE_CHECKING:

        def __init__(self, content: Content = ..., **fields: Any) -> None: ...

    else:

        def __init__(self, /, *content: Any, **fields: Any) -> None:
            if content:
                if len(content) > 1 or "content" in fields:
                    msg = f"{type(self).__name__} takes one content: pass everything else by name"
                    raise TypeError(msg)
                fields["content"] = content[0]
            if len(fields) == 1 and type(fields.get("content")) is str and (blank := PLAIN.get(type(self))):
                fill(self, blank(fields["content"], None), {"content"})
            else:
                self.__pydantic_validator__.validate_python(fields, self_instance=self)

        # Without this mark pydantic would call __init__ from every validation.
        __init__.__pydantic_base_init__ = True

    @property
    def text(self) -> str:
        """What a person reads: the content, or its text parts on lines of their own."""
        return text_of(self.content)

    @property
    def native(self) -> dict[str, Any]:
        """The message in the form of the framework that wrote it, as JSON, by the framework's name; ``{}`` without.

        It is given when the message is made: ``HumanMessage("Hi", native={"openai-agents": item})``. The first name is
        stored as the message's source, too.
        """
        extra = self.__pydantic_extra__
        return _dict_of(extra.get("native")) if extra else {}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Yield what LangChain shows, then every other field that differs from its default."""
        values = self.__dict__
        shown = [name for name in ("content", "additional_kwargs", "example") if name in values]
        yield from ((name, values[name]) for name in shown)
        for name, info in type(self).model_fields.items():
            if name in values and name not in (*shown, "type"):
                value = values[name]
                if info.is_required() or value != info.get_default(call_default_factory=True):
                    yield name, value
        yield from (self.__pydantic_extra__ or {}).items()


class HumanMessage(BaseMessage):
    """What the user said."""

    type: Literal["human"] = "human"
    example: bool = False

    if TYPE_CHECKING:

        def __init__(self, content: Content = ..., **fields: Any) -> None: ...


class AIMessage(BaseMessage):
    """What the model answered.

    *tool_calls* are dicts ``{"name", "args": dict, "id", "type": "tool_call"}``; *invalid_tool_calls* have
    the raw text in *args*. Where neither is given but ``additional_kwargs["tool_calls"]`` is, in OpenAI's
    form, they are read from there. *usage_metadata* counts tokens: ``input_tokens``, ``output_tokens``,
    ``total_tokens``.
    """

    type: Literal["ai"] = "ai"
    example: bool = False
    tool_calls: list[dict[str, Any]] = Field(default_factory=list)
    invalid_tool_calls: list[dict[str, Any]] = Field(default_factory=list)
    usage_metadata: dict[str, Any] | None = None

    if TYPE_CHECKING:

        def __init__(self, content: Content = ..., **fields: Any) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _read_tool_calls(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "tool_calls" in data or "invalid_tool_calls" in data:
            return data
        kwargs = data.get("additional_kwargs")
        if not isinstance(kwargs, dict) or not isinstance(kwargs.get("tool_calls"), list):
            return data
        calls = [call for raw in kwargs["tool_calls"] if (call := _tool_call(raw))]
        valid = [call for call in calls if call["type"] == "tool_call"]
        invalid = [call for call in calls if call["type"] != "tool_call"]
        return {**data, "tool_calls": valid, "invalid_tool_calls": invalid}


def _tool_call(raw: Any) -> dict[str, Any] | None:
    """Read one of OpenAI's tool calls; it is an invalid one where the arguments are no JSON object."""
    function = raw.get("function") if isinstance(raw, dict) else None
    if not isinstance(function, dict):
        return None
    arguments = function.get("arguments")
    try:
        text = isinstance(arguments, str)
        args = json.loads(arguments or "{}", parse_constant=_refuse) if text else arguments
    except (ValueError, RecursionError):
        args = arguments
    call = {"name": function.get("name") or "", "args": {} if args is None else args, "id": raw.get("id")}
    if isinstance(call["args"], dict):
        return {**call, "type": "tool_call"}
    return {**call, "args": arguments, "error": None, "type": "invalid_tool_call"}


def _refuse(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


class SystemMessage(BaseMessage):
    """What the application told the model."""

    type: Literal["system"] = "system"

    if TYPE_CHECKING:

        def __init__(self, content: Content = ..., **fields: Any) -> None: ...


class ToolMessage(BaseMessage):
    """What a tool answered to the call *tool_call_id*.

    *artifact* is for the application and is not sent to the model; it must be JSON to be stored. Content and
    call ids that are numbers become text.
    """

    type: Literal["tool"] = "tool"
    tool_call_id: str
    artifact: Any = None
    status: Literal["success", "error"] = "success"

    if TYPE_CHECKING:

        def __init__(self, content: Content = ..., *, tool_call_id: str = ..., **fields: Any) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _read_numbers(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: data.get(name) for name in ("content", "tool_call_id")}
        return {
            **data,
            **{name: str(value) for name, value in given.items() if isinstance(value, int | float)},
        }


class FunctionMessage(BaseMessage):
    """What a function answered, in the form older than tool messages. *name* is the function's."""

    type: Literal["function"] = "function"
    name: str

    if TYPE_CHECKING:

        def __init__(self, content: Content = ..., *, name: str = ..., **fields: Any) -> None: ...


class ChatMessage(BaseMessage):
    """What somebody said in a *role* of the application's own."""

    type: Literal["chat"] = "chat"
    role: str

    if TYPE_CHECKING:

        def __init__(self, content: Content = ..., *, role: str = ..., **fields: Any) -> None: ...


class OpaqueMessage(BaseModel):
    """A message of a type that this release does not know, kept exactly: *type* and *data* as in the JSON."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    type: str
    data: dict[str, Any]

    @model_validator(mode="after")
    def _stay_unknown(self) -> OpaqueMessage:
        if self.type in CLASSES:
            msg = f"{self.type} is a known type: use {CLASSES[self.type].__name__}"
            raise ValueError(msg)
        return self

    @property
    def content(self) -> Content:
        """The content in *data*, or '' where there is none that a message could have."""
        content = self.data.get("content")
        return content if isinstance(content, str | list) else ""

    @property
    def text(self) -> str:
        """What a person reads: the content, or its text parts on lines of their own."""
        return text_of(self.content)

    @property
    def native(self) -> dict[str, Any]:
        """What *data* has as ``native``: see `BaseMessage.native`."""
        return _dict_of(self.data.get("native"))

    @property
    def id(self) -> str | None:
        """The id in *data*; None without one, and for the type ``remove``, whose id names another message."""
        value = self.data.get("id")
        return value if isinstance(value, str) and self.type != "remove" else None


#: Any message, for annotations and for `isinstance`. `BaseMessage` stands for the six known classes and what
#: is derived from them, so that a class added by a later release changes no type for callers.
Message: TypeAlias = BaseMessage | OpaqueMessage

#: The class of each type, and of the tags that streamed chunks leave in files: they become the whole message.
CLASSES: Final[dict[str, type[BaseMessage]]] = {
    tag: cls
    for cls in (HumanMessage, AIMessage, SystemMessage, ToolMessage, FunctionMessage, ChatMessage)
    for tag in (cls.model_fields["type"].default, f"{cls.__name__}Chunk")
}


def _system(content: Content, message_id: str | None, type_: str = "system") -> dict[str, Any]:
    return {
        "content": content,
        "additional_kwargs": {},
        "response_metadata": {},
        "type": type_,
        "name": None,
        "id": message_id,
    }


def _human(content: Content, message_id: str | None) -> dict[str, Any]:
    return {
        "content": content,
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "human",
        "name": None,
        "id": message_id,
        "example": False,
    }


def _ai(content: Content, message_id: str | None) -> dict[str, Any]:
    return {
        "content": content,
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "ai",
        "name": None,
        "id": message_id,
        "example": False,
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": None,
    }


#: How to write the values of a message that has a content and perhaps an id, and nothing else.
Blank: TypeAlias = Callable[[Content, str | None], dict[str, Any]]
PLAIN: Final[dict[type[BaseModel], Blank]] = {HumanMessage: _human, AIMessage: _ai, SystemMessage: _system}

#: The same for every class, with None for what a class requires.
BLANK: Final[dict[type[BaseModel], Blank]] = {
    **PLAIN,
    ToolMessage: lambda content, message_id: {
        **_system(content, message_id, "tool"),
        "tool_call_id": None,
        "artifact": None,
        "status": "success",
    },
    FunctionMessage: lambda content, message_id: _system(content, message_id, "function"),
    ChatMessage: lambda content, message_id: {**_system(content, message_id, "chat"), "role": None},
}
