"""What a repository holds, in the short form in which tests compare it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatstore import Repository


def texts(repository: Repository, session_id: str = "s") -> list[object]:
    """Return what the messages of a session say, oldest first."""
    return [message.content for message in repository.get_messages(session_id)]
