"""A store of documents in dictionaries, for `DocumentsCore`: every step as promised, and whatever goes wrong on demand.

Knows the steps. Documents go through JSON on their way in and out, so nothing survives that a service would not keep.
`trouble` is called with each step before it is carried out and may raise, or carry out something else first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chatstore.aio import AsyncRepository
from chatstore.backends.common.documents import serial, steps
from chatstore.backends.common.documents.core import DocumentsCore
from chatstore.contract import STATES
from chatstore.driving import Failed, Pause, adrive, drive
from chatstore.errors import StorageUnavailable
from chatstore.messages import Capabilities, Durability
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.backends.common.documents.header import Header
    from chatstore.codec import Row
    from chatstore.contract import Answer, C, T

Key = tuple[str, str, int]
LIMITS = steps.Limits(messages=7, size=100_000, message=90_000, header=50_000)


@dataclass
class DictStore:
    """Documents by key; *limits* are small, so that everything must be cut into pieces early."""

    limits: steps.Limits = LIMITS
    headers: dict[str, str] = field(default_factory=dict)
    rows: dict[Key, str] = field(default_factory=dict)
    ids: dict[tuple[str, str, str], int] = field(default_factory=dict)
    trouble: Callable[[Any], None] = lambda _: None
    taken: list[Any] = field(default_factory=list)
    page: int = 3

    @property
    def capabilities(self) -> Capabilities:
        """Say that nothing can be searched."""
        return Capabilities(denied=STATES | {"search"}, atomic_batch=self.limits.messages)

    def carry_out(self, step: Any) -> Any:
        """Do *step*."""
        self.taken.append(step)
        self.trouble(step)
        return getattr(self, f"_{type(step).__name__.lower()}")(step)

    def size(self, session_id: str, row: Row) -> int:  # noqa: ARG002 - the key counts nothing here
        """Return how long a row is as JSON."""
        return len(json.dumps(serial.serialize_row(row)))

    def header_size(self, session_id: str, header: Header) -> int:  # noqa: ARG002 - as above
        """Return how long a header is as JSON."""
        return len(json.dumps(serial.serialize_header(header)))

    def durability(self) -> Durability:
        """Say that nothing lasts."""
        return Durability("none", "dictionaries of a test")

    # ---- steps

    def _pause(self, step: Pause) -> None:
        """Waste no time."""

    def _look(self, step: steps.Look) -> Header | None:
        text = self.headers.get(step.session_id)
        return serial.parse_header(json.loads(text)) if text else None

    def _read(self, step: steps.Read) -> list[Row]:
        found = sorted(self._placed(step), reverse=step.newest)
        return [serial.parse_row(json.loads(self.rows[key])) for key in found][: step.limit]

    def _count(self, step: steps.Count) -> int:
        return len(self._placed(step))

    def _placed(self, step: steps.Read | steps.Count) -> list[Key]:
        where = (step.session_id, step.generation)
        return [key for key in self.rows if key[:2] == where and step.after < key[2] <= step.last]

    def _known(self, step: steps.Known) -> list[tuple[str, Row]]:
        assert len(set(step.message_ids)) == len(step.message_ids)
        found = [
            (generation, self.ids[step.session_id, generation, name])
            for generation in step.generations
            for name in step.message_ids
            if (step.session_id, generation, name) in self.ids
        ]
        return [
            (generation, serial.parse_row(json.loads(self.rows[step.session_id, generation, position])))
            for generation, position in found
        ]

    def _commit(self, step: steps.Commit) -> Header | None:
        name, stored = step.session_id, self._look(steps.Look(step.session_id))
        if (stored and stored.token) != (step.before and step.before.token):
            raise steps.Lost
        assert len(step.added) + len(step.put) + len(step.removed) <= self.limits.messages
        generation = step.after.open.generation if step.after and step.added else ""
        new = {(name, generation, row.draft.message_id): row for row in step.added}
        if new.keys() & self.ids.keys() or {(name, generation, row.position) for row in step.added} & set(
            self.rows
        ):
            raise steps.Lost
        for part, row in step.removed:
            del self.rows[name, part, row.position], self.ids[name, part, row.draft.message_id]
        for part, row in step.put:
            assert (name, part, row.position) in self.rows
            self._written(name, part, row)
        for row in step.added:
            self._written(name, generation, row)
        if step.after is None:
            del self.headers[name]
        else:
            self.headers[name] = json.dumps(serial.serialize_header(step.after))
        return step.after

    def _stage(self, step: steps.Stage) -> None:
        for row in step.rows:
            self._written(step.session_id, step.generation, row)

    def _sweep(self, step: steps.Sweep) -> None:
        gone = [key for key in self.rows if key[:2] == step[:2] and key[2] > step.above]
        for key in gone:
            del self.rows[key]
        for id_key in [one for one, at in self.ids.items() if one[:2] == step[:2] and at > step.above]:
            del self.ids[id_key]

    def _listing(self, step: steps.Listing) -> steps.Listed:
        found = [(name, serial.parse_header(json.loads(text))) for name, text in sorted(self.headers.items())]
        owned = [
            (name, header)
            for name, header in found
            if step.user_id in (None, header.session and header.session.user_id)
        ]
        page = [(name, header) for name, header in owned if name > (step.token or "")][: self.page]
        return steps.Listed(page, page[-1][0] if len(page) == self.page else None, None)

    def _written(self, session_id: str, generation: str, row: Row) -> None:
        self.rows[session_id, generation, row.position] = json.dumps(serial.serialize_row(row))
        self.ids[session_id, generation, row.draft.message_id] = row.position


class DictRepository(Repository):
    """The synchronous repository over a store in dictionaries."""

    def __init__(self, store: DictStore, ttl: int | None = None) -> None:
        self.store = store
        self._core: DocumentsCore = DocumentsCore(store, ttl)

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        return drive(operation(call), self.store.carry_out)

    def _asynchronous(self) -> AsyncRepository:
        return AsyncDictRepository(self.store)._copied(_scope=self._scope)


class AsyncDictRepository(AsyncRepository):
    """The asynchronous one."""

    def __init__(self, store: DictStore) -> None:
        self.store = store
        self._core = DocumentsCore(store)

    async def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        async def carry_out(step: Any) -> Any:
            return self.store.carry_out(step)

        return await adrive(operation(call), carry_out)


def failed(kind: str = "busy", *, ambiguous: bool = False) -> Failed:
    """Return a failure as a store raises it."""
    return Failed(kind, StorageUnavailable("it does not answer: look"), None, ambiguous=ambiguous)
