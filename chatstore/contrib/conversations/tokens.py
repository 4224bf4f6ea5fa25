"""Tokens: who is asking, by the bearer token of a request and a file that has only hashes of tokens.

This module knows the file; it refuses to know what an owner may do. The file is JSON, from a token's SHA-256 to its
owner. It is read again when it has changed, so that a line that was taken out refuses the next request.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chatstore.arguments import check_owner_id
from chatstore.errors import Invalid, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

_PREFIX: Final = "cst_"
_BEARER: Final = "bearer "
_NAMES: Final = ("user_id", "tenant_id")


class Tokens:
    """The owners of the tokens in a file: pass it to `ConversationsAPI` as *owner*."""

    def __init__(self, path: str | Path) -> None:
        """Read *path*. Raises `Invalid` for a file that is missing, or is not one that `add` has written."""
        self._path = Path(path)
        self._seen: tuple[int, int] | None = None
        self._owners: Mapping[str, dict[str, str]] = {}
        self._refresh()

    def __call__(self, request: Request) -> dict[str, str] | None:
        """Return the owner of the request's token, for `Repository.scope`; None without a token that is known.

        Raises `StorageError` where the file cannot be read any more: that is the server's fault, not the client's.
        """
        try:
            self._refresh()
        except Invalid as error:
            raise StorageError(str(error)) from error
        header = request.headers.get("authorization", "")
        if not header.lower().startswith(_BEARER):
            return None
        return self._owners.get(_hashed(header[len(_BEARER) :].strip()))

    def _refresh(self) -> None:
        seen = _state(self._path)
        if seen != self._seen:
            self._owners, self._seen = _read(self._path), seen


def add(path: str | Path, *, user_id: str | None = None, tenant_id: str | None = None) -> str:
    """Make a token for an owner, note its hash in *path*, and return it: it is stored nowhere else.

    A new file may be read by this user of the system alone. Raises `Invalid` without an owner, and for a file that is
    not one of these.
    """
    given = {"user_id": user_id, "tenant_id": tenant_id}
    owner = {name: checked for name in _NAMES if (checked := check_owner_id(given[name], name)) is not None}
    if not owner:
        raise Invalid("a token needs an owner: name a user, a tenant, or both")
    path = Path(path)
    owners = _read(path) if path.exists() else {}
    token = _PREFIX + secrets.token_urlsafe(32)
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({**owners, _hashed(token): owner}, file, ensure_ascii=False, indent=2)
        file.write("\n")
    beside.replace(path)
    return token


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from error
    return found.st_mtime_ns, found.st_ino


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        owners: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, type(error).__name__) from error
    if not isinstance(owners, dict) or not all(_is_owner(owner) for owner in owners.values()):
        raise _unreadable(path, "it is not a file of tokens")
    return owners


def _is_owner(owner: Any) -> bool:
    """Tell whether *owner* names somebody: one that names nobody would see everything."""
    if not isinstance(owner, dict) or not owner or not owner.keys() <= set(_NAMES):
        return False
    return all(isinstance(value, str) and value for value in owner.values())


def _unreadable(path: Path, why: str) -> Invalid:
    return Invalid(f"the tokens in {path} cannot be read ({why}): make the file with chatstore token {path}")
