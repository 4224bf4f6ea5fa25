"""What a ``file:`` URL says: which directory."""

from __future__ import annotations

from chatstore import deadlines
from chatstore.errors import Invalid


def parse_url(url: str) -> str:
    """Return the directory that *url* names. Raises `Invalid`."""
    rest: str = deadlines.split(url)[0].partition(":")[2]
    path = rest.removeprefix("//") if rest.startswith("///") else rest
    if not path or path.startswith("//"):
        msg = "a file: URL names a directory: write file:chats or file:/var/lib/app/chats"
        raise Invalid(msg)
    return path
