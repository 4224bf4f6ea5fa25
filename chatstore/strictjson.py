"""JSON without surprises: what is written comes back equal, or is refused with the path of the fault.

It knows what JSON can hold, what of that some database refuses, and how to name a place in a value. No error
repeats a value; a path shows keys, and shortens long ones.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode, b64encode
from typing import Any, Final, NoReturn

from pydantic_core import from_json, to_json

from chatstore.errors import InvalidMessage

#: Levels of nesting in the value of a field: what is stored at all, and what MariaDB's JSON functions read.
MAX_DEPTH: Final = 100
PLAIN_DEPTH: Final = 30
#: What exports and files may put around a message.
WRAPPING: Final = 8
#: Python reads integers of at most 4,300 digits; MySQL refuses JSON with an integer that no double can hold.
MAX_INT: Final = 10**4300
MAX_PLAIN_INT: Final = 10**308

Path = tuple[Any, Any]  # the path of the container and the key in it; (None, name) at the root

_EASY: Final = frozenset({str, bool, type(None)})


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        msg = "a number is larger than any double: write it as text"
        raise ValueError(msg)
    return value


def _refuse(name: str) -> NoReturn:
    msg = f"{name} is not a JSON number: write null or text"
    raise ValueError(msg)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        msg = "an object has the same key twice: keep one of them"
        raise ValueError(msg)
    return result


_STRICT: Final[dict[str, Any]] = {"parse_float": _finite, "parse_constant": _refuse}
_decode = json.JSONDecoder(**_STRICT).decode
_decode_unique = json.JSONDecoder(**_STRICT, object_pairs_hook=_unique).decode
_EXACT: Final[dict[str, Any]] = {"allow_nan": False, "check_circular": False, "separators": (",", ":")}
_escaped = json.JSONEncoder(**_EXACT).encode
_raw = json.JSONEncoder(**_EXACT, ensure_ascii=False).encode
_sorted = json.JSONEncoder(**_EXACT, ensure_ascii=False, sort_keys=True).encode
#: Two characters which every JSON reader would join to one.
_PAIR: Final = (
    "[\ud800-\udbff][\udc00-\udfff]"  # compiled at its first use: few need it, and it takes a while
)
_COATED: Final = "base64:"


def loads(text: str | bytes, *, unique_keys: bool = False) -> Any:
    """Return the value of the JSON *text* (bytes are UTF-8; a byte order mark is skipped).

    Raises `InvalidMessage`, with line and column but never the text, for what is not strict JSON: NaN,
    Infinity, numbers that overflow and, where *unique_keys* is true (files of other programs), a key twice in
    an object.
    """
    try:
        if not isinstance(text, str):
            text = str(text, "utf-8")
        return (_decode_unique if unique_keys else _decode)(text.removeprefix("\ufeff"))
    except RecursionError:
        msg = f"the JSON is nested too deeply: at most {MAX_DEPTH} levels can be stored"
    except UnicodeDecodeError as error:
        msg = f"the JSON is not UTF-8 at byte {error.start}: convert it to UTF-8"
    except json.JSONDecodeError as error:
        msg = f"this is not JSON: {error.msg} (line {error.lineno}, column {error.colno}): correct it there"
    except ValueError as error:
        fault = "an integer has too many digits: write it as text" if "digits" in str(error) else error
        msg = f"this is not strict JSON: {fault}"
    raise InvalidMessage(msg) from None


def dumps(value: Any) -> str:
    """Return *value* as compact JSON that UTF-8 can encode.

    Raises `InvalidMessage`, with the path, for what would not come back equal.
    """
    check_json(value, "data", depth=MAX_DEPTH + WRAPPING)
    return dump_checked(value).decode()


def dump_checked(value: Any) -> bytes:
    """As `dumps`, in UTF-8, for a *value* that is known to be JSON: only its text can still be refused."""
    try:
        return to_json(value)
    except ValueError:  # a lone surrogate
        if re.search(_PAIR, _raw(value)):
            msg = "data has text with a character written as two surrogates: write the character itself"
            raise InvalidMessage(msg) from None
        return _escaped(value).encode()


def canonical(value: Any) -> str:
    """Return the same text for equal values, whatever the order of keys; 1, 1.0 and true differ."""
    return _sorted(value)


def pack(data: dict[str, Any]) -> str:
    """Return the object *data* as JSON text that every database can hold and read.

    Where the plain form cannot be held (NUL, lone surrogates, nesting, huge integers) this is the marked
    form, one JSON string, whose text is the object in ASCII. Raises `InvalidMessage` with the path of what is
    not JSON.
    """
    if _survey(data, (None, "data"), MAX_DEPTH):
        try:
            text = to_json(data).decode()
        except ValueError:  # a lone surrogate
            return _marked(data)
        if "\\u0000" not in text:
            return text
    return _marked(data)


def _marked(data: dict[str, Any]) -> str:
    raw = _raw(data)
    if re.search(_PAIR, raw):  # escapes of the two would be read as one character
        return _escaped(_COATED + b64encode(raw.encode("utf-8", "surrogatepass")).decode())
    return _escaped(_escaped(data))


def unpack(payload: str | bytes) -> dict[str, Any]:
    """Return the object that `pack` wrote; raise `InvalidMessage` for anything else."""
    try:
        value = from_json(payload, allow_inf_nan=False)
    except ValueError:
        value = loads(payload)
    if isinstance(value, str):
        value = loads(_uncoated(value))
    if not isinstance(value, dict):
        msg = "it is not a JSON object"
        raise InvalidMessage(msg)
    return value


def _uncoated(text: str) -> str:
    if not text.startswith(_COATED):
        return text
    try:
        return b64decode(text.removeprefix(_COATED), validate=True).decode("utf-8", "surrogatepass")
    except ValueError:
        msg = "its marked form is damaged"
        raise InvalidMessage(msg) from None


def is_storable(text: str) -> bool:
    """Tell whether every database can hold *text* as it is: without NUL and lone surrogates."""
    if "\0" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())  # ten times faster than a search for surrogates
    except UnicodeEncodeError:
        return False


def readable(text: str) -> str:
    """Return *text* with a mark in the place of what some database cannot hold."""
    return text if is_storable(text) else re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


def check_json(value: Any, path: str, *, depth: int = MAX_DEPTH) -> None:
    """Raise `InvalidMessage`, with the path, unless JSON of at most *depth* levels gives *value* back."""
    _survey([value], (None, path), depth)


def _survey(values: list[Any] | dict[str, Any], root: Path, depth: int) -> bool:
    """Check the items of *values*; return whether their nesting and integers allow the plain form.

    A stack and not recursion: a cycle ends at *depth*. A list given here is a wrapper: its index is no path.
    """
    plain = True
    stack: list[tuple[Any, Path, int]] = [(values, root, 0)]
    while stack:
        node, at, level = stack.pop()
        if level > depth:
            _reject(root, f"is nested more than {depth} levels deep (or contains itself)", "flatten it")
        if level > PLAIN_DEPTH:
            plain = False
        keyed = isinstance(node, dict)
        for key, item in node.items() if keyed else enumerate(node):
            if keyed and type(key) is not str and not isinstance(key, str):
                _reject(at, f"has a key of type {type(key).__name__}", "use text for keys")
            kind = type(item)
            if kind in _EASY or (kind is int and -MAX_PLAIN_INT < item < MAX_PLAIN_INT):
                continue
            here = (at, key) if keyed or level else root
            if isinstance(item, (dict, list)):
                stack.append((item, here, level + 1))
            elif not _is_plain_scalar(item, here):
                plain = False
    return plain


def _is_plain_scalar(item: Any, at: Path) -> bool:
    if isinstance(item, int):
        if not -MAX_INT < item < MAX_INT:
            _reject(at, "is an integer of more than 4,300 digits", "write it as text")
        return -MAX_PLAIN_INT < item < MAX_PLAIN_INT
    if isinstance(item, float):
        if not math.isfinite(item):
            _reject(at, f"is {item}, which JSON does not have", "use None or text")
    elif not isinstance(item, str):
        advice = "pass text, numbers, booleans, None, lists and dicts"
        _reject(at, f"is of type {type(item).__name__}, which JSON does not have", advice)
    return True


def _reject(at: Path, fault: str, advice: str) -> NoReturn:
    msg = f"{path_text(at)} {fault}: {advice}"
    raise InvalidMessage(msg)


def path_text(at: Path) -> str:
    """Write a path as in ``data.artifact.scores[3]``; odd keys are quoted, long ones cut."""
    parts: list[str] = []
    while at[0] is not None:
        at, key = at
        if isinstance(key, int):
            parts.append(f"[{key}]")
        elif key.isidentifier() and key.isascii() and len(key) <= _SHOWN:
            parts.append(f".{key}")
        else:
            parts.append(f"[{json.dumps(key[:_SHOWN])}]")
    return "".join([str(at[1]), *reversed(parts)])


_SHOWN: Final = 40
