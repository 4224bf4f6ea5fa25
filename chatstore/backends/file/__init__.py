"""Conversations in JSON files that other programs read too: `file:DIRECTORY`, and the page's one file.

This package needs nothing but a file system with POSIX locks. `directory` says which file holds what,
`element` what a line says, `array_file` how lines are added and read, `repair` what else such files look like,
`filesystem` what is asked of the operating system.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatstore.backends.file import filesystem
from chatstore.backends.file.directory import DirectoryCore
from chatstore.backends.file.single_file import SESSION, SingleFileCore
from chatstore.repository import Repository

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from chatstore.aio import AsyncRepository
    from chatstore.core import Answer, T

__all__ = ["SESSION", "FileRepository", "SingleFileRepository"]


class _Files(Repository):
    _path: str

    def _run(self, operation: Callable[..., Answer[T]], /, *args: Any) -> T:
        with filesystem.told(self._path):
            return operation(*args)  # type: ignore[return-value]  # files are waited for where they are read

    def _asynchronous(self) -> AsyncRepository:
        from chatstore.threads import ThreadedRepository

        return ThreadedRepository(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"


class FileRepository(_Files):
    """Sessions in a directory, each a JSON array in a file; for threads, processes and forks on one host."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Work in *directory*, made at the first write. Raises `NotSupported` without POSIX locks."""
        filesystem.require_locks()
        self._path = str(Path(directory).absolute())
        self._core: DirectoryCore = DirectoryCore(self._path)


class SingleFileRepository(_Files):
    """One session, `SESSION`, in one JSON file of the page's format, which other programs may rewrite."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Work on the file at *path*, made at the first append. Raises `NotSupported` without POSIX locks."""
        filesystem.require_locks()
        self._path = str(Path(path).absolute())
        self._core: SingleFileCore = SingleFileCore(self._path)
