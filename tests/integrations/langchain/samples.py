"""Messages of every kind that LangChain has, with everything in them that a store might lose."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

CALL = {
    "name": "weather",
    "args": {"city": "Zürich", "days": 2, "deep": {"a": [1, 2.5, None]}},
    "id": "call_1",
}
BROKEN = {
    "name": "weather",
    "args": '{"city": ',
    "id": "call_2",
    "error": "not JSON",
    "type": "invalid_tool_call",
}
USAGE = {
    "input_tokens": 350,
    "output_tokens": 240,
    "total_tokens": 590,
    "input_token_details": {"audio": 10, "cache_creation": 200, "cache_read": 100},
    "output_token_details": {"audio": 10, "reasoning": 200},
}
OPENAI_CALLS = [
    {"id": "call_9", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}},
    {"id": "call_8", "type": "function", "function": {"name": "weather", "arguments": "{broken"}},
]
#: One content block of every type of langchain-core 1, and what providers and older releases send.
BLOCKS: list[str | dict[str, Any]] = [
    "a plain string",
    {
        "type": "text",
        "text": "see",
        "annotations": [{"type": "citation", "url": "https://example.org", "start_index": 0}],
    },
    {"type": "reasoning", "reasoning": "hm", "extras": {"signature": "c2ln"}},
    {"type": "refusal", "refusal": "no"},
    {"type": "tool_call", "id": "call_1", "name": "weather", "args": {"city": "Zürich"}},
    {"type": "invalid_tool_call", "id": "call_2", "name": "weather", "args": "{", "error": "not JSON"},
    {"type": "tool_call_chunk", "id": "call_3", "name": "weather", "args": '{"ci', "index": 0},
    {"type": "image", "url": "https://example.org/a.png", "mime_type": "image/png"},
    {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"},
    {"type": "audio", "base64": "UklGRg==", "mime_type": "audio/wav"},
    {"type": "video", "file_id": "file-1", "mime_type": "video/mp4"},
    {"type": "file", "base64": "JVBERi0=", "mime_type": "application/pdf", "extras": {"filename": "a.pdf"}},
    {"type": "text-plain", "text": "notes", "mime_type": "text/plain", "title": "n.txt"},
    {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {"q": "rain"}},
    {"type": "server_tool_call_chunk", "id": "s2", "name": "web_search", "args": "{"},
    {"type": "server_tool_result", "tool_call_id": "s1", "status": "success", "output": [{"title": "rain"}]},
    {"type": "non_standard", "value": {"anything": [True, None]}},
    {"type": "image", "source_type": "base64", "data": "iVBORw0KGgo=", "mime_type": "image/png"},
    {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}},
    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
]
HOSTILE = "NUL \x00, a lone surrogate \ud800, an emoji 🦜, \u2028 and a \\u0000"


class Tagged(HumanMessage):
    """A subclass of an application, with a field of its own."""

    channel: str = "web"


#: What comes back equal.
MESSAGES: dict[str, Any] = {
    "human": HumanMessage("Hello!"),
    "human named": HumanMessage("Hello!", id="h-1", name="Ada"),
    "human with unknown": HumanMessage("Hello!", rating=5, tags=["a", {"b": None}]),
    "human with kwargs": HumanMessage("Hello!", additional_kwargs={"lc_source": "notice", "lc_data": {"n": 1}}),
    "hostile": HumanMessage(HOSTILE, id="h-2", name="a \x00"),
    "empty": HumanMessage(""),
    "ai": AIMessage("Hello there! How can I assist you today?"),
    "ai with id": AIMessage("Hi", id="run--7f", response_metadata={"model_name": "gpt-x", "logprobs": [-0.25]}),
    "ai calls tools": AIMessage(
        "", tool_calls=[CALL], invalid_tool_calls=[BROKEN], usage_metadata=USAGE, id="run-1", name="bot"
    ),
    "ai by OpenAI's calls": AIMessage("", additional_kwargs={"tool_calls": OPENAI_CALLS}),
    "ai with a function call": AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
    "ai with blocks": AIMessage(BLOCKS, response_metadata={"output_version": "v1"}, id="run-2"),
    "human with blocks": HumanMessage(BLOCKS[:12]),
    "system": SystemMessage("Be brief."),
    "developer": SystemMessage("Be brief.", additional_kwargs={"__openai_role__": "developer"}),
    "tool": ToolMessage("42", tool_call_id="call_1", name="weather"),
    "tool with artifact": ToolMessage(
        "42", tool_call_id="call_1", artifact={"rows": [[1, 2.0, None], ["x"]]}, status="error"
    ),
    "tool with blocks": ToolMessage([{"type": "image", "base64": "aGk=", "mime_type": "image/png"}], tool_call_id="c"),
    "function": FunctionMessage("42", name="weather"),
    "chat": ChatMessage("psst", role="whisperer", id="c-1"),
    "remove": RemoveMessage(id="run-1"),
}  # fmt: skip
#: What comes back as the message it stands for.
FOLDED: dict[str, tuple[Any, Any]] = {
    "human": (HumanMessageChunk("Hello!", id="1"), HumanMessage("Hello!", id="1")),
    "system": (SystemMessageChunk("Be brief."), SystemMessage("Be brief.")),
    "tool": (ToolMessageChunk("42", tool_call_id="c"), ToolMessage("42", tool_call_id="c")),
    "function": (FunctionMessageChunk("42", name="f"), FunctionMessage("42", name="f")),
    "chat": (ChatMessageChunk("psst", role="r"), ChatMessage("psst", role="r")),
    "ai": (
        AIMessageChunk("Hel", id="run-3", response_metadata={"model_name": "m"})
        + AIMessageChunk(
            "lo", id="run-3", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        ),
        AIMessage(
            "Hello",
            id="run-3",
            response_metadata={"model_name": "m"},
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        ),
    ),
    "ai calls tools": (
        AIMessageChunk("", tool_call_chunks=[{"name": "f", "args": '{"a":', "id": "c", "index": 0}])
        + AIMessageChunk("", tool_call_chunks=[{"name": None, "args": " 1}", "id": None, "index": 0}]),
        AIMessage("", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c"}]),
    ),
    "a subclass": (Tagged("Hi", channel="phone"), HumanMessage("Hi", channel="phone")),
}
