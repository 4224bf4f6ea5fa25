"""The baseline of reads: rows of chatstore's tables into chatstore's message objects, by pydantic alone.

Knows pydantic's public doors. Refuses to build messages without validation, as chatstore's codec does. Of what
was tried this is the fastest: `model_validate` took 1.2 times as long, the constructors 1.2, one union over
the list 1.7, `validate_json` of a joined object 1.9, of one joined array 2.2, and `model_construct` 27.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic_core import from_json

from chatstore.messages import AIMessage, HumanMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

_VALIDATE = {
    "human": TypeAdapter(HumanMessage).validator.validate_python,
    "ai": TypeAdapter(AIMessage).validator.validate_python,
}


def messages(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return the messages of rows of type, content, payload (JSON text), message_id and id_generated."""
    made = []
    for type_, content, payload, message_id, generated in rows:
        data = {} if payload == "{}" else from_json(payload)
        data["content"] = content
        if not generated:
            data["id"] = message_id
        made.append(_VALIDATE[type_](data))
    return made
