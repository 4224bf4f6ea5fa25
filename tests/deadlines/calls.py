"""Calls that may hang, what became of them, and when: shared by the tests of deadlines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from chatstore import HumanMessage
from chatstore.errors import OutcomeUnknown, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds of the deadline, and how much later a call may end.
DEADLINE, MARGIN = 1.5, 1.5
#: The same for forty at once, which take their turns on two processors beside other tests, to connect first of all.
CROWDED = 4.0
SESSION = "s"
#: By name: what is called, and whether it writes.
CALLS: dict[str, Callable[[Any], Any]] = {
    "append": lambda store: store.add_messages(SESSION, [HumanMessage("late")]),
    "pop": lambda store: store.pop_message(SESSION),
    "read": lambda store: store.get_messages(SESSION),
    "list": lambda store: store.list_sessions(),
}


def called(store: Any, name: str) -> tuple[BaseException | None, float]:
    """Return the error of a call, and how long the call took."""
    began = time.monotonic()
    try:
        CALLS[name](store)
    except StorageUnavailable as error:
        return error, time.monotonic() - began
    return None, time.monotonic() - began


async def acalled(store: Any, name: str) -> tuple[BaseException | None, float]:
    """As `called`, of an asynchronous repository."""
    began = time.monotonic()
    try:
        await CALLS[name](store)
    except StorageUnavailable as error:
        return error, time.monotonic() - began
    return None, time.monotonic() - began


def check(
    name: str, found: tuple[BaseException | None, float], unhindered: set[str], margin: float = MARGIN
) -> None:
    """Fail unless the call ended in time, and with an error that says what to do."""
    error, took = found
    assert took < DEADLINE + margin, f"{name} took {took:.2f} s: {error}"
    if name in unhindered:
        assert error is None
        return
    assert error is not None, name
    assert not (isinstance(error, OutcomeUnknown) and name in {"read", "list"}), f"{name}: {error}"
    assert ":" in str(error)
