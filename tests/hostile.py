"""Values made to hurt: text, numbers, nesting and ids that storage is known to lose, change or confuse.

Every value here is one that an application has really sent. What of it may be refused is said beside it; what
is not refused must come back equal.
"""

from __future__ import annotations

import random
from typing import Any

TEN_MEGABYTES = 10 * 1024 * 1024

TEXTS = {
    "empty": "",
    "space": " ",
    "leading and trailing space": "  x \n",
    "nul": "a\0b",
    "only nul": "\0",
    "every control character": "".join(map(chr, range(32))) + "\x7f\x85",
    "lone high surrogate": "\ud83d",
    "lone low surrogate": "x\ude00y",
    "surrogates the wrong way round": "\ude00\ud83d",
    "nul and surrogate": "\0\udfff\0",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇪🇺 1️⃣",
    "right to left": "שלום \u202eevil\u202c مرحبا \u2067x\u2069",
    "combining": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "composed": "\u00e9 \u00c5 \uac01",
    "decomposed": "e\u0301 A\u030a \u1100\u1161\u11a8",
    "byte order mark": "\ufeffx\ufeff",
    "line separators": "a\u2028b\u2029c\x0bd\x0ce\r\nf\rg\nh",
    "beyond the basic plane": "𝒳𐍈𠜎",
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "replacement character": "\ufffd",
    "escapes as text": '\\u0000 \\ud83d \\n \\\\ \\"',
    "json as text": '{"type": "human", "data": {"content": "x"}}',
    "a json string as text": '"x"',
    "null as text": "null",
    "sql": "'; DROP TABLE chatstore_messages; --",
    "parameters": "%s %(x)s %% :x ? {x} $1 \\:x",
    "like patterns": "100% _x_ [a-z]* ^ | & ! <-> \"q\" 'q' + - ~ @ ( ) < >",
    "terminal": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "markup": "<script>alert(1)</script> &amp; ![x](y) `z`",
    "path": "../../etc/passwd\\..\\C:",
    "one long word": "x" * 70_000,
    "many lines": "line\n" * 10_000,
}

NUMBERS: dict[str, int | float] = {
    "smallest 32-bit": -(2**31),
    "beyond 32-bit": 2**31,
    "exact in a float": 2**53,
    "not exact in a float": 2**53 + 1,
    "smallest 64-bit": -(2**63),
    "largest 64-bit": 2**63 - 1,
    "beyond 64-bit": 2**63,
    "largest unsigned": 2**64 - 1,
    "beyond unsigned": 2**64,
    "forty digits": 10**39,
    "smallest float": 5e-324,
    "largest float": 1.7976931348623157e308,
    "a tenth": 0.1,
    "float of an integer": 1.0,
    "large float of an integer": 1e23,
    "negative zero": -0.0,
}

#: no JSON: refused, naming the path, before anything is written
NOT_JSON: dict[str, Any] = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "bytes": b"x",
    "a set": {1},
    "an object": object(),
    "a key that is a number": {1: 2},
}

#: all of them different ids, on every database
DISTINCT_IDS = (
    "a",
    "A",
    "á",
    "a\u0301",  # the same letter, decomposed
    "ａ",  # full width
    "ß",
    "ss",
    "ẞ",
    "i",
    "ı",
    "İ",
    "ǆ",
    "dž",
    "1",
    "01",
    "1.0",
    "a-b",
    "a‑b",  # a hyphen that does not break
    "a b",
    "a\u00a0b",
    "a\u200bb",  # a space without width
    "ab",
    "a%b",
    "a_b",
    "a'b",
    'a"b',
    "a\\b",
    "a/b",
    "../a",
    "con",
    "null",
    "😀",
    "x" * 255,
    "x" * 254 + "y",
    "é" * 255,
    "𝒳" * 255,
)

#: no ids: refused as `InvalidSessionId`
BAD_IDS = {
    "empty": "",
    "one too long": "x" * 256,
    "a space behind": "a ",
    "a space before": " a",
    "a tab behind": "a\t",
    "a wide space behind": "a\u3000",
    "a line end": "a\n",
    "nul": "a\0b",
    "escape": "a\x1bb",
    "delete": "a\x7fb",
    "a control of the second block": "a\x85b",
    "a lone surrogate": "a\ud800b",
}


def nested(levels: int, *, lists: bool = False) -> Any:
    """Return *levels* containers one inside the other, dictionaries or lists; 0 is the bare leaf."""
    value: Any = "leaf"
    for _ in range(levels):
        value = [value] if lists else {"in": value}
    return value


def cyclic() -> dict[str, Any]:
    """Return a dictionary that contains itself; refused."""
    value: dict[str, Any] = {}
    value["in"] = [value]
    return value


def ten_megabytes(seed: int = 1) -> str:
    """Return text of ten megabytes in UTF-8, of different words, so that an index has all of them to hold."""
    letters = "abcdefghijklmnopqrstuvwxyzäßñłжшの"
    table = {code: letters[code % len(letters)] if code % 8 else " " for code in range(256)}
    text = random.Random(seed).randbytes(TEN_MEGABYTES).decode("latin-1").translate(table)
    whole = text.encode()[:TEN_MEGABYTES].decode(errors="ignore")
    return whole + "." * (TEN_MEGABYTES - len(whole.encode()))
