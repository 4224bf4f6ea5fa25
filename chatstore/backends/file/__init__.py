"""Sessions in JSON files that other programs can read, too: a directory of them (`file:DIRECTORY`), or a single file.

This package needs only a file system with POSIX locks. `directory` and `single_file` say which file holds what, on
top of `file_session`, which has what they share. `element` knows what a line says, `header` the small file beside an
array. `array_file` adds and reads lines, `line_index` remembers where they are, `repair` makes sense of damaged and
foreign files, and `filesystem` asks the operating system.
"""

from __future__ import annotations

from chatstore.backends.file.directory import FileRepository
from chatstore.backends.file.single_file import SESSION, SingleFileRepository

__all__ = ["SESSION", "FileRepository", "SingleFileRepository"]
