"""Strict JSON: equal on the way back, or refused with the path."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstore.errors import InvalidMessage
from chatstore.strictjson import canonical, check_json, dumps, is_storable, loads, pack, unpack

ANY_TEXT = st.text(st.characters(exclude_categories=()))
HOSTILE = st.text(st.sampled_from("\0\\u0d8\ud83d\ude00\ud800\udfff😀\"'\n\r\u2028\ufeff\uffff"))
TEXT = ANY_TEXT | HOSTILE
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([-0.0, 5e-324, 10**400])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


class Level(IntEnum):
    """An int that is more than an int."""

    HIGH = 2


def nested(levels: int, of: type = list) -> Any:
    """Return *levels* containers, one in the other."""
    value: Any = of()
    for _ in range(levels - 1):
        value = [value] if of is list else {"k": value}
    return value


def paired(text: str) -> bool:
    """Tell whether *text* has one character written as two surrogates."""
    return re.search("[\ud800-\udbff][\udc00-\udfff]", text) is not None


# ---- the two forms


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_every_object_survives_packing(data: dict[str, Any]) -> None:
    """Whatever JSON can say, and any Python text, comes back identical, types and key order included."""
    assert repr(data) == repr(unpack(pack(data)))


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_packed_text_is_json_that_every_database_takes(data: dict[str, Any]) -> None:
    """It is UTF-8, strict JSON, without an escaped NUL or surrogate that a reader would trip over."""
    payload = pack(data)
    payload.encode()
    plain = loads(payload)
    if isinstance(plain, str):
        assert payload.isascii()
        assert plain.isascii()
    else:
        assert data == plain
        assert "\\u0000" not in payload
        assert not re.search(r"(?<!\\)(\\\\)*\\u[dD][89a-fA-F]", payload)


@given(JSON)
def test_dumps_and_loads_are_exact(value: Any) -> None:
    """`loads(dumps(x))` is x, and the text can be written as UTF-8; pairs of surrogates are refused."""
    if paired(json.dumps(value, ensure_ascii=False)):
        with pytest.raises(InvalidMessage, match="two surrogates"):
            dumps(value)
    else:
        text = dumps(value)
        text.encode()
        assert repr(value) == repr(loads(text)) == repr(loads(text.encode(), unique_keys=True))


def test_plain_objects_stay_readable() -> None:
    """What databases can hold is compact JSON with its text as it is."""
    assert '{"naïve":["😀",1,2.5,true,null]}' == pack({"naïve": ["😀", 1, 2.5, True, None]})


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        (r'"{\"a\":\"x\\u0000\"}"', {"a": "x\0"}),
        (r'"{\"\\ud800\":1}"', {"\ud800": 1}),
        (r'"base64:eyJhIjoi7aC97biAIn0="', {"a": "\ud83d\ude00"}),
    ],
)
def test_the_marked_form_is_a_json_string(expected: str, data: dict[str, Any]) -> None:
    """NUL and lone surrogates are escaped once more; what escapes cannot tell apart is wrapped entirely."""
    assert expected == pack(data)
    assert data == unpack(expected) == unpack(expected.encode())


@pytest.mark.parametrize(("levels", "mark"), [(1, "{"), (30, "{"), (31, '"'), (100, '"')])
@pytest.mark.parametrize("of", [list, dict])
def test_deep_nesting_is_marked(levels: int, mark: str, of: type) -> None:
    """Thirty levels are left to the database's functions, up to a hundred are stored for us alone."""
    data = {"artifact": nested(levels, of)}
    payload = pack(data)
    assert mark == payload[0]
    assert data == unpack(payload)


@pytest.mark.parametrize(("number", "mark"), [(10**308 - 1, "{"), (10**308, '"'), (-(10**4300) + 1, '"')])
def test_integers_beyond_doubles_are_marked(number: int, mark: str) -> None:
    """MySQL refuses JSON with a number that no double can hold, so it never sees one."""
    payload = pack({"n": number})
    assert (mark, {"n": number}) == (payload[0], unpack(payload))


def test_subclasses_of_json_types_come_back_equal() -> None:
    """Numbers, texts and containers of derived classes are what they are equal to."""

    class Text(str):
        __slots__ = ()

    class Bag(dict[Any, Any]):
        pass

    data = Bag({Text("k"): [Text("v"), Level.HIGH, True]})
    assert '{"k":["v",2,true]}' == pack(data) == dumps(data)


# ---- what is refused


