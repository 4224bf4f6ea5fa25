"""`DjangoRepository` and `AsyncDjangoRepository`: every call on Django's own connection, inside its transaction.

This module knows which database is asked and what its errors mean; how Django's connections are borrowed is in
``database.py``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, connections, router
from sqlalchemy.exc import SQLAlchemyError

from chatstore.aio import AsyncRepository
from chatstore.aio_answers import to_the_end
from chatstore.backends.sql.failures import make_failed
from chatstore.backends.sql.lending import interrupt_in
from chatstore.backends.sql.plans import SQLCore, Step
from chatstore.backends.sql.schema_check import schema_state
from chatstore.contrib.django.database import Database, database
from chatstore.driving import Pause, drive
from chatstore.errors import NotSupported, SchemaMissing, SchemaOutdated, StorageUnavailable
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import MethodType

    from chatstore.contract import Answer, C, T


#: The operations by name: which core is meant is known when one is called, in the thread that has the transaction.
_NAMES = {function: name for name, function in vars(SQLCore).items() if callable(function)}
_LOOK: Step[str] = Step(schema_state, (None,), unit=False)


class NotLoggedIn(PermissionDenied):
    """Nobody is logged in whose chats these could be: 403 by Django, 401 by `ProblemMiddleware`."""


class _Owned:
    """What both repositories know of the application's users."""

    def for_user(self, user: Any, *, tenant_id: str | None = None) -> Self:
        """Return the same repository limited to the sessions of *user*, who must be logged in.

        The sessions' ``user_id`` is the user's primary key as text. Raises `NotLoggedIn`, a `PermissionDenied`,
        for an anonymous user and for None, `StorageUnavailable` where the user cannot be read.
        """
        try:
            known = user is not None and user.is_authenticated and user.pk is not None
        except (InterfaceError, OperationalError) as error:  # it is read from the database now
            msg = "the database with the users cannot be reached: check that it runs"
            raise StorageUnavailable(msg) from error
        if not known:
            msg = "chats belong to a user: log in first"
            raise NotLoggedIn(msg)
        return cast("Any", self).scope(user_id=str(user.pk), tenant_id=tenant_id)  # type: ignore[no-any-return]

    def using(self, transaction: Any) -> Self:
        """Refuse: what is called inside ``transaction.atomic()`` is in that transaction. Raises `NotSupported`."""
        del transaction
        msg = (
            "this repository works on Django's connection and takes no other: call it inside transaction.atomic(), and "
            "what it does is part of that transaction"
        )
        raise NotSupported(msg)


class DjangoRepository(_Owned, Repository):
    """Conversations in one of ``DATABASES``, on Django's connection of the calling thread.

    Inside ``transaction.atomic()`` each change is part of that transaction and has a savepoint of its own; outside, it
    is committed at once and tried again where that is safe. Connections are opened, kept and closed by Django.
    """

    def __init__(self, alias: str | None = None) -> None:
        """Use ``DATABASES[alias]``; None asks ``DATABASE_ROUTERS`` at every call. Connects to nothing."""
        self._alias = alias

    @property
    def alias(self) -> str:
        """The alias of the database that is used now."""
        if self._alias is not None:
            return self._alias
        from chatstore.contrib.django.models import Session

        return router.db_for_write(Session)  # type: ignore[no-any-return]

    @property
    def _core(self) -> SQLCore:  # type: ignore[override]
        return database(self.alias).alone

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        used = database(self.alias)
        inside = used.in_transaction
        if not used.ready:
            look(used)
        name = _NAMES[cast("MethodType", operation).__func__]
        work: Callable[[C], Answer[T]] = getattr(used.inside if inside else used.alone, name)
        return drive(work(call), lambda step: _carry_out(used, step, inside=inside))

    def _writes_beside(self) -> bool:
        return not database(self.alias).in_transaction

    def _leave_thread(self) -> None:
        connections[self.alias].close()

    def _asynchronous(self) -> AsyncDjangoRepository:
        return AsyncDjangoRepository(self)


def _carry_out(used: Database, step: Step[Any] | Pause, *, inside: bool) -> Any:
    """Run *step* on Django's connection; as a unit in a transaction, or in a savepoint if one is open (*inside*)."""
    if isinstance(step, Pause):
        time.sleep(step.seconds)
        return None
    ambiguous = not step.unit
    try:
        with used.connection() as connection:
            if not step.unit:
                return step.function(connection, *step.args)
            with used.unit():
                result = step.function(connection, *step.args)
                ambiguous = True
            return result
    except SQLAlchemyError as error:
        interrupt = interrupt_in(error)
        if interrupt is not None:
            raise interrupt from None
        failed = make_failed(error, ambiguous=ambiguous and not inside, inside=inside)
    used.leave()
    if failed.kind == "no_table":
        used.ready = False
    if inside:
        raise failed.error from failed.cause
    raise failed


def look(used: Database) -> None:
    """Look once whether the tables are there and current. Raises `SchemaError` that says what to run."""
    try:
        state = _carry_out(used, _LOOK, inside=True)
    except SchemaOutdated as error:
        raise _advised(error) from error
    except SchemaMissing as error:
        raise _missing() from error
    if state == "empty":
        raise _missing()
    used.ready = True


def _advised(error: SchemaOutdated) -> SchemaOutdated:
    return SchemaOutdated(f"{str(error).partition(': run ')[0]}: run manage.py migrate chatstore")


def _missing() -> SchemaMissing:
    return SchemaMissing("the database has no chatstore tables: run manage.py migrate chatstore")


class AsyncDjangoRepository(_Owned, AsyncRepository):
    """The same with ``await``, for asynchronous views: Django's connection is used in its thread, as the ORM does."""

    def __init__(self, inner: DjangoRepository | str | None = None) -> None:
        """Do what *inner*, or the repository of an alias, does."""
        self._inner = inner if isinstance(inner, DjangoRepository) else DjangoRepository(inner)
        self._scope = self._inner._scope

    @property
    def alias(self) -> str:
        """The alias of the database that is used now."""
        return self._inner.alias

    @property
    def _core(self) -> SQLCore:  # type: ignore[override]
        return self._inner._core

    async def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        # What has begun in the thread cannot be stopped half way.
        return await to_the_end(sync_to_async(self._inner._run, thread_sensitive=True)(operation, call))

    async def close(self) -> None:
        """Do nothing: the connections are Django's."""


__all__ = ["AsyncDjangoRepository", "DjangoRepository", "NotLoggedIn", "look"]
