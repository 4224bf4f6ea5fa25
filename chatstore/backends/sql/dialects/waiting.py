"""Drivers' connections that wait no longer than the running call may (`chatstore.deadlines`).

Servers are told a limit for statements too, by their dialects; this is for one that does not answer at all: stopped, or
behind a network that lost it. A driver that has no module here waits as it is told by its own options.
"""

from __future__ import annotations

import math
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

from chatstore.deadlines import GRACE, is_over, left, running

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Dialect


#: Seconds after which it is counted anew how many are left of a call.
_COUNTED = 0.1


def connect(here: Dialect, arguments: Any, options: Any) -> Any:
    """Connect by the driver of *here*, to a connection that keeps the deadline of each call."""
    options = dict(options)
    if options.get("connect_timeout"):
        given = float(options["connect_timeout"])
        options["connect_timeout"] = max(1, math.ceil(left(given)))
    if here.driver == "psycopg":
        if here.is_async:
            options.setdefault("async_creator_fn", _psycopg()[1].connect)
            return here.connect(*arguments, **options)
        return _psycopg()[0].connect(*arguments, **options)
    if here.driver == "pymysql":
        return _pymysql()(*arguments, **options)
    return here.connect(*arguments, **options)


def cut_off(connection: Any, _record: object, _error: object) -> None:
    """Break *connection*, which a call gives up at its deadline; asyncpg would first take leave of the server."""
    terminate = getattr(getattr(connection, "driver_connection", None), "terminate", None)
    if terminate is not None and is_over():
        terminate()


# ------------------------------------------------------------------------------------------------ psycopg


@cache
def _psycopg() -> tuple[Any, Any]:
    """Return the classes of connections that block and await: psycopg has no limit for answers of its own."""
    import psycopg

    def timed(generator: Any, connection: Any) -> Generator[Any, Any, Any]:
        """Go on with *generator*, which does the waiting, until `GRACE` seconds after the deadline."""
        try:
            wanted = next(generator)
            while True:
                ready = yield wanted
                if not ready and is_over(GRACE):
                    connection.pgconn.finish()  # there is nobody to take leave of
                    raise psycopg.OperationalError("no answer within the deadline")
                wanted = generator.send(ready)
        except StopIteration as stop:
            return stop.value

    class Blocking(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
            return super().wait(timed(gen, self), *args, **options)

    class Awaiting(psycopg.AsyncConnection[Any]):
        async def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
            return await super().wait(timed(gen, self), *args, **options)

    return Blocking, Awaiting


# ------------------------------------------------------------------------------------------------ PyMySQL


@cache
def _pymysql() -> Any:
    """Return the class of connections whose limits for reading and writing are what is left of the call."""
    from pymysql.connections import Connection

    def limited(name: str) -> Any:
        kept = f"chatstore{name}"

        def get(self: Any) -> float | None:
            mine, call = self.__dict__, running.get()
            told: float | None = mine.get(name)
            if call is None:
                return told
            # It is asked for each packet: to count for each would cost as much as reading it.
            now, (of, until, limit) = monotonic(), mine.get(kept) or (None, 0.0, 0.0)
            if of is not call or now > until:
                # To the half second, or the socket would be told again and again.
                limit = math.ceil(2 * left(math.inf if told is None else told)) / 2 + GRACE
                mine[kept] = call, now + _COUNTED, limit
            return limit

        def put(self: Any, seconds: float | None) -> None:
            self.__dict__[name] = seconds

        return property(get, put)

    class Timed(Connection):
        _read_timeout = limited("_read_timeout")
        _write_timeout = limited("_write_timeout")

    return Timed