CYCLE: list[Any] = []
CYCLE.extend([CYCLE, CYCLE])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.artifact is of type tuple", (1,)),
        ("data.artifact is of type bytes", b"x"),
        ("data.artifact is of type datetime", datetime(2024, 1, 1, tzinfo=UTC)),
        ("data.artifact is of type Decimal", Decimal(1)),
        ("data.artifact is of type set", {1}),
        ("data.artifact is nan", float("nan")),
        ("data.artifact.scores[3] is inf", {"scores": [1, 2, 3, float("inf")]}),
        ("data.artifact.scores[1].x is of type tuple", {"scores": [1, {"x": ()}]}),
        ('data.artifact["two words"] is -inf', {"two words": float("-inf")}),
        ("data.artifact has a key of type int", {1: 2}),
        ("data.artifact.a has a key of type NoneType", {"a": {None: 2}}),
        ("data.artifact is an integer of more than 4,300 digits", 10**4300),
        ("data.artifact[0] is of type object", [object()]),
        ("data is nested more than 100 levels", nested(101)),
        ("data is nested more than 100 levels", nested(50_000)),
        ("data is nested more than 100 levels", CYCLE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_json_is_refused_with_its_path(path: str, value: Any) -> None:
    """Nothing is written in another form than it was given; the error names the place and what to do."""
    with pytest.raises(InvalidMessage) as raised:
        pack({"artifact": value})
    assert str(raised.value).startswith(path)
    assert ": " in str(raised.value)


def test_dumps_refuses_the_same_and_leaves_room_for_wrapping() -> None:
    """A message of a hundred levels fits into the objects and lists that files put around it."""
    for value in ({"a": ()}, {"a": float("nan")}, {1: 2}, CYCLE, nested(109)):
        with pytest.raises(InvalidMessage):
            dumps(value)
    assert "[" * 108 + "]" * 108 == dumps(nested(108))


def test_paths_show_short_keys_only() -> None:
    """A key may be somebody's text, so a path shows forty characters of it."""
    with pytest.raises(InvalidMessage) as raised:
        pack({"k" * 500: ()})
    assert 150 > len(str(raised.value))


def test_check_json_counts_the_value_itself() -> None:
    """A depth of 2 takes an object in an object, and no third; scalars have no depth."""
    check_json({"a": {}}, "metadata", depth=2)
    check_json("x", "metadata", depth=0)
    with pytest.raises(InvalidMessage, match=r"^metadata is nested more than 2 levels"):
        check_json({"a": {"b": []}}, "metadata", depth=2)
    with pytest.raises(InvalidMessage, match=r"^metadata is of type tuple"):
        check_json((), "metadata")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("NaN is not a JSON number", "[NaN]"),
        ("-Infinity is not a JSON number", '{"a": -Infinity}'),
        ("larger than any double", "1e400"),
        ("too many digits", "1" * 5000),
        ("nested too deeply", "[" * 200_000),
        ("line 2, column 1", "[1,\n"),
        ("Extra data", "1 2"),
        ("not UTF-8 at byte 1", b'"\xff"'),
        ("not JSON", ""),
        ("not JSON", "'a'"),
    ],
)
def test_loads_refuses_what_is_not_strict(fault: str, text: str | bytes) -> None:
    """Each fault is named, with the place where there is one."""
    with pytest.raises(InvalidMessage, match=fault):
        loads(text)


def test_loads_never_repeats_the_text() -> None:
    """What the file says is in no error, nor in what hangs on it."""
    secret = "the parrot sold the submarine"
    for text in (f'["{secret}', f'{{"{secret}": NaN}}', f"[{secret}]"):
        with pytest.raises(InvalidMessage) as raised:
            loads(text)
        assert secret not in str(raised.value)
        assert raised.value.__cause__ is None


def test_repeated_keys_are_refused_on_request() -> None:
    """Other programs' files must not lose a value to a repeated key; nested objects count too."""
    assert {"a": 2} == loads('{"a": 1, "a": 2}')
    with pytest.raises(InvalidMessage, match="same key twice"):
        loads('[{"a": 1, "a": 2}]', unique_keys=True)


def test_a_byte_order_mark_is_skipped() -> None:
    """Files saved by some editors begin with one."""
    assert [1] == loads("\ufeff[1]") == loads(b"\xef\xbb\xbf[1]")


@pytest.mark.parametrize(
    "payload", ["", "[]", "5", "null", '"x"', '"[]"', '"base64:!"', '"base64:/w=="', '{"a":', b"\xff"]
)
def test_unpack_takes_objects_only(payload: str | bytes) -> None:
    """A damaged payload is an error, not a guess."""
    with pytest.raises(InvalidMessage):
        unpack(payload)


def test_unpack_reads_what_others_escaped() -> None:
    """A lone surrogate that another program escaped in plain JSON is read as it is."""
    assert {"a": "\ud800"} == unpack(r'{"a":"\ud800"}')


# ---- small laws


def test_canonical_tells_types_apart() -> None:
    """Equal as JSON means equal types; the order of keys does not count."""
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    assert 4 == len({canonical(value) for value in (1, 1.0, True, "1")})
    assert canonical("😀") != canonical("\ud83d\ude00")


@pytest.mark.parametrize(
    ("expected", "text"), [(True, ""), (True, "naïve 😀\n"), (False, "a\0"), (False, "\udfff")]
)
def test_storable_text(expected: bool, text: str) -> None:
    """NUL and surrogates are what databases refuse."""
    assert expected is is_storable(text)
