"""Messages of Anthropic's Messages API: ``{"role": "assistant", "content": [{"type": "tool_use", …}], …}``.

This module knows the API's roles, blocks of content and counts of tokens, and as which message another framework reads
them; it refuses to know what is around them. A message of the API becomes one message. What a message cannot say
(thinking, documents, results of several tools in one) is to be kept in its native form.
"""

from __future__ import annotations

from typing import Any

from chatstore.messages import AIMessage, HumanMessage, Message, OpaqueMessage, SystemMessage, ToolMessage


def load(said: dict[str, Any], *, counts: bool = True, **fields: Any) -> Message:
    """Return the message that says what *said* says, with *fields* beside; without tokens unless it *counts*."""
    content = said.get("content")
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    if said.get("role") == "assistant":
        about = {"model_name": said.get("model"), "finish_reason": said.get("stop_reason")}
        return AIMessage(
            _text(content),
            tool_calls=[_call(block) for block in blocks if block.get("type") == "tool_use"],
            response_metadata={name: value for name, value in about.items() if value is not None},
            usage_metadata=_usage(said) if counts else None,
            **fields,
        )
    results = [block for block in blocks if block.get("type") == "tool_result"]
    if len(results) == len(blocks) == 1:
        status = "error" if results[0].get("is_error") else "success"
        called = str(results[0].get("tool_use_id") or "")
        return ToolMessage(_text(results[0].get("content")), tool_call_id=called, status=status, **fields)
    return HumanMessage(_text(content), **fields)


def dump(message: Message) -> dict[str, Any] | None:
    """Return the message as the API takes it; None for instructions, and for types that only their framework knows."""
    if isinstance(message, OpaqueMessage | SystemMessage):
        return None
    content: Any = message.text
    if isinstance(message, AIMessage):
        content = [{"type": "text", "text": message.text}] if message.text else []
        for call in message.tool_calls:
            content.append(
                {"type": "tool_use", "id": call["id"], "name": call["name"], "input": call["args"]}
            )
    elif isinstance(message, ToolMessage):
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.text}
        content = [{**result, "is_error": True} if message.status == "error" else result]
    return {"role": "assistant" if message.type == "ai" else "user", "content": content}


def _text(content: Any) -> str:
    """Return what a person reads of content: the text in it."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    texts = [block.get("text") for block in blocks if isinstance(block, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _call(block: dict[str, Any]) -> dict[str, Any]:
    args = block.get("input")
    name, call_id = str(block.get("name") or ""), block.get("id")
    return {"name": name, "args": args if isinstance(args, dict) else {}, "id": call_id, "type": "tool_call"}


def _usage(said: dict[str, Any]) -> dict[str, int] | None:
    """Return the tokens of an answer; what was read from a cache, or written to one, was given to the model too."""
    usage = said.get("usage")
    if not isinstance(usage, dict):
        return None
    kinds = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    given = sum(usage[kind] for kind in kinds if isinstance(usage.get(kind), int))
    made = usage["output_tokens"] if isinstance(usage.get("output_tokens"), int) else 0
    return {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
