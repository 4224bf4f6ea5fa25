"""Messages of Pydantic AI: requests and responses, made of parts.

This module knows what a part says, and as which message another framework reads it; it knows nothing of stores. A
request with several parts (a system prompt and a question, the results of two tools) is several messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai import messages as theirs
from pydantic_ai.usage import RequestUsage

from chatstore.messages import AIMessage, HumanMessage, OpaqueMessage, SystemMessage, ToolMessage

if TYPE_CHECKING:
    from datetime import datetime

    from chatstore.messages import Message


def said(message: theirs.ModelMessage, source: str) -> list[Any]:
    """Return messages that say what *message* says, one a part of a request, each with a native form of *source*."""

    def new(kind: Any, content: Any, **fields: Any) -> Any:
        return kind(content, native={source: {}}, **fields)

    if isinstance(message, theirs.ModelResponse):
        calls = [
            {
                "name": part.tool_name,
                "args": part.args_as_dict(),
                "id": part.tool_call_id,
                "type": "tool_call",
            }
            for part in message.parts
            if isinstance(part, theirs.ToolCallPart)
        ]
        used, about = (
            message.usage,
            {"model_name": message.model_name, "finish_reason": message.finish_reason},
        )
        counts = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
        usage = {**counts, "total_tokens": used.total_tokens} if used.total_tokens else None
        given = {name: value for name, value in about.items() if value is not None}
        text = "\n".join(part.content for part in message.parts if isinstance(part, theirs.TextPart))
        return [new(AIMessage, text, tool_calls=calls, usage_metadata=usage, response_metadata=given)]
    made = []
    for part in message.parts:
        if isinstance(part, theirs.SystemPromptPart):
            made.append(new(SystemMessage, part.content))
        elif isinstance(part, theirs.UserPromptPart):
            texts = [part.content] if isinstance(part.content, str) else part.content
            made.append(new(HumanMessage, "\n".join(text for text in texts if isinstance(text, str))))
        elif isinstance(part, theirs.RetryPromptPart) and part.tool_name is not None:
            called = {"tool_call_id": part.tool_call_id, "name": part.tool_name, "status": "error"}
            made.append(new(ToolMessage, part.model_response(), **called))
        elif isinstance(part, theirs.RetryPromptPart):
            made.append(new(HumanMessage, part.model_response()))
        elif isinstance(part, theirs.ToolReturnPart):
            called = {"tool_call_id": part.tool_call_id, "name": part.tool_name}
            made.append(new(ToolMessage, part.model_response_str(), **called))
    return made or [new(HumanMessage, "")]


def load(message: Message, moment: datetime) -> theirs.ModelMessage | None:
    """Return what *message*, of another framework, said at *moment*; None for a type that only that one knows."""
    if isinstance(message, OpaqueMessage):
        return None
    if isinstance(message, AIMessage):
        parts: list[Any] = [theirs.TextPart(message.text)] if message.text else []
        parts += [
            theirs.ToolCallPart(call["name"], call["args"], call["id"] or "") for call in message.tool_calls
        ]
        used = message.usage_metadata or {}
        read, written = (used.get(name) or 0 for name in ("input_tokens", "output_tokens"))
        usage = RequestUsage(input_tokens=read, output_tokens=written)
        model = message.response_metadata.get("model_name")
        return theirs.ModelResponse(parts, usage=usage, model_name=model, timestamp=moment)
    if isinstance(message, ToolMessage):
        returned = theirs.ToolReturnPart(
            message.name or "tool", message.text, message.tool_call_id, timestamp=moment
        )
        return theirs.ModelRequest([returned], timestamp=moment)
    kind = theirs.SystemPromptPart if isinstance(message, SystemMessage) else theirs.UserPromptPart
    return theirs.ModelRequest([kind(message.text, timestamp=moment)], timestamp=moment)
