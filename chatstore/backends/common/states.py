"""Named states in a dictionary: what reading, setting and deleting them does, without any I/O.

This module knows the rules of the contract for states; it refuses to know where they are kept.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from chatstore.arguments import microseconds
from chatstore.failures import stale_state
from chatstore.ids import state_place
from chatstore.records import State
from chatstore.strictjson import canonical

if TYPE_CHECKING:
    from datetime import datetime

    from chatstore.arguments import Scope
    from chatstore.contract import DeleteStates, GetStates, ListStates, NewStates


class Stored(NamedTuple):
    """A state as it is stored: its value is JSON text."""

    value: str
    revision: int
    updated_at: datetime


#: States by their owner, their namespace, and their key.
States: TypeAlias = "dict[tuple[Scope, str, str], Stored]"


def handed_out(scope: Scope, name: tuple[str, str], stored: Stored) -> State:
    """Return the state *name*, its namespace and key, of the owner *scope*, with a value of its own."""
    namespace, key = name
    value = json.loads(stored.value)
    return State(key, value, stored.revision, stored.updated_at, namespace, scope.tenant_id, scope.user_id)


def changed(key: str, before: Stored | None, value: str, now: datetime, expected: int | None) -> Stored:
    """Return what the state *before* becomes; the very same object where the value is equal. Raises `Conflict`."""
    expect(key, before, expected)
    if before is None:
        return Stored(value, microseconds(now), now)
    if value == before.value or canonical(json.loads(value)) == canonical(json.loads(before.value)):
        return before
    return Stored(value, before.revision + 1, max(before.updated_at, now))


def expect(key: str, found: Stored | None, revision: int | None) -> None:
    """Raise `Conflict` unless the state is at *revision* (None: any; 0: there is none)."""
    actual = found.revision if found else 0
    if revision is not None and revision != actual:
        raise stale_state(key, revision, actual)


def read(states: States, call: GetStates) -> list[State]:
    """Return the states that *call* asks for, by their keys."""
    names = [(call.namespace, key) for key in _keys(states, call)]
    return [handed_out(call.scope, name, states[call.scope, *name]) for name in names]


def listed(states: States, call: ListStates) -> list[State]:
    """Return the states that *call* lists."""
    places = {
        state_place(scope.tenant_id, scope.user_id, namespace, key): (scope, namespace, key)
        for scope, namespace, key in states
        if call.scope.sees(scope.tenant_id, scope.user_id)
    }
    wanted = sorted(place for place in places if call.after is None or place > call.after)[: call.limit]
    found = [places[place] for place in wanted]
    return [
        handed_out(scope, (namespace, key), states[scope, namespace, key]) for scope, namespace, key in found
    ]


def write(
    states: States, scope: Scope, new: NewStates, now: datetime, expected: int | None = None
) -> list[State]:
    """Set the states *new* of the owner *scope*; return them."""
    made = {
        (scope, *name): changed(name[1], states.get((scope, *name)), value, now, expected)
        for name, value in new.items()
    }
    states.update(made)
    return [handed_out(scope, (namespace, key), stored) for (_, namespace, key), stored in made.items()]


def remove(states: States, call: DeleteStates) -> int:
    """Delete the states that *call* names; return how many there were."""
    gone = _keys(states, call)
    if call.expected_revision is not None and gone:
        (key,) = gone
        expect(key, states[call.scope, call.namespace, key], call.expected_revision)
    for key in gone:
        del states[call.scope, call.namespace, key]
    return len(gone)


def _keys(states: States, call: GetStates) -> list[str]:
    return sorted(
        key
        for scope, namespace, key in states
        if scope == call.scope and namespace == call.namespace and (not call.keys or key in call.keys)
    )
