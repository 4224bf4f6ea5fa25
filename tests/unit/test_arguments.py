"""What callers pass is checked once, in one place: ids, keys, scopes, windows, times, filters and cursors."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chatstore
from chatstore import arguments, paging
from chatstore.arguments import EVERYTHING, UNSET, Scope, check_owner_id, check_session_id
from chatstore.errors import Invalid, InvalidCursor, InvalidSessionId
from chatstore.ids import session_key
from chatstore.records import NEWEST_FIRST, SESSION_ORDERS

NOW = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
keys = st.text(max_size=6) | st.text(alphabet="~/012 a\x00", max_size=6)


def nothing(**given: Any) -> Any:
    """Return a session filter of what is *given*."""
    wanted: dict[str, Any] = {
        "tenant_id": None,
        "user_id": None,
        "archived": False,
        "metadata": None,
        "updated_since": None,
    }
    return paging.make_session_filter(**{**wanted, **given})


# ------------------------------------------------------------------------------------------------ session_key


@given(st.lists(keys, min_size=1, max_size=4), st.lists(keys, min_size=1, max_size=4))
def test_different_parts_never_give_one_key(one: list[str], other: list[str]) -> None:
    """`session_key` is injective, whatever is in its parts, and always gives an id that can be used."""
    left, right = session_key(*one), session_key(*other)

    assert (one == other) == (left == right)
    assert left == check_session_id(left)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b"], ["a/b"]), (["a/", "b"], ["a", "/b"]), (["a~1b"], ["a/b"]), (["a~", "1"], ["a~1"]), ([""], ["", ""]),
        (["x" * 300], ["x" * 301]), (["x" * 200, "y" * 200], ["x" * 200 + "/" + "y" * 200]), ([" a"], ["a"]), (["a "], ["a"]),
        (["a\x00"], ["a\x01"]), (["a\x00"], ["a_"]), (["\ud800"], ["\ud801"]), (["A"], ["a"]), (["\xe9"], ["e\u0301"]),
    ],
    ids=repr,
)  # fmt: skip
def test_parts_that_look_alike_give_different_keys(one: list[str], other: list[str]) -> None:
    """Separators, escapes, length, outer space and control characters make no two keys one."""
    keys_of = [session_key(*one), session_key(*other)]

    assert 2 == len(set(keys_of))
    assert keys_of == [check_session_id(key) for key in keys_of]


def test_a_simple_key_is_readable() -> None:
    """Ordinary parts are joined by a slash; what had to be shortened still begins as it did."""
    assert "ada/42" == session_key("ada", "42")
    assert "ada" == session_key("ada")
    assert session_key("ada", "x" * 400).startswith("ada/xxx")
    assert 255 == len(session_key("ada", "x" * 400))


@pytest.mark.parametrize("parts", [(), (1,), ("a", None), (b"a",)], ids=repr)
def test_a_key_is_made_of_texts(parts: tuple[Any, ...]) -> None:
    """No parts, or parts that are not text, raise `InvalidSessionId`."""
    with pytest.raises(InvalidSessionId):
        session_key(*parts)


# ------------------------------------------------------------------------------------------------ ids and owners


@given(st.text(min_size=1, max_size=300))
def test_an_id_is_kept_as_it_is_or_refused(value: str) -> None:
    """An id is never trimmed, folded or cut: it comes back the same, or raises."""
    control = any(ord(character) < 32 or 127 <= ord(character) < 160 for character in value)
    surrogate = any("\ud800" <= character <= "\udfff" for character in value)
    if len(value) > 255 or control or surrogate or value != value.strip():
        with pytest.raises(InvalidSessionId):
            check_session_id(value)
    else:
        assert value == check_session_id(value) == check_owner_id(value, "user_id")


def test_errors_about_ids_do_not_repeat_them() -> None:
    """An id may be somebody's name: the error says what is wrong with it, not what it is."""
    with pytest.raises(InvalidSessionId) as caught:
        check_session_id("secret\n")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (Scope(), ["tu", "t-", "-u", "--", "TU"]),
        (Scope("t"), ["tu", "t-"]),
        (Scope(None, "u"), ["tu", "-u"]),
        (Scope("t", "u"), ["tu"]),
        (Scope("x"), []),
    ],
    ids=repr,
)
def test_what_a_scope_sees(scope: Scope, seen: list[str]) -> None:
    """A scope sees the sessions whose owner agrees in everything it names; nobody's are in none."""
    owners = {"tu": ("t", "u"), "t-": ("t", None), "-u": (None, "u"), "--": (None, None), "TU": ("T", "U")}

    assert seen == [name for name, owner in owners.items() if scope.sees(*owner)]
    assert bool(scope) == (scope != Scope())


