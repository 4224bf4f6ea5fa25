"""``--owners FILE``: whose each imported session is, as another system's table of chats says.

This module knows the two forms of such a file; it refuses to know what is imported.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatstore.arguments import Scope, check_owner_id
from chatstore.cli.target import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORM = (
    'write JSON, {"SESSION": "USER", …} or {"SESSION": {"user": "USER", "tenant": "TENANT"}, …}, or CSV with the '
    "columns session, user and, where there are any, tenant"
)


def read_owners(path: str | None) -> dict[str, Scope]:
    """Return the owner of each session that the file at *path* names. Raises `Refused` for what is no such file."""
    if path is None:
        return {}
    text = Path(path).read_text(encoding="utf-8-sig")
    rows = _read_json(path, text) if text.lstrip().startswith("{") else _read_csv(path, text)
    owners: dict[str, Scope] = {}
    for place, session, user, tenant in rows:
        for value, name in ((user, "user"), (tenant, "tenant")):
            if value is not None and not isinstance(value, str):
                msg = f"{path}, {place}: the {name} is not text: {_FORM}"
                raise Refused(msg)
            check_owner_id(value, f"{name} at {place} of {path}")
        if not session or (user is None and tenant is None):
            msg = f"{path}, {place}: a session or its owner is missing: {_FORM}"
            raise Refused(msg)
        if owners.setdefault(session, Scope(tenant, user)) != Scope(tenant, user):
            msg = f"{path}, {place}: session {session!r} has two owners: keep one of them"
            raise Refused(msg)
    return owners


def _read_json(path: str, text: str) -> Iterator[tuple[str, str, Any, Any]]:
    try:
        found = json.loads(text)
    except ValueError:
        msg = f"{path} is not JSON: {_FORM}"
        raise Refused(msg) from None
    for session, owner in found.items():
        named = owner if isinstance(owner, dict) else {"user": owner}
        yield repr(session), session, named.get("user"), named.get("tenant")


def _read_csv(path: str, text: str) -> Iterator[tuple[str, str, Any, Any]]:
    rows = csv.DictReader(text.splitlines())
    if not {"session", "user"} <= set(rows.fieldnames or ()):
        msg = f"{path} has no columns session and user: {_FORM}"
        raise Refused(msg)
    for row in rows:
        yield f"line {rows.line_num}", row["session"], row["user"], row.get("tenant") or None
