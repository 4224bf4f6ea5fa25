"""What callers pass, checked and in one form: scopes, numbers, times, windows, sessions, filters; and the clock.

Both repositories and every backend work on these values, so that a wrong argument fails the same way everywhere,
before anything is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from chatstore.errors import Invalid, InvalidMessage, InvalidSessionId
from chatstore.ids import MAX_ID, id_fault, plain, remedy
from chatstore.strictjson import check_json, dump_checked, is_storable
from chatstore.words import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from chatstore.words import Query

PAGE_LIMIT = 1000
#: The highest position a loaded record may have, so that no counter of 64 bits can run over.
MAX_POSITION = 2**62
#: From here on every float is a whole number.
EXACT = 2.0**53
METADATA_DEPTH = 30
#: What one search may ask for; more of it some databases refuse, after seconds.
MAX_QUERY = 10_000
MAX_WORDS = 500
MAX_TYPES = 100
#: What no database holds, escaped in JSON text: an odd number of backslashes before the u.
_ESCAPED_UNSTORABLE = re.compile(r"(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])")


class _Unset:
    """The default of arguments for which None means something."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final[Any] = _Unset()


#: The library's clock: aware, UTC, microseconds.
utcnow: Final[Callable[[], datetime]] = partial(datetime.now, UTC)


def microseconds(moment: datetime) -> int:
    """Return *moment* as microseconds since 1970, exactly (a float would round them)."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


# ------------------------------------------------------------------------------------------------ ids

#: Matches what nearly every id is: ASCII that prints, without a space at either end. `id_fault` judges the others.
_usual: Final = re.compile(rf"[!-~](?:[ -~]{{0,{MAX_ID - 2}}}[!-~])?").fullmatch


def check_session_id(value: str) -> str:
    """Return *value* if it can be a session id, else raise `InvalidSessionId`."""
    if type(value) is str and _usual(value):
        return value
    if fault := id_fault(value):
        msg = f"the session id {fault}: {remedy(value)}"
        raise InvalidSessionId(msg)
    return value if type(value) is str else plain(value)


def check_owner_id(value: str | None, name: str) -> str | None:
    """Return *value* if it can be a tenant or user id (None: not given), else raise `Invalid`.

    Every entry point calls this, and compares with ``is None``: an empty id comes from a header or a variable that is
    not set, and must never mean "nobody" in one place and "everybody" in another.
    """
    if value == "":
        msg = f"{name} is empty (is a variable not set?): pass the owner's id, or leave it out for no owner"
        raise Invalid(msg)
    if value is None:
        return None
    if fault := id_fault(value):
        msg = f"{name} {fault}: {remedy(value)}"
        raise Invalid(msg)
    return plain(value)


# ------------------------------------------------------------------------------------------------ owners


class Scope(NamedTuple):
    """Whose sessions a repository sees: None in a field means any."""

    tenant_id: str | None = None
    user_id: str | None = None

    def sees(self, tenant_id: str | None, user_id: str | None) -> bool:
        """Tell whether a session of this owner is inside the scope."""
        return self.tenant_id in (None, tenant_id) and self.user_id in (None, user_id)

    def __bool__(self) -> bool:
        return self.tenant_id is not None or self.user_id is not None

    def narrowed(self, tenant_id: str | None, user_id: str | None) -> Scope:
        """Return the scope inside this one; raise `Invalid` where the two exclude each other."""
        if tenant_id is None and user_id is None:
            msg = "a scope needs an owner: pass a tenant_id or a user_id"
            raise Invalid(msg)
        return self.owning(check_owner_id(tenant_id, "tenant_id"), check_owner_id(user_id, "user_id"))

    def owning(self, tenant_id: str | None, user_id: str | None) -> Scope:
        """Return the owner of what is created here for these ids; raise `Invalid` if that is another scope's."""
        for mine, theirs, name in (
            (self.tenant_id, tenant_id, "tenant_id"),
            (self.user_id, user_id, "user_id"),
        ):
            if mine is not None and theirs is not None and mine != theirs:
                msg = f"{name} is outside this scope: use the repository without a scope"
                raise Invalid(msg)
        return Scope(tenant_id or self.tenant_id, user_id or self.user_id)


