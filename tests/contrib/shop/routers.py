"""Chats in a database of their own."""

from __future__ import annotations

from typing import Any


class ChatsElsewhere:
    """Send chatstore's models to ``other``, and keep everything else out of there."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        """Name the database to read from."""
        return "other" if model._meta.app_label == "chatstore" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool:
        """Tell where tables belong."""
        return (app_label == "chatstore") == (db == "other")
