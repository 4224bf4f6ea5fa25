"""The tables as SQLAlchemy models, for queries of an application's own; to write, use a repository.

Knows which names of the SQL backend's schema are promised to stay; the tables are defined there. Importing this module
imports SQLAlchemy.
"""

from __future__ import annotations

from chatstore.backends.sql.models import (
    HEAD,
    Base,
    MessageRow,
    SessionRow,
    StateRow,
    messages,
    sessions,
    states,
)

__all__ = ["HEAD", "Base", "MessageRow", "SessionRow", "StateRow", "messages", "sessions", "states"]
