"""Elements in the shapes that the old packages wrote, and the messages that they are.

In ``elements.jsonl`` the first three lines have the documented shapes of langchain 0.0.200 (the page), langchain-core
0.1.0 and 0.2.0, the others but for the last are as langchain-core 1.8 writes them, and the last is a type of nobody's.
Nothing in it is written by chatstore.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chatstore.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    OpaqueMessage,
    SystemMessage,
    ToolMessage,
)

_CALL = {"name": "look", "args": {"q": "x", "n": 1.5}, "id": "c1", "type": "tool_call"}
_USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
_PARTS: list[str | dict[str, Any]] = [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}]

#: What was written, a text an element.
RAW = Path(__file__).with_name("elements.jsonl").read_text(encoding="utf-8").splitlines()
#: What it is.
MESSAGES = [
    HumanMessage("Hello!"),
    AIMessage("Hi"),
    AIMessage("Yes", response_metadata={"model": "m"}),
    SystemMessage("Be kind"),
    HumanMessage("Grüße, 世界 🌍", id="h1"),
    AIMessage("", id="run-1", tool_calls=[_CALL], usage_metadata=_USAGE),
    ToolMessage("42", tool_call_id="c1", name="look", artifact={"a": [1, 2, {"b": None}]}),
    AIMessage(_PARTS),
    ChatMessage("x", role="critic"),
    FunctionMessage("y", name="f"),
    OpaqueMessage(type="developer", data={"content": "z"}),
]

#: Documents of langchain-redis 0.2.6, with the session, the end of their ids and their microseconds left open.
REDIS_DOCUMENTS = [
    (
        '{"type":"human","message_id":"01M8AFDJEG2EE47Y3E5B5J1YC%s","data":{"content":"Gr\\u00fc\\u00dfe",'
        '"additional_kwargs":{},"type":"human"},"session_id":"%s","timestamp":1795648047.%06d}'
    ),
    (
        '{"type":"ai","message_id":"01M8AFDJEG2EE47Y3E5B5J1YB%s","data":{"content":"","additional_kwargs":{},'
        '"type":"ai"},"session_id":"%s","timestamp":1795648047.%06d}'
    ),
    (
        '{"type":"tool","message_id":"01M8AFDJEG2EE47Y3E5B5J1YA%s","data":{"content":"42","additional_kwargs":{},'
        '"type":"tool","tool_call_id":"c1","status":"success"},"session_id":"%s","timestamp":1795648047.%06d}'
    ),
]


def human_element(text: str) -> str:
    """Return the element of a human message without an id."""
    return json.dumps({"type": "human", "data": {"content": text, "additional_kwargs": {}}})
