"""Conversations in JSON files that other programs read too: `file:DIRECTORY`, and the page's one file.

This package needs nothing but a file system with POSIX locks. `directory` says which file holds what,
`element` what a line says, `array_file` how lines are added and read, `repair` what else such files look like,
`filesystem` what is asked of the operating system.
"""

from __future__ import annotations

from chatstore.backends.file.directory import FileRepository
from chatstore.backends.file.single_file import SESSION, SingleFileRepository

__all__ = ["SESSION", "FileRepository", "SingleFileRepository"]
