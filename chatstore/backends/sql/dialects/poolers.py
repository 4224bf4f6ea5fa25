"""Whether a connection to PostgreSQL is one server's to its end, or a pooler's that changes servers behind it.

Knows what a statement prepared by name needs, which is a server connection that stays, and what proves that there is
one. Refuses to know engines and what is asked of them.

A pooler in transaction mode (pgbouncer, Supavisor, RDS Proxy) gives every transaction the server connection that is
free just then. A name that was prepared on another one is unknown there, or taken, or worse: it is somebody else's
statement, which runs. So an engine of ours prepares nothing by name, until a connection is known to be direct.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from chatstore.backends.sql.dialects import waiting
from chatstore.backends.sql.lending import TOLD
from chatstore.deadlines import allowed
from chatstore.forks import this_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Dialect, Engine

#: How a driver is told to prepare nothing by name. psycopg2 never does.
UNNAMED: dict[str, dict[str, Any]] = {
    "psycopg": {"prepare_threshold": None},
    # Without a cache asyncpg sends an unnamed statement along with its parameters, in one message.
    "asyncpg": {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": str,
    },
}
#: How often psycopg runs a statement before it prepares it; its own default.
_PREPARED_AFTER = 5
#: In the `info` of a direct connection.
DIRECT = "chatstore_is_direct"
_ASK = "SELECT pg_backend_pid(), host(inet_client_addr()), inet_client_port()"
#: Sets the limit of statements, unless a lower one is set for the role or the database.
_LIMIT = (
    "SELECT set_config('statement_timeout', "
    "CASE WHEN reset_val::bigint BETWEEN 1 AND {0} THEN reset_val ELSE '{0}' END, false) "
    "FROM pg_settings WHERE name = 'statement_timeout'"
)
_log = logging.getLogger("chatstore")


def prepare_where_direct(engine: Engine) -> None:
    """Have a new connection of *engine*, made with `UNNAMED`, prepare statements by name if it is direct."""
    if engine.dialect.name == "postgresql" and engine.dialect.driver in UNNAMED:
        event.listen(engine, "do_connect", _connect)


def _connect(dialect: Dialect, record: Any, arguments: Any, options: Any) -> Any:
    """Connect, with names where the connection is direct and the URL does not say otherwise."""
    with this_thread.undivided:  # a forked child would find TLS's own locks held, and hang
        made: Any = waiting.connect(dialect, arguments, options)
    try:
        if not UNNAMED[dialect.driver].items() <= options.items() or not _is_direct(dialect, made):
            return made
        seconds = allowed()
        _tell(made, seconds)
        record.info.update({DIRECT: True, TOLD: seconds})
    except BaseException:  # an interrupt: nobody else knows of this connection
        dialect.do_terminate(made)
        raise
    if dialect.driver == "asyncpg":  # around the same one, with SQLAlchemy's usual cache
        return type(made)(made.dbapi, made.driver_connection, prepared_statement_name_func=_numbered())
    _driver_of(made).prepare_threshold = _PREPARED_AFTER
    return made


def limit(connection: Connection, seconds: float) -> None:
    """Have a direct connection's server give statements up after *seconds*."""
    from chatstore.backends.sql import execution  # which knows the dialects

    execution.run(connection, _LIMIT.format(round(1000 * seconds)))


def _tell(made: Any, seconds: float) -> None:
    before, made.autocommit = made.autocommit, True
    cursor = made.cursor()
    try:
        cursor.execute(_LIMIT.format(round(1000 * seconds)))
        cursor.fetchone()
    finally:
        cursor.close()
        made.autocommit = before


def _numbered() -> Callable[[], str]:
    """Return what names the statements of one connection; asyncpg has no names of its own without its cache."""
    numbers = count()
    return lambda: f"chatstore_{next(numbers)}"


def _is_direct(dialect: Dialect, made: Any) -> bool:
    """Tell whether the other end of the connection is surely the server's own; what cannot be told is not."""
    driver = _driver_of(made)
    try:
        pid, address, port = _asked(made)
        with socket.socket(fileno=os.dup(_descriptor(driver))) as ours:
            if address is None:
                return _listens_for(ours, pid)
            return bool(pid == _promised(driver) and (address, port) == ours.getsockname()[:2])
    except (dialect.loaded_dbapi.Error, AttributeError, OSError, ValueError, LookupError):
        return False  # no PostgreSQL after all, or another system; what is broken will say so when it is used


def _asked(made: Any) -> Any:
    """Ask the server, in a transaction of its own, which process it is and from where it is spoken to."""
    before, made.autocommit = made.autocommit, True
    cursor = made.cursor()
    try:
        cursor.execute(_ASK)
        return cursor.fetchone()
    finally:
        cursor.close()
        made.autocommit = before


def _driver_of(made: Any) -> Any:
    return getattr(made, "driver_connection", made)


def _promised(driver: Any) -> int:
    """Return the server process that was named at login; a pooler makes one up, because there is none that stays."""
    return int(driver.get_server_pid() if hasattr(driver, "get_server_pid") else driver.info.backend_pid)


def _descriptor(driver: Any) -> int:
    transport = getattr(driver, "_transport", None)
    return int((transport.get_extra_info("socket") if transport else driver).fileno())


def _listens_for(ours: socket.socket, pid: int) -> bool:
    """Tell whether who listens at a socket file is the server process's parent, as PostgreSQL is; Linux knows."""
    listener = struct.unpack("3i", ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(told.rpartition(")")[2].split()[1]) == int(listener)


def warn_of_names(connection: Connection) -> None:
    """Log a warning where statements are prepared by name and a pooler is seen in between.

    For engines that were passed in, which stay as they are. In session mode, and where the pooler keeps track of
    names itself, nothing is wrong with it; that cannot be seen from here.
    """
    made: Any = connection.connection.dbapi_connection
    if connection.dialect.driver not in UNNAMED or not _names(made):
        return
    pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    if pid != _promised(_driver_of(made)):
        _log.warning(
            "a connection pooler stands before PostgreSQL, and this engine prepares statements by name: unless it "
            "keeps one server connection for each client, pass connect_args=%r to create_engine",
            UNNAMED[connection.dialect.driver],
        )


def _names(made: Any) -> bool:
    """Tell whether a connection will prepare statements by name."""
    if hasattr(made, "_prepared_statement_name_func"):
        return bool(made._prepared_statement_name_func() != "")
    return getattr(_driver_of(made), "prepare_threshold", None) is not None
