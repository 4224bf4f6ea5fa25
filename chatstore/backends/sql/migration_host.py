"""Take part in a host application's own Alembic: one line in its ``env.py``, or one where its `Config` is made.

Knows how Alembic runs an ``env.py``, and by which of its commands. Refuses to know what a migration does, and
where the line stands but for one thing: above the host's own run.

Alembic is asked, never the command line: ``alembic.command.upgrade`` and Flask-Migrate's functions have none.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Final

from alembic.runtime.environment import EnvironmentContext
from alembic.util import CommandError

from chatstore.backends.sql.migrations import HEAD, ignore, upgrade, write_upgrade
from chatstore.errors import ChatstoreError, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection

#: Under this name a `Config` says that chatstore takes part, and an environment that it does.
_KEY: Final = "chatstore"


@dataclass
class _Part:
    """What chatstore does in an ``env.py``: in which *schema*, and on which of several databases.

    *strict*: somebody wrote it down there, so that what does not fit is a mistake. Otherwise None is the main database,
    which the templates for several call "", and a database that ``env.py`` does not run is left alone. Without
    *upgrades* the tables are hidden, and nothing else is done.
    """

    schema: str | None
    engine_name: str | None
    strict: bool
    upgrades: bool = True

    def chooses(self, given: Mapping[str, Any]) -> bool:
        """Tell whether a run, by what ``run_migrations`` was *given*, is on chatstore's database."""
        name = given.get("engine_name")
        if not self.strict:
            return self.upgrades and (name or None) == (self.engine_name or None)
        if self.engine_name is None and "engine_name" in given:
            raise Invalid(
                "env.py works on several databases: say in which one chatstore's tables are, as in "
                f"add_to(context, engine_name={name!r})"
            )
        if self.engine_name is not None and "engine_name" not in given:
            raise Invalid("env.py calls run_migrations without engine_name: leave it out of add_to as well")
        return self.engine_name is None or self.engine_name == name

    def refuse_unseen(self, seen: set[Any]) -> None:
        """Raise `CommandError` where what was written down named none of the databases that were *seen*."""
        if self.strict and seen and self.engine_name not in seen:
            raise CommandError(
                f"chatstore's migrations did not run: engine_name={self.engine_name!r} is none of "
                f"{', '.join(sorted(map(repr, seen)))}; correct it where env.py calls add_to"
            )


def add_to(context: Any, *, schema: str | None = None, engine_name: str | None = None) -> None:
    """Add chatstore's migrations to a host's: one line at the top of its ``env.py``, with Alembic's *context*.

    Whenever the host is upgraded, by whatever it is that runs ``env.py``, its revisions are followed by
    chatstore's, up to the one that this release needs: on the host's connection, or with ``--sql`` in the host's
    script. A script that starts at a revision of the host's needs ``-x chatstore=REVISION`` too. No other command
    touches chatstore's tables; autogenerate and ``check`` do not see them. A host that has chatstore's revisions among
    its own (``version_locations``) runs them itself, and they are only hidden. In an ``env.py`` for several databases,
    *engine_name* says in which one they are: the one of ``run_migrations(engine_name=...)``. Errors are Alembic's
    `CommandError`.
    """
    with _as_alembics():
        _join(_environment(context), _Part(schema, engine_name, strict=True))


def add_to_config(
    config: Config, *, schema: str | None = None, engine_name: str | None = None, upgrades: bool = True
) -> None:
    """Do what `add_to` does in every ``env.py`` that is run with this *config*, for who makes it and not the file.

    Where there are several databases, *engine_name* is the one with chatstore's tables, None the main one; if
    ``env.py`` does not run that one, they are left to ``chatstore upgrade``. Without *upgrades* they always are, and
    only hidden from autogenerate. A call of `add_to` in the file itself takes the place of this.
    """
    _watch()
    config.attributes[_KEY] = _Part(schema, engine_name, strict=False, upgrades=upgrades)


@cache
def _watch() -> None:
    """Let every environment look, when it begins, whether its `Config` wants chatstore in it.

    Alembic has no hook there, and its command hands a `Config` on to nothing else that runs before ``env.py``.
    """
    begin = EnvironmentContext.__enter__

    @wraps(begin)
    def enter(environment: EnvironmentContext) -> EnvironmentContext:
        if part := environment.config.attributes.get(_KEY):
            _join(environment, part)
        return begin(environment)

    EnvironmentContext.__enter__ = enter  # type: ignore[method-assign]


