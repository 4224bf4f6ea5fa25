"""One driver on one side, and what a fault needs of it: URLs, engines and calls that are written once.

Knows how a call waits or is awaited; refuses to know which fault it is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, make_url

import chatstore
from chatstore import HumanMessage, migrations
from tests import databases
from tests.drivers import places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.drivers.drivers import Driver
    from tests.drivers.places import Places


#: The deadline of calls, in seconds: what may pass is given up early.
SECONDS = 3.0


class Awaited:
    """A repository that awaits, called as one that waits."""

    def __init__(self, repository: Any, runner: asyncio.Runner) -> None:
        """Run every call of *repository* in *runner*."""
        self._repository, self._runner = repository, runner

    def __getattr__(self, name: str) -> Any:
        """Return the method *name*, which runs until it is done."""

        def call(*args: Any, **options: Any) -> Any:
            async def awaited() -> Any:
                return await getattr(self._repository, name)(*args, **options)

            return self._runner.run(awaited())

        return call

    def using(self, connection: Any) -> Awaited:
        """Return the same repository inside the caller's transaction."""
        return Awaited(self._repository.using(connection), self._runner)


class Case:
    """A driver on one side, in a test."""

    def __init__(
        self, driver: Driver, side: str, places: Places, folder: Path, stack: contextlib.ExitStack
    ) -> None:
        """Make nothing yet; *stack* ends what is made."""
        self.driver, self.family, self.places, self.folder, self.stack = (
            driver,
            driver.family,
            places,
            folder,
            stack,
        )
        self.awaits = side == "awaits"
        self.session = f"s-{secrets.token_hex(4)}"
        self.runner = stack.enter_context(asyncio.Runner()) if self.awaits else None

    # ---- where

    def url(self, at: str = "", *, query: str = "", **parts: Any) -> URL:
        """Return the URL of this driver for the server or file *at* (the shared database), with *parts* changed."""
        if self.family == "sqlite":
            at = at or self.file()
            said = make_url(at + (f"?{query}" if query else ""))
            secret = {"username": "", "password": places.PASSWORD} if self.driver.name == "SQLCipher" else {}
            return said.set(drivername=self.driver.scheme, **{**secret, **parts})
        given = make_url(at or self.places.database(self.family))
        said = URL.create(self.driver.scheme, "app", places.PASSWORD, "127.0.0.1", given.port, given.database)
        return make_url(
            said._replace(**parts).render_as_string(hide_password=False) + (f"?{query}" if query else "")
        )

    def file(self) -> str:
        """Return the URL of a new SQLite file with our tables, as this driver writes them."""
        path = self.folder / f"{secrets.token_hex(4)}.db"
        secret = f":{places.PASSWORD}@" if self.driver.name == "SQLCipher" else ""
        scheme = self.driver.scheme if secret else "sqlite"
        migrations.upgrade(f"{scheme}://{secret}/{path}")
        return f"sqlite:///{path}"

    # ---- how

    def repository(self, target: Any) -> Any:
        """Connect to *target*, a URL or an engine, on this side; every call waits until it is done."""
        if self.driver.passed_in and isinstance(target, URL):
            target = self.engine(target)
        if isinstance(target, URL):
            target = target.render_as_string(hide_password=False)
        if self.runner is None:
            repository: Any = chatstore.connect(target, deadline=SECONDS)
        else:
            repository = Awaited(chatstore.connect_async(target, deadline=SECONDS), self.runner)
        self.stack.callback(repository.close)
        return repository

    def engine(self, url: URL, **options: Any) -> Any:
        """Return an engine as an application makes one; it is disposed of at the end."""
        if self.runner is None or (self.family == "sqlite" and not self.driver.passed_in):
            engine = create_engine(url, **options)
            self.stack.callback(engine.dispose)
            return engine
        from sqlalchemy.ext.asyncio import create_async_engine

        awaiting = create_async_engine(url, **options)
        self.stack.callback(self.run, awaiting.dispose)
        return awaiting

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call what may have to be awaited."""
        if self.runner is None:
            return function(*args)

        async def awaited() -> Any:
            found = function(*args)
            return await found if hasattr(found, "__await__") else found

        return self.runner.run(awaited())

    def counting(self, target: Any) -> Callable[[], object]:
        """Return a call that reads, by a repository that is made in the call."""
        return lambda: self.repository(target).count_messages(self.session)

    def keeping(self, target: Any, *texts: str) -> Callable[[], object]:
        """Return a call that appends each of *texts*, and compares what comes back, by a new repository."""

        def call() -> None:
            repository = self.repository(target)
            for text in texts:
                sent = HumanMessage(text, id=f"id {text}", additional_kwargs={"x": text})
                repository.add_messages(self.session, [sent])
                assert sent == repository.get_messages(self.session, last=1)[0]

        return call

    # ---- what others do meanwhile

    def admin(self, at: str = "") -> Any:
        """Return a cursor of the superuser's."""
        return self.stack.enter_context(databases.connection(at or self.places.database(self.family)))

    def hold(self, at: str = "") -> Any:
        """Have somebody else hold this session's row until the test ends; return their cursor."""
        holder = self.admin(at)
        holder.execute("START TRANSACTION")
        holder.execute("SELECT * FROM chatstore_sessions WHERE session_id = %s FOR UPDATE", (self.session,))
        holder.fetchall()
        return holder

    def meanwhile(self, step: Callable[[], None]) -> None:
        """Repeat *step* in a thread until the test ends."""
        ended = threading.Event()

        def repeat() -> None:
            while not ended.wait(0.02):
                step()

        thread = threading.Thread(target=repeat)
        thread.start()

        def end() -> None:
            ended.set()
            thread.join()

        self.stack.callback(end)


@contextlib.contextmanager
def made(driver: Driver, side: str, places: Places, folder: Path) -> Iterator[Case]:
    """Give the case of *driver* on one *side*."""
    with contextlib.ExitStack() as stack:
        yield Case(driver, side, places, folder, stack)
