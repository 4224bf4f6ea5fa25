"""SQLite and forks: no open connection of ours to a file may cross one.

SQLite keeps in the process which locks it has on a file, and believes that in a child too, where the system gave it
none: what one of the two writes is then lost to the other, or damages an index. So connections are closed before a
fork; where one was in use and could not be, the child refuses the file. This module knows sqlite3 and engines; it
refuses to know what is stored.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from chatstore.errors import StorageError
from chatstore.forks import before_forks, renewed_in_child

if TYPE_CHECKING:
    from sqlalchemy import Engine

_engines: WeakValueDictionary[int, Engine] = WeakValueDictionary()
_open: WeakValueDictionary[int, Watched] = WeakValueDictionary()


class Watched(sqlite3.Connection):
    """A connection to a file, known here until it is closed."""

    def __init__(self, database: str, *args: Any, **options: Any) -> None:
        """Open it; raise `StorageError` in a process that has the file open from before it was forked."""
        #: Absolute: the process may go to another directory.
        self.path = os.path.abspath(database.removeprefix("file:").partition("?")[0])  # noqa: PTH100 - text
        self.file: tuple[int, int] | None = None
        _crossings.refuse(self.path)
        _open[id(self)] = self  # first: a fork may come while it is opened
        try:
            super().__init__(database, *args, **options)
        except BaseException:
            _open.pop(id(self), None)
            raise
        self.file = _identity(self.path)

    def close(self) -> None:
        """Close it."""
        super().close()
        _open.pop(id(self), None)


def _identity(path: str) -> tuple[int, int] | None:
    """Return what SQLite knows a file by, whatever its name; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - text
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Crossings:
    """The files of which this process has connections that a fork gave it."""

    def __init__(self) -> None:
        self.files = set[tuple[int, int] | None]()
        #: To close them, or to collect them, would touch the files.
        self._left_alone: list[Watched] = []
        renewed_in_child(self)
        before_forks(self.close_idle)

    def close_idle(self, quiet: bool) -> None:  # noqa: FBT001 - what `before_forks` passes
        """Close the connections that nobody uses: all of them, where *quiet*."""
        for engine in _alive(_engines):
            engine.dispose()
        if quiet:
            for connection in _alive(_open):  # which a pool has lost; it would have been collected some time
                connection.close()

    def _renew(self) -> None:
        for connection in _alive(_open):
            self.files.add(connection.file or _identity(connection.path))
            self._left_alone.append(connection)
        _open.clear()
        _engines.clear()  # the child's own are still to be made

    def refuse(self, path: str) -> None:
        if self.files and (found := _identity(path)) is not None and found in self.files:
            msg = (
                f"this process was forked while {path} was in use, and with what it has from before SQLite would lose "
                "messages: fork when no call is running, or start the process anew (multiprocessing: spawn)"
            )
            raise StorageError(msg)


def _alive(things: WeakValueDictionary[int, Any]) -> list[Any]:
    # Not values(): another thread may add to them meanwhile.
    return [thing for reference in things.valuerefs() if (thing := reference()) is not None]


_crossings = _Crossings()


def watch(engine: Engine) -> None:
    """Close what *engine* keeps open before this process forks."""
    _engines[id(engine)] = engine


__all__ = ["Watched", "watch"]