def test_scopes_only_narrow() -> None:
    """A scope in a scope joins both; one that contradicts, or names nobody, is `Invalid`."""
    assert Scope("t", "u") == Scope("t").narrowed(None, "u") == Scope(None, "u").narrowed("t", None)
    assert Scope("t", "u") == Scope("t", "u").narrowed("t", "u")
    for outer, contrary in (
        (Scope("t"), ("T", None)),
        (Scope("t", "u"), (None, "v")),
        (Scope(), (None, None)),
    ):
        with pytest.raises(Invalid):
            outer.narrowed(*contrary)


# ------------------------------------------------------------------------------------------------ numbers and times


@pytest.mark.parametrize("value", [-1, True, False, 1.0, "1", None, [1]], ids=repr)
def test_a_count_is_a_natural_number(value: Any) -> None:
    """Everything but an int of 0 or more is `Invalid`, a bool too, and the error names the argument."""
    with pytest.raises(Invalid, match="last"):
        arguments.check_natural(value, "last")


def test_a_count_fits_into_a_database() -> None:
    """A number above 63 bits means the same as the greatest one."""
    assert [0, 7, 2**63 - 1, 2**63 - 1] == [
        arguments.check_natural(value, "n") for value in (0, 7, 2**63 - 1, 2**70)
    ]


def test_moments_are_aware_and_become_utc() -> None:
    """A moment keeps its instant; a naive one, something else, or one outside of the years 1 to 9999 is `Invalid`."""
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    assert NOW == arguments.check_time(NOW.astimezone(kathmandu), "since")
    assert UTC == getattr(arguments.check_time(NOW.astimezone(kathmandu), "since"), "tzinfo", None)
    assert arguments.check_time(None, "since") is None
    behind, ahead = timezone(timedelta(hours=-12)), timezone(timedelta(hours=12))
    last, first = datetime.max.replace(tzinfo=behind), datetime.min.replace(tzinfo=ahead)
    for wrong in (NOW.replace(tzinfo=None), "2026-01-01", 5, NOW.date(), last, first):
        with pytest.raises(Invalid, match="since"):
            arguments.check_time(wrong, "since")  # type: ignore[arg-type]


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_are_exact(moment: datetime) -> None:
    """No microsecond is lost in any year, as it would be in a float."""
    assert moment == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=arguments.microseconds(moment))


def test_the_clock_is_aware() -> None:
    """The library's clock is UTC; the day of an instant is its UTC day."""
    assert UTC == arguments.utcnow().tzinfo
    late = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert date(2025, 12, 31) == arguments.day_of(late)


def test_a_window_that_asks_for_all_is_one_value() -> None:
    """The common case costs nothing, and every window says whether it can hold anything."""
    assert arguments.make_window(None, None, None, None) is EVERYTHING
    assert (3, 1, 9, None) == tuple(arguments.make_window(3, 1, 9, None))
    empty = [(0, None, None, None), (None, None, None, 0), (None, None, 0, None)]
    assert [True] * 3 == [arguments.make_window(*given).empty for given in empty]
    assert not arguments.make_window(1, 0, 1, None).empty
    with pytest.raises(Invalid):
        arguments.make_window(1, None, None, 1)


# ------------------------------------------------------------------------------------------------ session data


def test_metadata_is_copied_and_strict() -> None:
    """What is kept is a copy, equal to what was passed; None is an empty object."""
    given_object: dict[str, Any] = {"list": [1, {"a": None}], "": "", "\\u0000": "\\ud800"}
    kept = arguments.check_metadata(given_object)
    given_object["list"].append(2)

    assert {"list": [1, {"a": None}], "": "", "\\u0000": "\\ud800"} == kept
    assert {} == arguments.check_metadata(None)


@pytest.mark.parametrize(
    "value",
    [[], "x", 5, {1: 2}, {"v": float("nan")}, {"v": "\x00"}, {"\ud800": 1}, {"v": ["\udfff"]}, {"v": b"x"}, {"v": {1}},
     {"v": "\\\x00"}],
    ids=repr,
)  # fmt: skip
def test_metadata_that_no_database_can_hold_is_refused(value: Any) -> None:
    """What is not a JSON object, or holds NUL or lone surrogates, is `Invalid`."""
    with pytest.raises(Invalid):
        arguments.check_metadata(value)


def test_metadata_is_not_nested_deeply() -> None:
    """Thirty levels are kept, thirty-one refused: MariaDB's functions read no more."""
    deep: Any = "core"
    for _ in range(30):
        deep = {"k": deep}

    assert deep == arguments.check_metadata(deep)
    with pytest.raises(Invalid):
        arguments.check_metadata({"k": deep})


def test_unset_shows_itself() -> None:
    """The default that is not None reads well in signatures."""
    assert "UNSET" == repr(UNSET)


# ------------------------------------------------------------------------------------------------ cursors

moments = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants it naive


