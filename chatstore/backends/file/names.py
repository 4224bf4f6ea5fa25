"""Session ids as file names: injective, also where case is ignored, and never a path.

This module knows names only. Lower-case letters, digits, ``_`` and ``-`` stand for themselves, every other
byte of the UTF-8 form is written ``%xx``. A name that would be too long ends in ``~`` and a digest, which no
other name has.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from chatstore.codec import id_fault

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
#: Longest name, so that suffixes fit into the 255 bytes of a file name.
LONGEST: Final = 200
#: Windows gives these to devices, whatever the suffix.
_DEVICES: Final = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")


@lru_cache(maxsize=1000)
def file_name(session_id: str) -> str:
    """Return the name, without a suffix, of the files of *session_id*."""
    parts = [chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in session_id.encode()]
    if parts[0] == "-" or _DEVICES.fullmatch(session_id):
        parts[0] = f"%{ord(session_id[0]):02x}"
    name = "".join(parts)
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(session_id.encode()).hexdigest()
    return f"{name[: LONGEST - 1 - len(digest)]}~{digest}"


def session_id_of(name: str) -> str | None:
    """Return the session id that `file_name` turns into *name*; None where the name does not tell."""
    try:
        session_id = unquote_to_bytes(name).decode()
    except UnicodeDecodeError:
        return None
    return session_id if id_fault(session_id) is None and file_name(session_id) == name else None
