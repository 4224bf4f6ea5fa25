"""What a driver's error means, and what people may see of it.

Knows SQLAlchemy's wrappers, and what drivers say of a server that cannot be reached; codes and texts of one database
are its dialect's. All dialects are asked: an error does not say by itself whose it is.
"""

from __future__ import annotations

import re
from ssl import SSLError
from sys import stdlib_module_names
from traceback import walk_tb
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chatstore.backends.sql.dialects import KNOWN

if TYPE_CHECKING:
    import sqlalchemy as sa

    from chatstore.backends.sql.dialects.base import Kind

_UNREACHABLE = (
    "can't create a connection",
    "communication error",
    "connection to server",
    "connection not available",
    "has been closed",
    "underlying connection is closed",
    "unable to perform operation on",
    "could not translate host name",
    "failed to resolve host",
    "network error",
    "unknown server host",
    "connection refused",
    "connection failed",
    "could not connect",
    "timeout expired",
    "server closed the connection",
    "connection is closed",
    "connection was closed",
)


#: Modules of Python's whose errors drivers hand on.
_HANDED_ON = ("builtins", "socket", "ssl", "asyncio", "concurrent")
#: Characters of a driver's words that are repeated in ours.
_SHOWN = 200


class Unwrapped(SQLAlchemyError):
    """What a driver raised that is no error of DB-API's, so that SQLAlchemy let it pass."""

    def __init__(self, orig: BaseException) -> None:
        """Keep it, in the place that SQLAlchemy's own wrappers have for it."""
        super().__init__(type(orig).__name__)
        self.orig = orig
        self.connection_invalidated = isinstance(orig, OSError | EOFError)


def unwrapped(error: Exception, here: sa.Dialect) -> Unwrapped | None:
    """Return *error* as one of the driver's of *here*; None where it came from elsewhere, as a signal's handler.

    asyncpg raises what Python's sockets do, drivers in C raise ValueError; an interrupt has the class of who sent it,
    or was raised by a function that is neither the driver's nor Python's.
    """
    ours = _packages(here)
    frames = [str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)]
    if not any(name.startswith("sqlalchemy.") for name in frames):
        return None
    known = (*ours, *_HANDED_ON)
    if not type(error).__module__.startswith(known):
        return None
    last = frames[-1].partition(".")[0]
    return (
        Unwrapped(error)
        if last.startswith(ours) or last in stdlib_module_names or last == "sqlalchemy"
        else None
    )


def _packages(here: sa.Dialect) -> tuple[str, ...]:
    """Return the names that the modules of a driver begin with; an adapter of SQLAlchemy's holds the driver."""
    module: Any = here.loaded_dbapi
    names = {module.__name__} if isinstance(module, ModuleType) else set[str]()
    names |= {
        value.__name__ for value in getattr(module, "__dict__", {}).values() if isinstance(value, ModuleType)
    }
    return tuple(name.partition(".")[0] for name in names if name.partition(".")[0] != "sqlalchemy") or ("-",)


def kind_of(error: SQLAlchemyError) -> Kind:
    """Say what a driver's error means, by its code; by its class and what it says where the driver gives none."""
    if isinstance(error, PoolTimeout):
        return "exhausted"
    orig: Any = getattr(error, "orig", None)
    known = _told_by(orig)
    if known is not None:
        return known
    if isinstance(error, IntegrityError):
        return "duplicate"
    invalidated = getattr(error, "connection_invalidated", None)
    if invalidated or (invalidated is not None and (_never_connected(orig) or is_lost(orig))):
        return "lost"
    return "other"


def _told_by(orig: Any) -> Kind | None:
    """Say what the driver's own error tells, whatever SQLAlchemy makes of it."""
    if isinstance(orig, UnicodeEncodeError):
        return "encoding"
    if _tls_fault(orig) is not None or "rejected SSL upgrade" in str(orig):
        return "tls"
    return next((kind for dialect in KNOWN if (kind := dialect.error_kind(orig)) is not None), None)


def said_by(error: SQLAlchemyError) -> str:
    """Return the first line of what the driver or the server said, for errors in which no stored text can stand."""
    orig: Any = getattr(error, "orig", None) or error
    args: tuple[Any, ...] = getattr(orig, "args", ())
    text = str(_tls_fault(orig) or getattr(orig, "msg", None) or orig)
    if args and isinstance(args[0], dict):  # pg8000
        text = str(args[0].get("M", text))
    elif len(args) > 1 and isinstance(args[0], int) and isinstance(args[1], str) and text == str(orig):
        text = args[1]
    text = re.sub(r"^<class '[\w.]+'>: ", "", text.strip())
    return (text.splitlines() or [type(orig).__name__])[0].strip().rstrip(".:")[:_SHOWN]


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


def _tls_fault(error: BaseException | None) -> SSLError | None:
    """Return the fault of TLS that *error* is, or comes from; drivers say "cannot connect" and keep it."""
    for _ in range(5):
        if error is None or isinstance(error, SSLError):
            return error
        error = error.__cause__ or getattr(error, "original_exception", None)
    return None


def _never_connected(orig: Any) -> bool:
    text = str(orig).lower()
    return isinstance(orig, OSError) or any(part in text for part in _UNREACHABLE)
