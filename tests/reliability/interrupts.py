"""Interrupts at a chosen line of a call, and the calls that they interrupt.

This module knows how an exception comes out of nowhere, and what each operation needs before it can be called; it
refuses to know what must be true afterwards.
"""

from __future__ import annotations

import asyncio
import dis
import sys
from contextlib import contextmanager
from functools import cache, partial
from types import CodeType, FrameType, coroutine
from typing import TYPE_CHECKING, Any

from chatstore import AIMessage, HumanMessage
from chatstore.arguments import utcnow
from chatstore.backends.sql import repository
from chatstore.errors import MessageConflict
from chatstore.records import MessageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator

#: Whose lines are interrupted: ours, and those of everything that holds something for the next call.
OURS = ("/chatstore/",)
BELOW = (
    "/sqlalchemy/",
    "/pymysql/",
    "/aiomysql/",
    "/psycopg/",
    "/redis/",
    "/contextlib.py",
    "/weakref.py",
    "/queue.py",
)


class Interrupted(Exception):
    """What a task's time limit raises: an ordinary exception, of a class that no library knows."""


class Broken(BaseException):
    """What Ctrl-C is like: no ordinary exception."""


class Tracer:
    """Raises *error* once, at line number *at* of those that run in files of *parts*."""

    def __init__(self, at: int, error: BaseException, parts: tuple[str, ...]) -> None:
        """Count from 1."""
        self.left, self.error, self.parts = at, error, parts
        self.where = ""

    @property
    def raised(self) -> bool:
        """Tell whether the call came as far as the line."""
        return self.left <= 0

    def __call__(self, frame: FrameType, _event: str, _argument: object) -> Any:
        """Follow frames of the files that are wanted."""
        if self.left <= 0 or not _wanted(frame.f_code.co_filename, self.parts):
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line" and self.left > 0 and frame.f_lasti not in leaving(frame.f_code):
            self.left -= 1
            if self.left == 0:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
                raise self.error
        return self._line

    @contextmanager
    def on(self) -> Iterator[None]:
        """Interrupt what runs inside."""
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(None)

    async def awaiting(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Interrupt *call* at a line, also where SQLAlchemy runs it in a greenlet, which has a tracer of its own."""
        with self.on(), _in_greenlets(self):
            return await call

    @coroutine
    def waiting(self, call: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await *call*, and cancel the task where it waits, instead of raising at a line."""
        resumed: Callable[[], Any] = partial(call.send, None)
        while True:
            try:
                waited = resumed()
            except StopIteration as end:
                return end.value
            self.left -= 1
            if self.left == 0:
                task = asyncio.current_task()
                assert task is not None
                self.where = "a wait"
                task.cancel()
            try:
                resumed = partial(call.send, (yield waited))
            except BaseException as error:  # noqa: BLE001 - handed on
                resumed = partial(call.throw, error)


@contextmanager
def _in_greenlets(tracer: Tracer) -> Iterator[None]:
    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            with tracer.on():
                return function(*args)

        return run

    before = repository._run_step
    repository._run_step = traced(before)
    try:
        yield
    finally:
        repository._run_step = before


@cache
def _wanted(filename: str, parts: tuple[str, ...]) -> bool:
    return "/tests/" not in filename and any(part in filename for part in parts)


@cache
def leaving(code: CodeType) -> frozenset[int]:
    """Return where *code* leaves a ``with`` block, on the way to the call of its ``__exit__``.

    A tracer may raise there. Nothing else can: Python runs the handlers of signals, and raises what was sent to a
    thread, at the beginning and the end of calls and where a loop jumps back. The first line inside an ``__exit__``
    that is written in Python is interrupted all the same.
    """
    found = list(dis.get_instructions(code))
    places: set[int] = set()
    for at, first in enumerate(found):
        names = [one.opname for one in found[at : at + 4]]
        if names[:2] == ["PUSH_EXC_INFO", "WITH_EXCEPT_START"]:
            places.add(first.offset)
        elif (
            names[:3] == ["LOAD_CONST"] * 3
            and names[3:] in (["PRECALL"], ["CALL"])
            and all(one.argval is None for one in found[at : at + 3])
        ):
            places.add(first.offset)
            if found[at - 1].opname == "SWAP":  # what the block returns goes out of the way
                places.add(found[at - 1].offset)
    return frozenset(places)


# ------------------------------------------------------------------------------------------------ the calls

WORK, OTHER = "work", "other"


def _message(name: str) -> HumanMessage:
    return HumanMessage(f"text of {name}", id=name)


FIRST = [_message("w1"), AIMessage("text of w2", id="w2"), _message("w3")]


_LOADED = [
    MessageRecord(_message(f"l{at}"), position=at, message_id=f"l{at}", created_at=utcnow(), session_id=OTHER)
    for at in (4, 5)
]


_OTHER_BODY = HumanMessage("another body", id="w1")
#: Every operation of the contract, on a repository where `WORK` holds `FIRST` from a position on, and `OTHER` nothing.
OPERATIONS: dict[str, Callable[[Any, int], Any]] = {
    "create": lambda r, _: r.create_session(OTHER, title="made"),
    "get": lambda r, _: r.get_session(WORK),
    "update": lambda r, at: r.update_session(WORK, title=f"changed {at}", metadata={"a": 1}),
    "delete": lambda r, _: r.delete_session(WORK),
    "sessions": lambda r, _: r.list_sessions(limit=5),
    "fork": lambda r, at: r.fork_session(WORK, OTHER, through=at + 1),
    "load": lambda r, _: r.load_records(OTHER, _LOADED),
    "append": lambda r, _: r.add_messages(WORK, [HumanMessage("a"), HumanMessage("b")]),
    "append known": lambda r, _: r.add_messages(WORK, [FIRST[2], _message("w4"), _message("w5")]),
    "append refused": lambda r, _: refused(lambda: r.add_messages(WORK, [HumanMessage("new"), _OTHER_BODY])),
    "replace": lambda r, _: r.replace_messages(WORK, [_message("r1"), _message("r2")]),
    "messages": lambda r, _: r.get_messages(WORK, last=2),
    "records": lambda r, _: r.get_records(WORK),
    "message": lambda r, _: r.get_message(WORK, "w2"),
    "edit": lambda r, _: r.update_message(WORK, "w2", AIMessage("edited")),
    "remove": lambda r, _: r.delete_message(WORK, "w2"),
    "pop": lambda r, _: r.pop_message(WORK),
    "count": lambda r, _: r.count_messages(WORK),
    "truncate": lambda r, at: r.truncate(WORK, after=at),
    "search": lambda r, _: r.search("text", session_id=WORK),
    "usage": lambda r, _: r.usage(),
    "purge": lambda r, _: r.purge(expired_only=True),
    "durability": lambda r, _: r.durability(),
}


def refused(call: Callable[[], Any]) -> None:
    """Expect `MessageConflict`: an error of ours is no interrupt, and nor may it become one."""
    try:
        call()
    except MessageConflict:
        return
    raise AssertionError
