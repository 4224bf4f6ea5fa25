"""What the contract's tests store: messages of every class, and values that storage gets wrong.

This module knows which values must come back equal and which must be refused; it refuses to know any backend. All
content is invented for this suite.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from chatstore.messages import (
    AIMessage,
    ChatMessage,
    Content,
    FunctionMessage,
    HumanMessage,
    Message,
    OpaqueMessage,
    SystemMessage,
    ToolMessage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

PAST = datetime(2001, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
FUTURE = datetime(2999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
#: A text that no error, at any depth, may repeat.
CANARY = "the parrot sold the submarine"

#: Moments that must keep their microseconds; the one with an offset comes back as the same moment in UTC.
MOMENTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    datetime(2024, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


def say(content: Content, **fields: Any) -> HumanMessage:
    """Return a human message."""
    return HumanMessage(content=content, **fields)


def says(*contents: str) -> list[HumanMessage]:
    """Return a human message for each of *contents*."""
    return [HumanMessage(content=content) for content in contents]


def numbered(count: int, prefix: str = "m") -> list[HumanMessage]:
    """Return *count* human messages, each with an id of its own."""
    return [
        HumanMessage(content=f"message {number}", id=f"{prefix}{number}") for number in range(1, count + 1)
    ]


def contents(messages: Sequence[Message]) -> list[object]:
    """Return what *messages* say."""
    return [message.content for message in messages]


def nested(levels: int) -> Any:
    """Return lists and dicts, one in another, *levels* deep."""
    value: Any = "core"
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


# ------------------------------------------------------------------------------------------------ values

TEXTS = [
    "",
    " ",
    "  leading and trailing  ",
    "tabs\tand\nnew\r\nlines\rof every kind\x0b\x0c\x85\u2028\u2029",
    "nul \x00 in the middle",
    "\x00",
    "lone high \ud83d surrogate",
    "lone low \ude00 surrogate",
    "\udfff\ud800 the wrong way round",
    "every control character \x01\x02\x07\x08\x1b[31m\x1f\x7f\x9f",
    "emoji 🙂 👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳",
    "right to left: שלום עליכם, مرحبا بالعالم \u202eoverridden\u202c",
    "composed \xe9 and decomposed e\u0301",
    "中文 日本語 한국어 ไทย",
    "\ufeffbyte order mark",
    "noncharacters \ufffe \uffff \U0010ffff",
    "quotes ' \" ` ´ and \\ backslashes \\n \\u0000 \\ud800",
    "'; DROP TABLE chatstore_messages; --",
    "%s %(name)s :name ? $1 {0} {{}} %% @@x",
    "null",
    '{"type": "human", "data": {}}',
    '"a JSON string"',
    "[1, 2, 3]",
    "<script>alert(1)</script> &amp;",
    "a" * 70_000,
]

NUMBERS: list[float] = [
    0, 1, -1,
    2**31 - 1, 2**31, -(2**31) - 1,
    2**53, 2**53 + 1, -(2**53) - 1,
    2**63 - 1, 2**63, -(2**63), -(2**63) - 1,
    2**64 - 1, 2**64, 2**64 + 1,
    10**30 + 1, -(10**100), 10**400,
    0.0, -0.0, 1.0, 0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e16, 1e22, 1e23, -1e300,
]  # fmt: skip

JSON_VALUES: list[Any] = [
    None, True, False, {}, [], "", {"": ""}, [[]], [{}], {"a": None}, [None, True, 1, 1.0, "1"],
    {"true": True, "one": 1, "float": 1.0, "text": "1"},
    {"nul \x00 key": "nul \x00 value", "lone \ud800 key": "lone \udc00 value"},
    {"\xe9": 1, "e\u0301": 2, "\xc9": 3, " \xe9": 4},
    {"z": 1, "a": 2, "m": {"z": 1, "a": 2}},
    {"$": 1, "$.a": 2, "a.b": 3, "a[0]": 4, "__proto__": 5, "lc": 1, "type": "constructor", "id": ["x"]},
]  # fmt: skip

#: Nesting below, at and above the level where the stored form changes, up to what is always allowed.
DEPTHS = [1, 26, 27, 28, 29, 30, 31, 32, 33, 60, 97]


def messages_of_every_class() -> list[Message]:
    """Return messages of every class, plain ones and ones with every field."""
    call = {"name": "look_up", "args": {"city": "Öland", "days": [1, 2]}, "id": "call-1", "type": "tool_call"}
    broken = {
        "name": "look_up",
        "args": "{not json",
        "id": "call-2",
        "error": "bad",
        "type": "invalid_tool_call",
    }
    usage = {
        "input_tokens": 12,
        "output_tokens": 7,
        "total_tokens": 19,
        "input_token_details": {"cache_read": 3},
    }
    blocks: list[str | dict[str, Any]] = [
        "first",
        {"type": "text", "text": "second"},
        {"type": "image_url", "image_url": {"url": "data:,x"}},
    ]
    openai = {
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]
    }
    return [
        HumanMessage(content="plain"),
        HumanMessage(content="named", name="Ada", id="human-1", example=True),
        HumanMessage(content=blocks, additional_kwargs={"k": [1]}, response_metadata={"r": 2}),
        HumanMessage(content="extra", colour="green", tags=["a", {"b": None}]),
        HumanMessage(content=[]),
        HumanMessage(content="native", native={"some-sdk": {"role": "user", "parts": ["native", None, 1.5]}}),
        AIMessage(content="plain"),
        AIMessage(
            content="", tool_calls=[call], invalid_tool_calls=[broken], usage_metadata=usage, id="ai-1"
        ),
        AIMessage(content="model", response_metadata={"model_name": "large-1", "finish_reason": "stop"}),
        AIMessage(content="", additional_kwargs=openai),
        AIMessage(content="", additional_kwargs=openai, tool_calls=[]),
        AIMessage(content="odd tokens", usage_metadata={"input_tokens": 2**40, "output_tokens": -1}),
        AIMessage(content="odder tokens", usage_metadata={"input_tokens": "many", "output_tokens": None}),
        AIMessage(content=[{"type": "reasoning", "reasoning": "because"}, {"type": "text", "text": "so"}]),
        SystemMessage(content="plain"),
        SystemMessage(content="named", name="rules", additional_kwargs={"cache": True}),
        ToolMessage(content="plain", tool_call_id="call-1"),
        ToolMessage(
            content="", tool_call_id="call-2", status="error", artifact={"rows": [[1, None]]}, name="look_up"
        ),
        ToolMessage(content=["a", {"type": "text", "text": "b"}], tool_call_id="x" * 300, name="y" * 300),
        FunctionMessage(content="plain", name="look_up"),
        ChatMessage(content="plain", role="narrator"),
        ChatMessage(content="more", role="", id="chat-1", name="n"),
        OpaqueMessage(type="remove", data={"content": "", "id": "human-1"}),
        OpaqueMessage(
            type="from-the-future", data={"content": "text", "id": "opaque-1", "new": {"field": [1]}}
        ),
        OpaqueMessage(type="empty", data={}),
    ]


def messages_of_every_value() -> list[Message]:
    """Return messages that carry each of the values above, in every place where a value can stand."""
    made: list[Message] = []
    for text in TEXTS:
        made.append(HumanMessage(content=text))
        made.append(AIMessage(content=[text, {"type": "text", "text": text}], name=text[:300]))
        made.append(HumanMessage(content="x", additional_kwargs={"value": text, text[:300]: "key"}))
    for value in [*NUMBERS, *JSON_VALUES, *map(nested, DEPTHS)]:
        made.append(ToolMessage(content="x", tool_call_id="c", artifact=value))
        made.append(AIMessage(content="", tool_calls=[{"name": "f", "args": {"v": value}, "id": None}]))
        made.append(OpaqueMessage(type="other", data={"v": value}))
    return made


def unstorable() -> dict[str, Message]:
    """Return messages that cannot come back equal, by what is wrong with them: each must be refused."""
    circle: list[Any] = []
    circle.append(circle)
    wrong: dict[str, Any] = {
        "NaN": float("nan"), "infinity": [float("inf")], "minus infinity": {"a": -float("inf")},
        "bytes": b"x", "a tuple": (1, 2), "a set": {1}, "a date": PAST, "an object": object(),
        "a number as key": {1: "x"}, "None as key": {"a": {None: 1}}, "a circle": circle,
        "101 levels": nested(101), "2,000 levels": nested(2000), "an endless integer": 10**4300,
    }  # fmt: skip
    made: dict[str, Message] = {
        what: HumanMessage(content=CANARY, additional_kwargs={"v": value}) for what, value in wrong.items()
    }
    made["NaN in a content block"] = HumanMessage(content=[CANARY, {"n": float("nan")}])
    made["NaN in an opaque message"] = OpaqueMessage(
        type="other", data={"content": CANARY, "v": [float("nan")]}
    )
    for what, bad in BAD_IDS.items():
        if isinstance(bad, str):
            made[f"an id that is {what}"] = HumanMessage(content=CANARY, id=bad)
    return made


# ------------------------------------------------------------------------------------------------ ids

BAD_IDS: dict[str, Any] = {
    "empty": "", "too long": "x" * 256, "space before": " a", "space behind": "a ", "wide space": "a\u3000",
    "new line": "a\n", "NUL": "a\x00b", "escape": "a\x1bb", "delete": "a\x7f", "C1": "a\x85b",
    "lone surrogate": "a\ud800",
}  # fmt: skip
NOT_TEXT: list[Any] = [None, 5, b"a", ["a"], True]

#: Ids that are all different, and that careless storage takes for one another or for something else.
HOSTILE_IDS = [
    "a", "A", "\xe1", "a\u0301", "\xc1", "\uff41", "\xe4", "\xe6", "ae", "a\u200b", "a b", "a  b", "a.b", "a/b", "a\\b",
    "a:b", "\xdf", "ss", "SS", "\u017fs", "i", "I", "\u0131", "\u0130", "\u03a9", "\u2126", "\u03c9", "K", "\u212a", "k",
    "\ufb01", "fi", "\xbd", "1/2", "1", "01", "1.0", "null", "None", "NULL", "true", "undefined", "CON", "con", "nul",
    "aux.txt", "..", ".", "../etc", "/etc/passwd", "~", "-rf", "*", "%", "_", "a%", "a_", "%00", "%2e", "a%2fb", "a%2Fb",
    "'", '"', "`", "''", "' OR '1'='1", "a';--", "$.a", "{}", "[0]", "{a}", "#", "a#b", "?", "&", "=", "<b>",
    "\U0001f642", "\U0001f643", "\u4e2d", "\u05e9\u05dc\u05d5\u05dd", "\u202eabc", "abc", "x" * 255, "y" + "x" * 254,
    "X" * 255, "\U0001f642" * 255, "\xe9" * 255, "e\u0301" * 127,
]  # fmt: skip
