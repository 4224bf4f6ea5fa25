"""What an address asks for: filters, places, positions, read from a query and written into one.

Knows the names of parameters; refuses to know pages. Every state of every page is an address, so reading and writing
stand beside each other here.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from werkzeug.exceptions import BadRequest, NotFound

from chatstore.arguments import check_session_id
from chatstore.errors import InvalidSessionId
from chatstore.viewer.source import Filters, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Types of messages that a filter offers, with the words for them.
TYPES: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
#: What a filter is called where it is on.
WORDS: Final = {
    "user": "user",
    "tenant": "tenant",
    "since": "since",
    "until": "until",
    "type": "messages of",
    "model": "model",
    "failed": "a tool call failed",
    "archived": "",
}
ARCHIVED: Final = {"only": "archived only", "all": "archived too"}
_ID_LIMIT, _QUERY_LIMIT = 255, 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def address(page: str, /, **asked: Any) -> str:
    """Return the address of *page*, relative to the viewer's own, with what is not None of *asked*."""
    told = {name: value for name, value in asked.items() if value not in (None, "", False)}
    query = urlencode({name: "1" if value is True else value for name, value in told.items()})
    return f"{page or './'}?{query}" if query else page or "./"


def filters(args: Mapping[str, str]) -> Filters:
    """Read what a list is narrowed to. Raises `BadRequest`."""
    return Filters(
        user=_word(args, "user"),
        tenant=_word(args, "tenant"),
        since=_day(args, "since"),
        until=_day(args, "until"),
        type=_word(args, "type", 32),
        model=_word(args, "model"),
        failed=args.get("failed") == "1",
        archived=args.get("archived") if args.get("archived") in ARCHIVED else None,
    )


def narrowed(wanted: Filters) -> dict[str, Any]:
    """Return the parameters that say *wanted*; the other way round of `filters`."""
    told = wanted._asdict()
    return {name: value for name, value in told.items() if value not in (None, False)}


def place(args: Mapping[str, str]) -> Place | None:
    """Read where a page of a list begins. Raises `BadRequest`."""
    for name in ("older", "newer"):
        if written := args.get(name):
            micros, _, session_id = written.partition("~")
            try:
                seconds, rest = divmod(int(micros), 1_000_000)
                moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
                return Place(moment, check_session_id(session_id), newer=name == "newer")
            except (ValueError, OverflowError, OSError, InvalidSessionId):
                raise BadRequest("this place in the list is no place: begin at the first page") from None
    return None


def placed(at: Place | None) -> dict[str, str]:
    """Return the parameter that says *at*; the other way round of `place`."""
    if at is None:
        return {}
    passed = at.updated_at - _EPOCH
    micros = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    return {"newer" if at.newer else "older": f"{micros}~{at.session_id}"}


def session_id(args: Mapping[str, str]) -> str:
    """Read which session is meant. Raises `NotFound`: what is no id names no session."""
    try:
        return check_session_id(args.get("id", ""))
    except InvalidSessionId:
        raise NotFound("there is no such conversation: look for it in the list") from None


def position(args: Mapping[str, str], name: str) -> int | None:
    """Read a position. Raises `BadRequest`."""
    written = args.get(name)
    if written is None:
        return None
    if not (written.isascii() and written.isdigit() and len(written) <= 18):  # noqa: PLR2004 - a BIGINT
        raise BadRequest(f"{name} is a position, a number from 1 on: correct the address")
    return int(written)


def query(args: Mapping[str, str]) -> str:
    """Read what is searched for. Raises `BadRequest`."""
    asked = args.get("q", "").strip()
    if len(asked) > _QUERY_LIMIT:
        raise BadRequest(f"a search has at most {_QUERY_LIMIT:,} characters: shorten it")
    return asked


def _word(args: Mapping[str, str], name: str, limit: int = _ID_LIMIT) -> str | None:
    value = args.get(name) or None
    if value is not None and len(value) > limit:
        raise BadRequest(f"{name} has at most {limit} characters: shorten it")
    if value is not None and "\0" in value:
        raise BadRequest(f"{name} holds a character that nothing stored has: correct it")
    return value


def _day(args: Mapping[str, str], name: str) -> date | None:
    written = args.get(name)
    if not written:
        return None
    try:
        day = date.fromisoformat(written[:10])
    except ValueError:
        raise BadRequest(f"{name} is a day such as 2026-11-23: correct it") from None
    if not 1970 <= day.year < 9999:  # noqa: PLR2004 - a day later must be a date, too
        raise BadRequest(f"{name} is a day between 1970 and 9998: correct it")
    return day
