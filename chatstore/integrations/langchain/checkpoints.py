"""Conversations out of LangGraph's checkpoints, once, through a checkpointer's public methods.

This module knows what a checkpoint tuple holds; it refuses to know a checkpointer's tables. A checkpoint holds the
whole state, so a thread's messages are collected over all checkpoints that led to its newest one: what was forgotten
on the way is stored too, each message with its last body and the time of the checkpoint in which it appeared.
"""

from __future__ import annotations

import json
import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_core.messages import BaseMessage, convert_to_messages

from chatstore.errors import ChatstoreError, InvalidMessage, NotSupported, StorageUnavailable
from chatstore.integrations.langchain.convert import from_langchain
from chatstore.integrations.langchain.state import digest, is_spoken
from chatstore.messages import MessageRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatstore.aio import AsyncRepository
    from chatstore.messages import Message
    from chatstore.repository import Repository

log: Final = logging.getLogger("chatstore.integrations.langchain")
#: The namespace of ids that are made for messages without one. Never change it, nor what is hashed: repeating an older
#: import would store everything a second time.
_THREADS: Final = uuid.UUID("8d0f7a52-1b8e-5c55-9a0d-6f2f0a3b7c11")


class Imported(dict[str, int]):
    """How many messages were new in each thread; *failed* has the others, each with its error."""

    def __init__(self) -> None:
        """Begin with no thread."""
        super().__init__()
        self.failed: dict[str, ChatstoreError] = {}

    def _pass(self, thread: str, error: ChatstoreError) -> None:
        """Remember that nothing of *thread* was stored; raise *error* where no other could be stored either."""
        if isinstance(error, StorageUnavailable):
            raise error
        self.failed[thread] = error
        log.error("thread %r was not imported: %s", thread, error)


def import_checkpoints(
    checkpointer: Any, store: Repository, *, threads: Iterable[str] | None = None, key: str = "messages"
) -> Imported:
    """Store the messages of *threads* (None: all), each in the session of its id; return how many were new in each.

    *key* is where the graph's state keeps its messages. A message without an id gets one from its thread and its place
    there, so a second run stores what was added since. Sessions belong to the owner of *store*'s scope. Summaries are
    left out. A thread that cannot be read or stored is logged at ERROR, is in ``failed`` of what is returned, and ends
    nothing; raises `StorageUnavailable` where the repository cannot be reached.
    """
    wanted = _threads(checkpointer.list(None)) if threads is None else list(threads)
    done = Imported()
    for thread in wanted:
        lineage = Lineage(thread, key)
        try:
            for one in checkpointer.list(lineage.config):
                lineage.add(one)
            done[thread] = store.load_records(thread, lineage.records())
        except ChatstoreError as error:
            done._pass(thread, error)
    return done


async def aimport_checkpoints(
    checkpointer: Any, store: AsyncRepository, *, threads: Iterable[str] | None = None, key: str = "messages"
) -> Imported:
    """As `import_checkpoints`."""
    wanted = _threads([one async for one in checkpointer.alist(None)]) if threads is None else list(threads)
    done = Imported()
    for thread in wanted:
        lineage = Lineage(thread, key)
        try:
            async for one in checkpointer.alist(lineage.config):
                lineage.add(one)
            done[thread] = await store.load_records(thread, lineage.records())
        except ChatstoreError as error:
            done._pass(thread, error)
    return done


def _threads(tuples: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(one.config["configurable"]["thread_id"] for one in tuples))


class _Said(NamedTuple):
    """A message, and where it appeared first: the checkpoint, the place in it, the time."""

    message: Message
    order: tuple[str, int]
    at: str


class Lineage:
    """One thread: its messages, out of its checkpoints from the newest back; abandoned branches are left out."""

    def __init__(self, thread: str, key: str = "messages") -> None:
        """Begin with nothing."""
        self.config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        self._thread, self._key = thread, key
        self._next: str | None = None
        self._newest = True
        #: By its id, or by its place and body: places are counted from where the newest list begins.
        self._said: dict[str | tuple[int, str], _Said] = {}
        self._names: list[str] = []  # what tells messages of the next newer list apart
        self._start = 0  # the place at which that list begins

    def add(self, one: Any) -> None:
        """Take the next older checkpoint."""
        checkpoint = one.checkpoint
        if not self._newest and checkpoint["id"] != self._next:
            return
        given = self._messages(checkpoint)
        spoken = [from_langchain(message) for message in given if is_spoken(message)]
        names = [message.id or digest(message) for message in spoken]
        self._start += _shift(names, self._names)
        self._names = names
        for place, message in enumerate(spoken):
            name = message.id or (self._start + place, names[place])
            newer = self._said.get(name)
            body = message if newer is None else newer.message
            self._said[name] = _Said(body, (checkpoint["id"], place), checkpoint["ts"])
        self._newest = False
        parent = one.parent_config or {"configurable": {}}
        self._next = parent["configurable"].get("checkpoint_id")

    def _messages(self, checkpoint: Any) -> list[Any]:
        """Return the messages of a checkpoint, in whichever form the graph kept them."""
        values = checkpoint["channel_values"]
        found = values.get(self._key)
        if found is None and self._key not in checkpoint["channel_versions"]:
            if self._newest and (others := [name for name, value in values.items() if _is_talk(value)]):
                msg = f"the state of thread {self._thread!r} has no {self._key!r}: pass key={others[0]!r}"
                raise NotSupported(msg)
            return []  # a graph without messages, or before the first one
        if not isinstance(found, list):
            msg = (
                f"thread {self._thread!r} does not keep its messages as a list in each checkpoint: pass "
                f"graph.get_state(config).values[{self._key!r}] to ChatMessageHistory.upsert_messages"
            )
            raise NotSupported(msg)
        try:
            return list(convert_to_messages(found))
        except (KeyError, NotImplementedError, TypeError, ValueError):  # their texts would show the message
            msg = (
                f"thread {self._thread!r} holds something under {self._key!r} that is no message: convert it with "
                "langchain_core.messages.convert_to_messages and pass that to ChatMessageHistory.add_messages"
            )
            raise InvalidMessage(msg) from None

    def records(self) -> list[MessageRecord]:
        """Return the messages in the order in which they appeared."""
        first = min((name[0] for name in self._said if isinstance(name, tuple)), default=0)
        bodies: dict[int, int] = {}
        records: list[MessageRecord] = []
        for name, said in sorted(self._said.items(), key=lambda item: item[1].order):
            made = name if isinstance(name, str) else self._make_id(name[0] - first, bodies)
            at = datetime.fromisoformat(said.at).astimezone(UTC)
            records.append(MessageRecord(said.message, len(records) + 1, made, at, self._thread))
        return records

    def _make_id(self, place: int, bodies: dict[int, int]) -> str:
        """Return an id from the thread and the place; *bodies* counts messages that were at one place in turn."""
        bodies[place] = again = bodies.get(place, -1) + 1
        hashed = [self._thread, self._key, place, again]
        return str(uuid.uuid5(_THREADS, json.dumps(hashed)))


def _is_talk(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, BaseMessage) for one in value)


def _shift(older: list[str], newer: list[str]) -> int:
    """Return how far before the *newer* list the *older* one begins, negative: a graph may cut off its oldest end."""
    if newer[: len(older)] == older:
        return 0
    for common in range(min(len(older), len(newer)), 0, -1):
        if older[-common:] == newer[:common]:
            return common - len(older)
    return 0
