"""What values look like on a connection that a framework lends, which has its own ways of reading them.

Knows the two types that a lent connection may give read or unread; refuses to know whose connection it is. Imported
where connections are lent only: SQLAlchemy's dialects take their time.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Dialect


class _Moment(sqlite.DATETIME):
    """A moment on a connection that may read it by itself, as those with ``detect_types`` do."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Read text, and leave what is read already."""
        read: Any = super().result_processor(dialect, coltype)
        return lambda value: value if isinstance(value, datetime) else read(value)


def moments(kind: Any) -> dict[str, Any]:
    """Return the types of SQLite's dialect *kind*, with moments that may have been read."""
    return {**kind.colspecs, DateTime: _Moment}


def documents(kind: Any) -> dict[str, Any]:
    """Return the types of PostgreSQL's dialect *kind*, with JSON objects that may come as text, as Django's do."""
    base: Any = kind.colspecs[postgresql.JSONB]

    class _Document(base):  # type: ignore[misc]
        def result_processor(self, dialect: Dialect, coltype: object) -> Any:
            read = super().result_processor(dialect, coltype) or (lambda value: value)
            return lambda value: json.loads(value) if isinstance(value, str | bytes) else read(value)

    return {**kind.colspecs, postgresql.JSONB: _Document}
