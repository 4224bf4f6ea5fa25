"""The table of operations says what is true, and arguments keep their types on the way to a backend."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from chatstore import arguments, connect
from chatstore.backends.cosmosdb.repository import CosmosStore
from chatstore.backends.dynamodb.store import DynamoDBStore
from chatstore.backends.file import SingleFileRepository
from chatstore.backends.sql import core as sql
from chatstore.backends.sql.plans import SQLCore
from chatstore.contract import OPERATIONS, Core
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection

    from chatstore.arguments import Scope
    from chatstore.backends.memory import MemoryRepository
    from chatstore.backends.sql.statements import Statements
    from chatstore.codec import Draft


def protocol() -> dict[str, list[str]]:
    """Return the parameters of each operation of the protocol."""
    return {
        name: list(inspect.signature(value).parameters)[1:]
        for name, value in vars(Core).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def test_every_operation_has_a_row() -> None:
    """The table names the operations of the protocol, no more and no less."""
    assert set(protocol()) == set(OPERATIONS)


def test_every_operation_is_documented() -> None:
    """Somebody who writes a backend reads at each operation what it must do."""
    assert [name for name in protocol() if not inspect.getdoc(getattr(Core, name))] == []


def test_every_operation_is_a_method_of_the_repository() -> None:
    """Each operation belongs to one public method."""
    methods = [operation.method for operation in OPERATIONS.values()]
    assert sorted(set(methods)) == sorted(methods)
    assert [name for name in methods if not callable(getattr(Repository, name, None))] == []


def test_in_session_is_said_of_what_names_a_session_second() -> None:
    """`in_session` is true of what takes scope, session and more, and changes or reads no other session."""
    second = {name for name, parameters in protocol().items() if parameters[1:2] == ["session_id"]}
    assert second - {"fork"} == {name for name, operation in OPERATIONS.items() if operation.in_session}


def test_what_reads_may_be_repeated() -> None:
    """Whatever changes nothing may be sent again."""
    assert [name for name, row in OPERATIONS.items() if row.reads and not row.repeatable] == []


def test_backends_deny_what_may_be_denied(tmp_path: Path) -> None:
    """`Capabilities.denied` has names of the table only, and only of those that may be left out."""
    deniable = {operation.method for operation in OPERATIONS.values() if operation.deniable}
    page = SingleFileRepository(tmp_path / "page.json").capabilities.denied
    assert page - deniable == set()
    assert DynamoDBStore.capabilities.denied - deniable == set()
    assert CosmosStore.capabilities.denied - deniable == set()
    assert connect("memory:").capabilities.denied | connect("sqlite://").capabilities.denied == set()


def test_operations_in_sql_say_their_name() -> None:
    """What `SQLCore` makes of a function has the operation's name, by which its row is found."""
    made = {name: value for name, value in vars(SQLCore).items() if name in OPERATIONS}
    assert set(made) == set(OPERATIONS)
    assert {name: value.__name__ for name, value in made.items()} == {name: name for name in OPERATIONS}


def planted(
    repository: MemoryRepository,
    operations: SQLCore,
    c: Connection,
    q: Statements,
    scope: Scope,
    drafts: Sequence[Draft],
    now: datetime,
) -> None:
    """Call with wrong and swapped arguments: never run, for mypy, which refuses an ignored error that is none.

    So the type check of this project fails as soon as one of these calls were accepted.
    """
    core: Core = repository._core
    repository._run(core.count, scope, "s", now)
    repository._run(core.count, "s", scope, now)  # type: ignore[arg-type]
    repository._run(core.count, scope, "s")  # type: ignore[arg-type]
    repository._run(core.append, scope, "s", drafts, now, None)  # type: ignore[arg-type]
    operations.count(scope, "s", now)
    operations.count("s", scope, now)  # type: ignore[arg-type]
    operations.edit(scope, "s", 1, drafts, None, now)  # type: ignore[arg-type]
    sql.count(c, q, "s", scope, now)  # type: ignore[arg-type]
    arguments.make_window(None, "1", None, None)  # type: ignore[arg-type]
