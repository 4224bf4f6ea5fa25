"""`Lease`: an engine or a client, made here or given by the caller, and how long it lives.

Made here: one for each URL in this process, and under asyncio one for each running loop. It is made when it is used,
counted by who uses it, disposed of when the last of them closes, and made anew when one of them uses it again. A forked
child makes its own: the parent's sockets stay the parent's. Given: used as it is, and never disposed of.

A backend says how one is made, and how it is disposed of. This module refuses to know engines and clients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import get_running_loop
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Hashable

#: What blocks, and what awaits.
S = TypeVar("S")
A = TypeVar("A")
L = TypeVar("L", bound="Lease[Any, Any]")

#: In a forked child, what belongs to the parent: to collect it would touch the parent's sockets.
_left_alone: list[Any] = []


class User:
    """Who uses a lease: a repository, together with its copies."""

    __slots__ = ("__weakref__", "counted")

    def __init__(self) -> None:
        """Begin as one who is not counted."""
        self.counted = False


class Lease(ABC, Generic[S, A]):
    """What blocks, and for each running loop what awaits, with those who use it; safe for threads."""

    def __init__(self, given: S | A | None = None) -> None:
        """Lend what was *given*, or make it at the first use."""
        self.given = given is not None
        #: What blocks, once it is made.
        self.thing: Any = given
        self._users: WeakSet[User] = WeakSet()
        self._awaiting: WeakKeyDictionary[AbstractEventLoop, tuple[A, set[User]]] = WeakKeyDictionary()
        self._renew()
        renewed_in_child(self)

    # ---- what a backend says

    @abstractmethod
    def make(self) -> S:
        """Make what blocks."""

    def make_awaiting(self) -> A:
        """Make what the running loop awaits."""
        raise NotImplementedError

    @abstractmethod
    def dispose(self, thing: S) -> None:
        """Close what `make` made."""

    async def dispose_awaiting(self, thing: A) -> None:
        """Close what `make_awaiting` made."""
        raise NotImplementedError

    def abandon(self, thing: A) -> None:
        """Let go of what a loop awaited that was closed before it was given back: nothing can be awaited there."""

    def leave(self, thing: S) -> None:
        """Let go of *thing*, in a forked child whose parent made it."""
        _left_alone.append(thing)

    def unlearn(self) -> None:
        """Forget what was seen, after the last one has closed: until the next use it may have changed."""

    # ---- lending

    @property
    def users(self) -> int:
        """How many use what blocks."""
        return len(self._users)

    @property
    def is_open(self) -> bool:
        """Whether there is anything that was made here and not disposed of."""
        return not self.given and (self.thing is not None or bool(self._awaiting))

    def enter(self, user: User) -> None:
        """Count *user*, before the first use: until it closes, what others made stays."""
        with self._lock:
            self._count(user)

    def lend(self, user: User) -> S:
        """Return what blocks, which stays at least until *user* closes."""
        thing: S | None = self.thing
        return thing if thing is not None and user.counted else self._open(user)

    def lend_awaiting(self, user: User) -> A:
        """Return what awaits in the running loop, which stays at least until *user* closes there."""
        if self.given:
            theirs: A = self.thing
            return theirs
        loop = get_running_loop()
        kept = self._awaiting.get(loop)
        if kept is None or user not in kept[1]:
            kept = self._open_awaiting(loop, user)
        return kept[0]

    def renounce(self, thing: S) -> None:
        """Have something else made at the next use, where *thing* was made here."""
        if thing is self.thing and not self.given:
            self.thing = None

    def close(self, user: User) -> None:
        """Count *user* no longer; dispose of what was made here with the last."""
        with self._lock:
            self._users.discard(user)
            user.counted = False
            if self.given or self._users:
                return
            thing, self.thing = self.thing, None
            self._forget()
        if thing is not None:
            self.dispose(thing)

    async def aclose(self, user: User) -> None:
        """Give back what *user* awaited in the running loop, which goes with its last user."""
        loop = get_running_loop()
        kept = self._awaiting.get(loop)
        if kept is not None:
            kept[1].discard(user)
            if kept[1]:
                return
            del self._awaiting[loop]
        self._forget()
        if kept is not None:
            await self.dispose_awaiting(kept[0])

    # ---- what is kept

    def _open(self, user: User) -> S:
        with self._lock:
            if self.thing is None:
                self.thing = self.make()
            self._count(user)
            thing: S = self.thing
            return thing

    def _open_awaiting(self, loop: AbstractEventLoop, user: User) -> tuple[A, set[User]]:
        with self._lock:
            self._abandon()
            kept = self._awaiting.get(loop)
            if kept is None:
                kept = self._awaiting[loop] = self.make_awaiting(), set()
            kept[1].add(user)
            _in_use.add(self)
            return kept

    def _count(self, user: User) -> None:
        self._users.add(user)
        user.counted = True
        if not self.given:
            _in_use.add(self)

    def _forget(self) -> None:
        self._abandon()
        if not self.given and not self._users and not self._awaiting:
            _in_use.discard(self)
            self.unlearn()

    def _abandon(self) -> None:
        for loop in [loop for loop in list(self._awaiting) if loop.is_closed()]:
            if (kept := self._awaiting.pop(loop, None)) is not None:
                self.abandon(kept[0])

    def _renew(self) -> None:
        """Begin anew in a forked child."""
        self._lock = Lock()  # another thread of the parent may have held it
        if self.given:
            return
        thing, self.thing = self.thing, None
        if thing is not None:
            self.leave(thing)
        if self._awaiting:
            _left_alone.append(list(self._awaiting.values()))
            self._awaiting.clear()


class _Known:
    """The leases that repositories on one URL share, as long as anybody has them."""

    def __init__(self) -> None:
        self._leases: WeakValueDictionary[tuple[Hashable, ...], Lease[Any, Any]] = WeakValueDictionary()
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        self._lock = Lock()

    def find(self, make: Callable[[], Any], key: tuple[Hashable, ...]) -> Any:
        with self._lock:
            lease = self._leases.get(key)
            if lease is None:
                lease = self._leases[key] = make()
            return lease


_known = _Known()
#: What has users, or is open in a loop: it is there for the next one on the URL though nobody else has it any more.
_in_use: set[Lease[Any, Any]] = set()


def shared(kind: type[L], *key: Hashable, make: Callable[[], L]) -> L:
    """Return the lease of this *kind* and *key* in this process, made where there is none."""
    lease: L = _known.find(make, (kind, *key))
    return lease


def in_use() -> list[Lease[Any, Any]]:
    """Return the leases that have users, or are open in a loop."""
    return list(_in_use)
