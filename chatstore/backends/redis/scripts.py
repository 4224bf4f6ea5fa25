"""The Lua that runs inside the server: each change is one script, which checks first and writes last.

Redis runs a script alone and to its end, and does not roll back what one has written; so no script writes before
everything that could refuse has been asked. A server whose memory is full, or whose ACL forbids a command, refuses at
the first such command and not before. So what adds begins with an addition (of the index, which is repaired where it
is wrong), and what removes begins with the removal, which must work on a full server.

The sources are the files in `lua/`, which say what each takes and answers; those on one session share `head.lua`.
"""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """A script, and the digest under which a server that has seen it knows it."""

    name: str
    source: str
    digest: str


def _read(name: str) -> str:
    return files(__package__).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


def _make(name: str, head: str = "") -> Script:
    source = head + _read(name)
    return Script(name, source, sha1(source.encode()).hexdigest())  # noqa: S324 - Redis names scripts so


def _make_on_session(name: str) -> Script:
    return _make(name, _HEAD)


_HEAD = _read("head")

APPEND = _make_on_session("append")
REPLACE = _make_on_session("replace")
CREATE = _make_on_session("create")
UPDATE = _make_on_session("update")
EDIT = _make_on_session("edit")
REMOVE = _make_on_session("remove")
POP = _make_on_session("pop")
TRUNCATE = _make_on_session("truncate")
DELETE = _make_on_session("delete")
MESSAGE = _make_on_session("message")
SNAPSHOT = _make("snapshot")
PAGE = _make("page")
MEND = _make("mend")