def _join(environment: EnvironmentContext, part: _Part) -> None:
    """Wrap the one call by which every ``env.py`` migrates; a second time only what shall be done is replaced."""
    joined, vars(environment)[_KEY] = _KEY in vars(environment), part
    if joined:
        return
    run, leave, seen = environment.run_migrations, environment._remove_proxy, set()

    def run_migrations(**given: Any) -> None:
        part: _Part = vars(environment)[_KEY]
        host, went_up = environment.get_context(), list[bool]()
        with _as_alembics():
            chosen = part.chooses(given) and not _is_one_history(environment)
            if chosen and host.as_sql and _upgrades(environment, went_up):
                _start(environment)  # before the host's part is written
        _hide_ours(host)
        host.on_version_apply_callbacks += (
            lambda step, **_: went_up.append(step.is_upgrade and not step.is_stamp),
        )
        run(**given)
        seen.add(given.get("engine_name"))
        if chosen and _upgrades(environment, went_up):
            with _as_alembics():
                _write(environment, host, part.schema) if host.as_sql else _upgrade(host, part.schema)

    def remove_proxy() -> None:
        leave()
        if sys.exception() is None:
            vars(environment)[_KEY].refuse_unseen(seen)

    environment.run_migrations = run_migrations  # type: ignore[method-assign]
    environment._remove_proxy = remove_proxy  # type: ignore[method-assign]


@contextlib.contextmanager
def _as_alembics() -> Iterator[None]:
    """Raise errors of ours as Alembic's, which its command prints in one line."""
    try:
        yield
    except ChatstoreError as error:
        raise CommandError(f"chatstore: {error}") from error


def _environment(context: Any) -> EnvironmentContext:
    """Return what stands behind ``alembic.context``, as long as nothing has run."""
    environment = getattr(context, "_proxy", context)
    if not isinstance(environment, EnvironmentContext):
        raise Invalid(
            "add_to works in an env.py that Alembic runs: pass it what `from alembic import context` gives"
        )
    if environment._migration_context is not None:
        raise Invalid(
            "add_to comes too late: call it at the top of env.py, before the first context.configure"
        )
    return environment


def _is_one_history(environment: EnvironmentContext) -> bool:
    """Tell whether the host has our revisions among its own (``version_locations``), and runs them itself."""
    try:
        environment.script.get_revision(HEAD)
    except CommandError:
        return False
    return True


def _hide_ours(host: MigrationContext) -> None:
    """Keep autogenerate's hands off our tables, in the database and in the host's metadata."""
    by_name, by_object = host.opts.get("include_name"), host.opts.get("include_object")

    def include_name(name: str | None, type_: str, parents: Mapping[str, Any]) -> bool:
        return ignore(name, type_, parents) and (by_name is None or by_name(name, type_, parents))

    def include_object(thing: Any, name: str | None, type_: str, *rest: Any, **more: Any) -> bool:
        return ignore(name, type_, {}) and (by_object is None or by_object(thing, name, type_, *rest, **more))

    host.opts.update(include_name=include_name, include_object=include_object)


def _upgrades(environment: EnvironmentContext, went_up: list[bool]) -> bool:
    """Tell an upgrade, also one that had nothing to do, from whatever else runs an ``env.py``.

    Alembic's commands are known by name. A program's own function says what it is by what it did, or by its
    destination.
    """
    asked = environment.context_opts
    work = asked.get("fn")
    if getattr(work, "__module__", "") == "alembic.command":
        return getattr(work, "__name__", "") == "upgrade"
    return all(went_up) if went_up else asked.get("destination_rev") in {"head", "heads"}


def _upgrade(host: MigrationContext, schema: str | None) -> None:
    """Upgrade on the host's connection; a schema that the host has put in the place of another is the one meant.

    Its map of schemas is taken off meanwhile: it would move tables, and leave where it is what is written by hand.
    """
    connection: Connection | None = host.connection
    assert connection is not None  # noqa: S101 -- online there is one
    schemas = connection.get_execution_options().get("schema_translate_map") or {}
    connection.execution_options(schema_translate_map=None)
    try:
        upgrade(connection, schema=schemas.get(schema, schema))
    finally:
        connection.execution_options(schema_translate_map=schemas)


def _write(environment: EnvironmentContext, host: MigrationContext, schema: str | None) -> None:
    """Write our statements behind the host's, in its transaction where its script is in one."""
    dialect = type(host.dialect)(paramstyle="named")  # type: ignore[call-arg]
    begins = host._transaction_per_migration or not host.impl.transactional_ddl
    start = _start(environment)
    host.impl.static_output(f"-- chatstore's own revisions: {start} -> {HEAD}")
    write_upgrade(dialect, f"{start}:{HEAD}", schema, host.output_buffer, begins=begins)


def _start(environment: EnvironmentContext) -> str:
    """Return where our part of a script starts: what ``-x`` says, or from nothing if the host's part does."""
    if told := environment.get_x_argument(as_dictionary=True).get("chatstore"):
        return told
    start = environment.get_starting_revision_argument()
    if start is None:
        return "base"
    raise Invalid(
        f"the script starts at {start} of your own revisions, and chatstore's part must be told where: pass "
        "-x chatstore=REVISION with what `chatstore current` says, or -x chatstore=base if its tables are not there"
    )
