"""The level of isolation of a connection that an engine of the caller's lends.

Knows that setting it speaks to a server which may have gone away meanwhile; refuses to know which level is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: The execution option of an engine that says which level its connections get. SQLAlchemy's own is set before anybody
#: holds the connection, so that a dead one would go back to the pool, again and again.
LEVEL: Final = "chatstore_isolation_level"


def set_level(connection: Connection, level: str) -> None:
    """Give *connection* the *level* that its engine says; a dead one leaves the pool, with all that are as old."""
    try:
        connection.execution_options(isolation_level=level)
    except Exception as error:
        connection.engine.pool._invalidate(connection.connection, error)
        raise
