"""Lists of sessions: which are asked for, in what order, and where a page ends and the next one begins.

Both repositories and every backend work on these values; `chatstore.arguments` has the checks of what is in them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from chatstore.arguments import (
    PAGE_LIMIT,
    check_metadata,
    check_owner_id,
    check_page_limit,
    check_session_id,
    check_time,
    microseconds,
)
from chatstore.errors import Invalid, InvalidCursor
from chatstore.records import NEWEST_FIRST, SESSION_ORDERS, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chatstore.arguments import Scope
    from chatstore.records import ChatSession, SessionOrder

#: Keys of metadata that one list may filter by; more of them some databases refuse, after seconds.
MAX_KEYS = 100


class SessionFilter(NamedTuple):
    """Which sessions a list shows. *archived* None shows both kinds."""

    tenant_id: str | None = None
    user_id: str | None = None
    archived: bool | None = False
    metadata: tuple[tuple[str, Any], ...] = ()
    updated_since: datetime | None = None
    forked_from: str | None = None

    def digest(self, scope: Scope, order: SessionOrder) -> str:
        """Return what a cursor must carry, so that it is refused beside other filters, or in another order."""
        told = [
            scope.tenant_id,
            scope.user_id,
            self.tenant_id,
            self.user_id,
            self.archived,
            self.metadata,
            self.updated_since,
        ]
        if self.forked_from is not None:  # so that a cursor of before stays one
            told.append(self.forked_from)
        if order != NEWEST_FIRST:
            told.append(order)
        from hashlib import sha256

        return sha256(json.dumps(told, default=str, sort_keys=True).encode()).hexdigest()[:16]


def make_session_filter(
    *,
    tenant_id: str | None,
    user_id: str | None,
    archived: bool | None,
    metadata: Mapping[str, Any] | None,
    updated_since: datetime | None,
    forked_from: str | None = None,
) -> SessionFilter:
    """Return the checked filter; *metadata* holds top-level keys and the scalar each must equal."""
    wanted = check_metadata(metadata)
    if len(wanted) > MAX_KEYS:
        msg = f"metadata has {len(wanted):,} keys to filter by: pass at most {MAX_KEYS}"
        raise Invalid(msg)
    for key, value in wanted.items():
        if not isinstance(value, str | int | float | bool | None):
            msg = f"metadata[{key!r}] must be a string, number, boolean or None: pass one of these"
            raise Invalid(msg)
    if not isinstance(archived, bool | None):
        msg = "archived must be True (only archived), False (without them) or None (both): pass one of these"
        raise Invalid(msg)
    return SessionFilter(
        check_owner_id(tenant_id, "tenant_id"),
        check_owner_id(user_id, "user_id"),
        archived,
        tuple(sorted(wanted.items())),
        check_time(updated_since, "updated_since"),
        None if forked_from is None else check_session_id(forked_from),
    )


def check_order(value: str) -> SessionOrder:
    """Return *value* if a list can have that order, else raise `Invalid`."""
    if value not in SESSION_ORDERS:
        msg = f"order is {value!r}: pass one of {', '.join(SESSION_ORDERS)}"
        raise Invalid(msg)
    return cast("SessionOrder", value)


def check_list_limit(value: int) -> int:
    """Return *value* if it is 1 to 1,000, else raise `Invalid`: a page of nothing would look like the last one."""
    if check_page_limit(value) == 0:
        msg = f"limit is 0, and a page of nothing has no next one: pass a number from 1 to {PAGE_LIMIT}"
        raise Invalid(msg)
    return value


# ------------------------------------------------------------------------------------------------ pages


_CURSOR_VERSION = 1
Keyset = tuple[datetime, str]


def encode_cursor(key: Keyset, digest: str) -> str:
    """Return the opaque, versioned form of the last row of a page."""
    text = json.dumps([_CURSOR_VERSION, digest, microseconds(key[0]), key[1]], separators=(",", ":"))
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(value: str | None, digest: str) -> Keyset | None:
    """Return where a page begins; raise `InvalidCursor` for anything but a cursor of these filters."""
    if value is None:
        return None
    from base64 import b64decode

    try:
        padded = value.encode("ascii") + b"=" * (-len(value) % 4)
        version, made_for, micros, last_id = json.loads(b64decode(padded, altchars=b"-_", validate=True))
        seconds, micro = divmod(int(micros), 1_000_000)
        updated_at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro)
        check_session_id(last_id)
    except (ValueError, TypeError, AttributeError, OverflowError, OSError, RecursionError):
        msg = "the cursor is malformed: pass a page's next_cursor unchanged, or none for the first page"
        raise InvalidCursor(msg) from None
    if version != _CURSOR_VERSION or made_for != digest:
        msg = "the cursor was made for other filters: start again without a cursor"
        raise InvalidCursor(msg)
    return updated_at, last_id


def place_of(session: ChatSession, order: SessionOrder) -> Keyset:
    """Return what *session* is sorted by in a list of *order*."""
    return getattr(session, order.removeprefix("-")), session.session_id


def make_page(
    found: Sequence[ChatSession], limit: int, digest: str, order: SessionOrder
) -> Page[ChatSession]:
    """Return a page from one session more than fits."""
    items = list(found[:limit])
    more = len(found) > limit
    return Page(items, encode_cursor(place_of(items[-1], order), digest) if more else None)