#: The scope of an unscoped repository, which sees every session.
EVERYBODY = Scope()


# ------------------------------------------------------------------------------------------------ numbers and times


def check_natural(value: int, name: str) -> int:
    """Return *value* if it is an int of 0 or more, else raise `Invalid`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        given = repr(value) if isinstance(value, int) else f"of type {type(value).__name__}"
        msg = f"{name} is {given}: pass an integer of 0 or more"
        raise Invalid(msg)
    return min(value, 2**63 - 1)


def check_page_limit(value: int) -> int:
    """Return *value* if it is 0 to 1,000, else raise `Invalid`."""
    if check_natural(value, "limit") > PAGE_LIMIT:
        msg = f"limit is at most {PAGE_LIMIT}: pass next_cursor as cursor to get more"
        raise Invalid(msg)
    return value


def check_time(value: datetime | None, name: str) -> datetime | None:
    """Return *value* in UTC; a naive datetime raises `Invalid`."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None or value.utcoffset() is None:
        msg = f"{name} must be an aware datetime: use datetime.now(UTC) or add tzinfo"
        raise Invalid(msg)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        msg = f"{name} is before the year 1 or after the year 9999 in UTC: pass a time in between"
        raise Invalid(msg) from None


class Window(NamedTuple):
    """Which messages of a session.

    Positions after *after* and before *before*, both exclusive; the newest *last* of them or the oldest *limit*.
    """

    last: int | None = None
    after: int | None = None
    before: int | None = None
    limit: int | None = None

    @property
    def empty(self) -> bool:
        """Tell whether no message can be inside."""
        return 0 in (self.last, self.limit, self.before)


EVERYTHING = Window()


def make_window(last: int | None, after: int | None, before: int | None, limit: int | None) -> Window:
    """Return the checked window; `Invalid` for a negative number, or *last* together with *limit*."""
    if last is None and after is None and before is None and limit is None:
        return EVERYTHING
    if last is not None and limit is not None:
        msg = "last counts from the newest message and limit from the oldest: pass only one of them"
        raise Invalid(msg)
    return Window(
        None if last is None else check_natural(last, "last"),
        None if after is None else check_natural(after, "after"),
        None if before is None else check_natural(before, "before"),
        None if limit is None else check_natural(limit, "limit"),
    )


def check_message_key(key: int | str) -> int | str:
    """Return *key* if it is a position (int) or a message id (str), else raise `Invalid`."""
    if not isinstance(key, str):
        return check_natural(key, "a message's position")
    if fault := id_fault(key):
        msg = f"the message id {fault}: pass a position, or an id that a message can have"
        raise Invalid(msg)
    return plain(key)


# ------------------------------------------------------------------------------------------------ session data


def check_title(value: str | None) -> str | None:
    """Return *value* if every database can hold it as text, else raise `Invalid`."""
    if value is not None and (not isinstance(value, str) or not is_storable(value)):
        msg = "a title must be text without NUL characters and lone surrogates: remove them"
        raise Invalid(msg)
    return None if value is None else plain(value)


