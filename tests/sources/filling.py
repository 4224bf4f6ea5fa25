"""Storages to copy: sessions with everything that one can have, and what of it a copy must keep."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chatstore.cli.samples import store
from chatstore.cli.tolerant_reading import list_all_sessions
from chatstore.messages import AIMessage, HumanMessage, OpaqueMessage
from tests.hostile import TEXTS

if TYPE_CHECKING:
    from chatstore.repository import Repository

LATE = datetime(2999, 1, 2, 3, 4, 5, 678901, UTC)
OWN = ("tenant_id", "user_id", "title", "metadata", "message_count", "expires_at", "forked_from", "forked_at")


def fill(repository: Repository, *, long: int = 20) -> None:
    """Store sessions with everything that a session and a message can have; one has *long* messages."""
    store(repository)
    repository.create_session("empty", user_id="ada", title="Nothing yet", metadata={"n": 1.5, "deep": [{}]})
    repository.add_messages("hostile", [HumanMessage(text) for text in TEXTS.values()])
    repository.add_messages(
        "ids", [HumanMessage("mine", id="m-1"), HumanMessage("none"), AIMessage("", id="2")]
    )
    repository.add_messages("opaque", [OpaqueMessage(type="odd", data={"id": "o1", "x": [1, None]})])
    repository.add_messages("long", [HumanMessage(f"number {number}") for number in range(long)])
    repository.delete_message("long", 7)
    repository.delete_message("long", long // 2)
    repository.create_session("ends", expires_at=LATE, tenant_id="t")
    repository.add_messages("ends", [HumanMessage("soon")])
    repository.update_session("ada-chain", archived=True)
    repository.fork_session("ada-brakes", "fork of four", through=4)
    repository.fork_session("fork of four", "fork of a fork")
    repository.add_messages("fork of a fork", [HumanMessage("another way")])
    repository.add_messages("ada-brakes", [HumanMessage("later than its forks")])


def told(repository: Repository) -> dict[str, Any]:
    """Return all that a copy keeps."""
    return {
        session_id: (
            [getattr(session, name) for name in OWN],
            session.archived_at is None,
            [tuple(record) for record in repository.iter_records(session_id)],
        )
        for session_id in list_all_sessions(repository, user_id=None, tenant_id=None)
        for session in [repository.get_session(session_id)]
    }
