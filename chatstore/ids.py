"""Ids: which are allowed (of sessions, owners and messages alike), those made of several keys, and new ones."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

from chatstore.errors import InvalidMessage, InvalidSessionId

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ID: Final = 255


def is_bad(character: str) -> bool:
    """Tell whether no id may have *character*: a control character, or a lone surrogate."""
    return character <= "\x1f" or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff"


def plain(value: str) -> str:
    """Return the text of *value*: drivers write a subclass, such as a member of an enumeration, each in its own way."""
    return str.__str__(value)


def id_fault(value: object) -> str | None:
    """Return what keeps *value* from being an id, or None."""
    if not isinstance(value, str):
        return f"is of type {type(value).__name__}, not text"
    if type(value) is not str:
        value = plain(value)
    if not 1 <= len(value) <= MAX_ID:
        return f"has {len(value)} characters; 1 to {MAX_ID} are allowed"
    if not value.isprintable() and any(map(is_bad, value)):
        return "has a control character or a lone surrogate"
    if value != value.strip():
        return "begins or ends with white space"
    return None


def remedy(value: object) -> str:
    """Return what to do about an id that is none."""
    if type(value).__name__ in {"UUID", "int"}:
        return "pass str() of it"
    return f"use 1 to {MAX_ID} characters without control characters or spaces at the ends"


def checked_id(value: str) -> str:
    """Return *value* if it can be a message id, else raise `InvalidMessage`."""
    if fault := id_fault(value):
        msg = f"the message id {fault}: {remedy(value)}"
        raise InvalidMessage(msg)
    return plain(value)


def session_key(*parts: str) -> str:
    """Join several keys, such as a user's id and a chat's name, into one session id.

    Different lists of parts never give the same id. If the result would be too long, or has characters that an id
    cannot have, it ends in a digest. Raises `InvalidSessionId` without parts, or if one is not a string.
    """
    if not parts or not all(isinstance(part, str) for part in parts):
        msg = "session_key takes one or more strings: pass str(part) for each"
        raise InvalidSessionId(msg)
    joined = "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)
    # "~2" never comes out of the escaping above, so a digest can never equal a plain key.
    if id_fault(joined) is None:
        return joined
    from hashlib import sha256

    digest = sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()
    readable = "".join("_" if is_bad(character) else character for character in joined).strip()[
        : MAX_ID - len(digest) - 2
    ]
    return f"{readable}~2{digest}"


def state_place(tenant_id: str | None, user_id: str | None, namespace: str, key: str) -> str:
    """Return the id of a state, which is its place in lists: one for each owner, namespace and key."""
    return session_key(tenant_id or "", user_id or "", namespace, key)


#: Bytes of noise in an id, and ids for which it is asked for at once.
_NOISE, _AT_ONCE = 9, 64


class _Sequence:
    """UUIDs of version 7: ordered by time, and by RFC 9562's dedicated counter within a millisecond.

    They always grow within the process, also where the clock steps back.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.moment = self.count = 0
        self.noise: Iterator[bytes] = iter(())

    def next(self) -> str:
        """Return a new message id, a UUID of version 7."""
        noise = next(self.noise, b"") or self._more_noise()
        moment = time.time_ns() // 1_000_000
        with self.lock:
            if moment > self.moment:
                self.moment, self.count = moment, noise[8] & 0x3F
            elif self.count < 0xFFF:  # noqa: PLR2004 - twelve bits
                self.count += 1
            else:
                self.moment, self.count = self.moment + 1, 0
            moment, count = self.moment, self.count
        head, tail = f"{moment:012x}", noise.hex()
        return f"{head[:8]}-{head[8:]}-7{count:03x}-{'89ab'[noise[8] >> 6]}{tail[1:4]}-{tail[4:16]}"

    def _more_noise(self) -> bytes:
        """Ask the system for the noise of many ids at once, which each would take a call for."""
        made = os.urandom(_NOISE * _AT_ONCE)
        self.noise = iter([made[at : at + _NOISE] for at in range(_NOISE, len(made), _NOISE)])
        return made[:_NOISE]


_sequence = _Sequence()
new_id = _sequence.next
if hasattr(os, "register_at_fork"):  # the parent's lock may be held by a thread that the child does not have
    os.register_at_fork(after_in_child=lambda: _Sequence.__init__(_sequence))
