"""Objects inside messages: what tools and models put beside the text, made JSON.

This module knows pydantic's models and dataclasses, which structured output (``additional_kwargs["parsed"]``) and the
artifacts of tools are made of; it refuses to know messages' classes. Whatever else is no JSON stays as it is, and is
refused by name where the message is encoded, or is left out where that was asked for.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from chatstore.errors import InvalidMessage
from chatstore.messages import OpaqueMessage
from chatstore.strictjson import MAX_DEPTH, check_json

if TYPE_CHECKING:
    from chatstore.messages import Message

#: The fields in which frameworks and tools put what they like. Others hold what the model sent, which was JSON.
_FREE: Final = ("additional_kwargs", "response_metadata", "artifact", "content")
_PLAIN: Final = (str, int, float, type(None))
#: Stands for a value that is left out.
_OMITTED: Final = object()


def simplify(message: Message, *, omits: bool) -> Message:
    """Return *message*, which nobody else holds, with JSON in the place of objects; *omits*: and nothing but JSON."""
    if isinstance(message, OpaqueMessage):
        message.data = _simplified(message.data, 0, omits=omits)
        return message
    _simplify_fields(message.__dict__, _FREE, omits=omits)
    if extra := message.__pydantic_extra__:
        _simplify_fields(extra, tuple(extra), omits=omits)
    return message


def _simplify_fields(fields: dict[str, Any], names: tuple[str, ...], *, omits: bool) -> None:
    for name in names:
        value = fields.get(name)
        if value and not isinstance(value, str):
            simple = _simplified(value, 0, omits=omits)
            if omits:  # also what is nested too deeply, or holds itself
                simple = _kept(simple)
            fields[name] = None if simple is _OMITTED else simple


def _simplified(value: Any, level: int, *, omits: bool) -> Any:
    """Return *value* itself where nothing in it had to be changed."""
    if isinstance(value, _PLAIN) or level > MAX_DEPTH:  # what is deeper, or holds itself, is refused later
        return _kept(value) if omits else value
    if isinstance(value, dict):
        return _changed(value, level + 1, omits=omits)
    if isinstance(value, list):
        made = [_simplified(one, level + 1, omits=omits) for one in value]
        if all(new is old for new, old in zip(made, value, strict=True)):
            return value
        return [one for one in made if one is not _OMITTED]
    if isinstance(value, BaseModel):
        with suppress(PydanticSerializationError, ValueError):  # it has none; the errors would show it
            value = value.model_dump(mode="json", warnings=False)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _simplified(fields, level + 1, omits=omits)
    return _kept(value) if omits else value


def _changed(value: dict[Any, Any], level: int, *, omits: bool) -> Any:
    made = {name: _simplified(one, level, omits=omits) for name, one in value.items()}
    if omits:
        made = {name: one for name, one in made.items() if one is not _OMITTED and isinstance(name, str)}
    if len(made) == len(value) and all(made[name] is one for name, one in value.items()):
        return value
    return made


def _kept(value: Any) -> Any:
    try:
        check_json(value, "")
    except InvalidMessage:
        return _OMITTED
    return value
