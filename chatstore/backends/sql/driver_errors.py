"""What a driver's error means, and what people may see of it.

Knows SQLAlchemy's wrappers, and what drivers say of a server that cannot be reached; codes and texts of one database
are its dialect's. All dialects are asked: an error does not say by itself whose it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chatstore.backends.sql.dialects import KNOWN

if TYPE_CHECKING:
    from chatstore.backends.sql.dialects.base import Kind

_UNREACHABLE = (
    "connection refused",
    "connection failed",
    "could not connect",
    "timeout expired",
    "server closed the connection",
    "connection is closed",
    "connection was closed",
)


def kind_of(error: SQLAlchemyError) -> Kind:
    """Say what a driver's error means, by its code; by SQLAlchemy's class where the driver gives none."""
    if isinstance(error, PoolTimeout):
        return "exhausted"
    orig: Any = getattr(error, "orig", None)
    known = next((kind for dialect in KNOWN if (kind := dialect.error_kind(orig)) is not None), None)
    if known is not None:
        return known
    if isinstance(error, IntegrityError):
        return "duplicate"
    invalidated = getattr(error, "connection_invalidated", None)
    if invalidated or (invalidated is not None and (_never_connected(orig) or is_lost(orig))):
        return "lost"
    return "other"


def is_lost(orig: Any) -> bool:
    """Tell whether a driver's error is a lost connection that SQLAlchemy does not notice."""
    return any(dialect.lost(orig) for dialect in KNOWN)


def cause_of(error: SQLAlchemyError) -> BaseException | None:
    """Return what people may see of *error*: the driver's own, without parameters and rows."""
    orig: BaseException | None = getattr(error, "orig", None)
    if orig is None:
        return None if isinstance(error, StatementError) else error
    if orig.args and isinstance(orig.args[0], str):
        shown = orig.args[0]
        for dialect in KNOWN:
            shown = dialect.without_data(shown)
        if shown != orig.args[0]:
            orig.args, orig.__cause__, orig.__context__ = (shown, *orig.args[1:]), None, None
    return orig


def _never_connected(orig: Any) -> bool:
    text = str(orig).lower()
    return isinstance(orig, OSError) or any(part in text for part in _UNREACHABLE)