@given(
    moments,
    st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=40),
)
def test_a_cursor_holds_its_key(moment: datetime, session: str) -> None:
    """A cursor comes back as the key it was made of, and is text that fits into a URL."""
    cursor = paging.encode_cursor((moment, session), "digest")

    assert (moment, session) == paging.decode_cursor(cursor, "digest")
    assert cursor.isascii()
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.text(max_size=40) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_text_is_a_cursor_by_chance(text: str) -> None:
    """Whatever `cursor` did not make raises `InvalidCursor`, and nothing else."""
    with pytest.raises(InvalidCursor):
        paging.decode_cursor(text, "digest")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=5),
    max_leaves=8,
)


@given(json_values | st.tuples(st.just(1), st.just("digest"), json_values, json_values))
def test_a_cursor_with_other_insides_is_refused_or_a_key(value: Any) -> None:
    """JSON of any shape in the place of a cursor's raises `InvalidCursor`, or is a key that can be used."""
    text = base64.urlsafe_b64encode(json.dumps(value).encode("utf-8", "surrogatepass")).decode().rstrip("=")
    try:
        found = paging.decode_cursor(text, "digest")
    except InvalidCursor:
        return
    assert found is not None
    assert UTC == found[0].tzinfo
    assert found[1] == check_session_id(found[1])


def test_a_cursor_is_for_its_filters() -> None:
    """Another digest raises `InvalidCursor`; None is the first page."""
    with pytest.raises(InvalidCursor, match="filters"):
        paging.decode_cursor(paging.encode_cursor((NOW, "s"), "one"), "other")
    assert paging.decode_cursor(None, "one") is None


def test_every_filter_and_scope_has_a_digest_of_its_own() -> None:
    """Filters that differ in anything, 1 and True and "1" included, never share a cursor; the order of keys is nothing."""
    filters = [
        nothing(), nothing(archived=True), nothing(archived=None), nothing(user_id="u"), nothing(tenant_id="u"),
        nothing(metadata={"k": 1}), nothing(metadata={"k": True}), nothing(metadata={"k": "1"}), nothing(metadata={"k": None}),
        nothing(updated_since=NOW), nothing(updated_since=NOW + timedelta(microseconds=1)),
    ]  # fmt: skip
    scopes = [Scope(), Scope("u"), Scope(None, "u"), Scope("u", "u")]
    kinds = [(chosen, scope, order) for chosen in filters for scope in scopes for order in SESSION_ORDERS]
    digests = [chosen.digest(scope, order) for chosen, scope, order in kinds]

    assert len(kinds) == len(set(digests))
    one, other = nothing(metadata={"a": 1, "b": 2}), nothing(metadata={"b": 2, "a": 1})
    assert one.digest(Scope(), NEWEST_FIRST) == other.digest(Scope(), NEWEST_FIRST)


# ------------------------------------------------------------------------------------------------ search, usage, purge


@pytest.mark.parametrize("by", ["day", ("week",), ("day", "day"), ("day", "DAY")], ids=repr)
def test_usage_takes_known_keys_once(by: Any) -> None:
    """An unknown or repeated key, or a bare text, is `Invalid`."""
    with pytest.raises(Invalid, match="day, model, user_id, tenant_id, session_id"):
        arguments.make_usage_filter(by, tenant_id=None, user_id=None, since=None, until=None)


@pytest.mark.parametrize(
    ("updated_before", "archived_only", "expired_only", "only_expired_go"),
    [
        (None, False, None, True),
        (NOW, False, None, False),
        (None, True, None, False),
        (NOW, True, None, False),
        (NOW, True, True, True),
        (NOW, False, False, False),
    ],
)
def test_what_a_purge_without_conditions_takes(
    updated_before: datetime | None, archived_only: bool, expired_only: bool | None, only_expired_go: bool
) -> None:
    """Without a condition only expired sessions go; with one, expiry counts only where it is asked for."""
    rule = arguments.make_purge_rule(
        updated_before, archived_only=archived_only, expired_only=expired_only, dry_run=False
    )

    assert only_expired_go == rule.expired_only


def test_a_purge_of_everything_is_refused() -> None:
    """To say that no condition is meant is `Invalid`: everything would go."""
    with pytest.raises(Invalid):
        arguments.make_purge_rule(None, archived_only=False, expired_only=False, dry_run=True)


# ------------------------------------------------------------------------------------------------ metadata that is stored


@pytest.mark.parametrize("text", [r"\u0000", r"\ud800", r"\\u0000 \\", "back\\slash"])
def test_a_backslash_in_metadata_is_a_backslash(text: str) -> None:
    """Text that only looks like an escaped NUL or surrogate is stored."""
    with chatstore.connect("memory:") as repository:
        repository.create_session("s", metadata={"a": text, text: "b"})
        assert {"a": text, text: "b"} == repository.get_session("s").metadata


@pytest.mark.parametrize("text", ["\0", "\\\0", "\ud800", "\\\ud800"])
def test_what_no_database_holds_is_refused_in_metadata(text: str) -> None:
    """NUL and lone surrogates are refused, behind a backslash too."""
    with chatstore.connect("memory:") as repository, pytest.raises(Invalid):
        repository.create_session("s", metadata={"a": text})
