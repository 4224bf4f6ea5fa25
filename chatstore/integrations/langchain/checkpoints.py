"""Conversations out of LangGraph's checkpoints, once, through a checkpointer's public methods.

This module knows what a checkpoint tuple holds; it refuses to know a checkpointer's tables. A checkpoint holds the
whole state, so a thread's messages are collected over all checkpoints that led to its newest one: what was forgotten
on the way is stored too, each message with its last body and the time of the checkpoint in which it appeared.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chatstore.errors import NotSupported
from chatstore.integrations.langchain.convert import from_langchain
from chatstore.integrations.langchain.state import is_spoken
from chatstore.messages import MessageRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatstore.aio import AsyncRepository
    from chatstore.repository import Repository


def import_checkpoints(
    checkpointer: Any, store: Repository, *, threads: Iterable[str] | None = None
) -> dict[str, int]:
    """Store the messages of *threads* (None: all), each in the session of its id; return how many were new in each.

    Sessions belong to the owner of *store*'s scope. A second run stores what was added since. Summaries are left
    out. Raises as `Repository.load_records`, and `NotSupported` for a state without a list of messages.
    """
    wanted = _threads(checkpointer.list(None)) if threads is None else list(threads)
    stored = {}
    for thread in wanted:
        lineage = Lineage(thread)
        for one in checkpointer.list(lineage.config):
            lineage.add(one)
        stored[thread] = store.load_records(thread, lineage.records())
    return stored


async def aimport_checkpoints(
    checkpointer: Any, store: AsyncRepository, *, threads: Iterable[str] | None = None
) -> dict[str, int]:
    """As `import_checkpoints`."""
    wanted = _threads([one async for one in checkpointer.alist(None)]) if threads is None else list(threads)
    stored = {}
    for thread in wanted:
        lineage = Lineage(thread)
        async for one in checkpointer.alist(lineage.config):
            lineage.add(one)
        stored[thread] = await store.load_records(thread, lineage.records())
    return stored


def _threads(tuples: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(one.config["configurable"]["thread_id"] for one in tuples))


class Lineage:
    """One thread: its messages, out of its checkpoints from the newest back; abandoned branches are left out."""

    def __init__(self, thread: str) -> None:
        """Begin with nothing."""
        self.config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        self._thread = thread
        self._next: str | None = None
        self._newest = True
        self._bodies: dict[str, Any] = {}
        self._appeared: dict[str, tuple[str, int, str]] = {}

    def add(self, one: Any) -> None:
        """Take the next older checkpoint."""
        checkpoint = one.checkpoint
        if not self._newest and checkpoint["id"] != self._next:
            return
        messages = checkpoint["channel_values"].get("messages")
        if messages is None and "messages" not in checkpoint["channel_versions"]:
            messages = []  # a graph without messages, or before the first one
        if not isinstance(messages, list):
            msg = (
                f"thread {self._thread!r} does not keep its messages as a list in each checkpoint: pass "
                "graph.get_state(config).values['messages'] to ChatMessageHistory.upsert_messages"
            )
            raise NotSupported(msg)
        for place, message in enumerate(messages):
            self._bodies.setdefault(message.id, message)
            self._appeared[message.id] = (checkpoint["id"], place, checkpoint["ts"])
        self._newest = False
        parent = one.parent_config or {"configurable": {}}
        self._next = parent["configurable"].get("checkpoint_id")

    def records(self) -> list[MessageRecord]:
        """Return the messages in the order in which they appeared."""
        order = sorted(self._appeared, key=lambda name: self._appeared[name])
        spoken = [name for name in order if is_spoken(self._bodies[name])]
        return [
            MessageRecord(
                from_langchain(self._bodies[name]),
                position,
                name,
                datetime.fromisoformat(self._appeared[name][2]).astimezone(UTC),
                self._thread,
            )
            for position, name in enumerate(spoken, 1)
        ]
