"""Named states from one repository to another, and whether they are the same in both.

This module composes what the contract offers, as `chatstore.cli.session_copy` does for a session. A copied state begins
a revision of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatstore.strictjson import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.messages import State
    from chatstore.repository import Repository


def list_states(repository: Repository) -> Iterator[State]:
    """Yield the states that *repository* sees; none where it cannot keep any."""
    if "iter_states" not in repository.capabilities.denied:
        yield from repository.iter_states()


def copy_states(source: Repository, target: Repository) -> tuple[int, list[str]]:
    """Set the states of *source* in *target*, whatever is there; return how many, and which are not the same now."""
    number, kept = 0, "set_states" not in target.capabilities.denied
    for state in list_states(source):
        number += 1
        if kept:
            _owned(target, state).set_states(state.namespace, {state.key: state.value})
    differing = [_named(state) for state in list_states(source) if not kept or not _is_same(state, target)]
    return number, differing


def delete_states(repository: Repository) -> int:
    """Delete the states that *repository* sees; return how many."""
    gone = list(list_states(repository))
    return sum(_owned(repository, state).delete_states(state.namespace, state.key) for state in gone)


def _owned(repository: Repository, state: State) -> Repository:
    """Return *repository* in the scope that *state* belongs to exactly."""
    owner = {
        name: value
        for name, value in (("tenant_id", state.tenant_id), ("user_id", state.user_id))
        if value is not None and getattr(repository._scope, name) is None
    }
    return repository.scope(**owner) if owner else repository


def _is_same(state: State, target: Repository) -> bool:
    there = _owned(target, state).get_states(state.namespace, state.key).get(state.key)
    return there is not None and canonical(there.value) == canonical(state.value)


def _named(state: State) -> str:
    owner = "/".join(one for one in (state.tenant_id, state.user_id) if one is not None)
    return f"{state.key!r} of {state.namespace!r}" + (f", owner {owner}" if owner else "")