def check_metadata(value: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of the app's *value* if every database can hold it as a JSON object, else raise `Invalid`."""
    if value is None:
        return {}
    try:
        if not isinstance(value, dict):
            msg = f"it is of type {type(value).__name__}: pass a dict"
            raise InvalidMessage(msg)
        check_json(value, "metadata", depth=METADATA_DEPTH)
        text = dump_checked(value).decode()
    except InvalidMessage as error:
        msg = f"metadata must be a JSON object: {error}"
        raise Invalid(msg) from None
    if _has_unstorable(text):
        msg = "metadata must not hold NUL characters or lone surrogates: remove them"
        raise Invalid(msg)
    copy: dict[str, Any] = _copied(text)
    return copy


def _has_unstorable(text: str) -> bool:
    """Tell whether some database cannot hold what the JSON *text* escapes; most text escapes nothing."""
    return "\\u" in text and bool(_ESCAPED_UNSTORABLE.search(text))


def _number(text: str) -> float:
    """Read 1e23 as the whole number it equals: JSONB would make 10**23 of it, which it does not equal."""
    value = float(text)
    return int(value) if abs(value) >= EXACT and value.is_integer() else value


_copied = json.JSONDecoder(parse_float=_number).decode


def check_name(value: str, name: str) -> str:
    """Return *value* if it can name a state, or a namespace of states, as an id can a session; else raise `Invalid`."""
    if fault := id_fault(value):
        msg = f"the {name} {fault}: pass 1 to {MAX_ID} characters, such as a word"
        raise Invalid(msg)
    return plain(value)


def check_names(namespace: str, keys: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """Return the checked *namespace* and *keys*, each once, in their order."""
    return check_name(namespace, "namespace"), tuple(sorted({check_name(key, "key") for key in keys}))


def check_state_revision(value: int | None, keys: Collection[str]) -> int | None:
    """Return the revision that one state must have; raise `Invalid` where there are several."""
    if value is not None and len(keys) != 1:
        msg = "expected_revision is that of one state: pass exactly one"
        raise Invalid(msg)
    return check_revision(value)


def check_states(given: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return the JSON text of each of the states *given*, by namespace and key; raise `Invalid` for bad ones."""
    if not all(isinstance(one, Mapping) for one in (given, *getattr(given, "values", tuple)())):
        msg = "states is no dict of dicts: pass values by their keys, by their namespaces"
        raise Invalid(msg)
    return {
        (check_name(namespace, "namespace"), check_name(key, "key")): _state_text(value)
        for namespace, values in given.items()
        for key, value in values.items()
    }


def _state_text(value: Any) -> str:
    try:
        check_json([value], "state", depth=METADATA_DEPTH)
        text = dump_checked(value).decode()
    except InvalidMessage as error:
        msg = f"a state must be JSON: {error}"
        raise Invalid(msg) from None
    if _has_unstorable(text) or not is_storable(text):
        msg = "a state must not hold NUL characters or lone surrogates: remove them"
        raise Invalid(msg)
    return text


class NewSession(NamedTuple):
    """A session as `create_session` is asked to make it; *owner* is the scope's where the caller named none."""

    session_id: str
    owner: Scope
    title: str | None
    metadata: dict[str, Any]
    expires_at: datetime | None


# ------------------------------------------------------------------------------------------------ search, usage, purge


SEARCH_ORDERS = ("best", "newest")


class SearchFilter(NamedTuple):
    """What to look for, in messages of these sessions, types and times (*until* is exclusive), and which come first."""

    query: Query
    session_id: str | None
    tenant_id: str | None
    user_id: str | None
    types: tuple[str, ...] | None
    since: datetime | None
    until: datetime | None
    limit: int
    order: Literal["best", "newest"]


def make_search_filter(
    query: str,
    *,
    session: str | None,
    tenant_id: str | None,
    user_id: str | None,
    types: Iterable[str] | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    order: str,
) -> SearchFilter:
    """Return the checked filter. Every string is a query; one that asks for no word finds nothing."""
    if not isinstance(query, str):
        msg = f"the query is of type {type(query).__name__}: pass text"
        raise Invalid(msg)
    if len(query) > MAX_QUERY:
        msg = f"the query has {len(query):,} characters: pass at most {MAX_QUERY:,}"
        raise Invalid(msg)
    asked = parse(query)
    if (count := sum(len(term.words) for term in (*asked.wanted, *asked.unwanted))) > MAX_WORDS:
        msg = f"the query has {count:,} different words: pass at most {MAX_WORDS}"
        raise Invalid(msg)
    if order not in SEARCH_ORDERS:
        msg = f"order is {order!r}: pass one of {', '.join(SEARCH_ORDERS)}"
        raise Invalid(msg)
    return SearchFilter(
        asked,
        None if session is None else check_session_id(session),
        check_owner_id(tenant_id, "tenant_id"),
        check_owner_id(user_id, "user_id"),
        None if types is None else _check_types(types),
        check_time(since, "since"),
        check_time(until, "until"),
        check_page_limit(limit),
        cast("Literal['best', 'newest']", order),
    )


def _check_types(types: Iterable[str]) -> tuple[str, ...]:
    """Return *types* once each; raise `Invalid` for what no message's type can be, and for too many."""
    if isinstance(types, str) or not hasattr(types, "__iter__"):
        msg = "types is no list: pass a list of message types, such as ['human', 'ai']"
        raise Invalid(msg)
    found: dict[str, None] = {}
    for one in types:
        if fault := id_fault(one):
            msg = f"one of the types {fault}: pass a list of message types, such as ['human', 'ai']"
            raise Invalid(msg)
        found[plain(one)] = None
        if len(found) > MAX_TYPES:
            msg = f"types has more than {MAX_TYPES} different types: pass fewer, or None for all"
            raise Invalid(msg)
    return tuple(found)


USAGE_KEYS = ("day", "model", "user_id", "tenant_id", "session_id")


class UsageFilter(NamedTuple):
    """What to count, by which keys, for whom and when (*until* is exclusive; days are UTC days)."""

    by: tuple[str, ...]
    tenant_id: str | None
    user_id: str | None
    since: datetime | None
    until: datetime | None


def make_usage_filter(
    by: Sequence[str],
    *,
    tenant_id: str | None,
    user_id: str | None,
    since: datetime | None,
    until: datetime | None,
) -> UsageFilter:
    """Return the checked filter; an unknown key raises `Invalid`."""
    known = (
        isinstance(by, tuple | list) and len(by) <= len(USAGE_KEYS) and all(key in USAGE_KEYS for key in by)
    )
    if not known or len(set(by)) != len(by):
        msg = f"by has an unknown or repeated key: pass a tuple of {', '.join(USAGE_KEYS)}, each at most once"
        raise Invalid(msg)
    return UsageFilter(
        tuple(map(plain, by)),
        check_owner_id(tenant_id, "tenant_id"),
        check_owner_id(user_id, "user_id"),
        check_time(since, "since"),
        check_time(until, "until"),
    )


class PurgeRule(NamedTuple):
    """Which sessions to delete: those that meet every condition."""

    updated_before: datetime | None
    archived_only: bool
    expired_only: bool
    dry_run: bool


def make_purge_rule(
    updated_before: datetime | None, *, archived_only: bool, expired_only: bool | None, dry_run: bool
) -> PurgeRule:
    """Return the checked rule; without conditions it selects the expired sessions."""
    if expired_only is None:
        expired_only = updated_before is None and not archived_only
    elif not expired_only and updated_before is None and not archived_only:
        msg = "this purge would delete everything: pass updated_before, archived_only or expired_only"
        raise Invalid(msg)
    return PurgeRule(check_time(updated_before, "updated_before"), archived_only, expired_only, dry_run)


def day_of(instant: datetime) -> date:
    """Return the UTC day of *instant*."""
    return instant.astimezone(UTC).date()


# ------------------------------------------------------------------------------------- sessions


def check_revision(revision: int | None) -> int | None:
    """Return the checked revision a caller expects (0: the session must not exist yet)."""
    return None if revision is None else check_natural(revision, "expected_revision")


def make_session(scope: Scope, session_id: str, given: Mapping[str, Any]) -> NewSession:
    """Return the checked session that `create_session` makes."""
    tenant_id = check_owner_id(given["tenant_id"], "tenant_id")
    user_id = check_owner_id(given["user_id"], "user_id")
    return NewSession(
        check_session_id(session_id),
        scope.owning(tenant_id, user_id),
        check_title(given["title"]),
        check_metadata(given["metadata"]),
        check_time(given["expires_at"], "expires_at"),
    )


def make_changes(scope: Scope, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked changes of `update_session`: what is left out stays, None clears."""
    changes = {name: value for name, value in given.items() if value is not UNSET}
    for name in ("tenant_id", "user_id"):
        if name in changes:
            if scope:
                msg = "a repository in a scope cannot change the owner: use the one without a scope"
                raise Invalid(msg)
            changes[name] = check_owner_id(changes[name], name)
    if "title" in changes:
        changes["title"] = check_title(changes["title"])
    if "metadata" in changes:
        changes["metadata"] = check_metadata(changes["metadata"])
    if "expires_at" in changes:
        changes["expires_at"] = check_time(changes["expires_at"], "expires_at")
    if "archived" in changes and not isinstance(changes["archived"], bool):
        msg = "archived must be True or False: pass one of them"
        raise Invalid(msg)
    return changes
