"""The table of operations says what is true, and arguments keep their types on the way to a backend."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from chatstore import arguments, connect
from chatstore.backends.cosmosdb.repository import CosmosStore
from chatstore.backends.dynamodb.store import DynamoDBStore
from chatstore.backends.file import SingleFileRepository
from chatstore.backends.sql import reading as sql
from chatstore.contract import OPERATIONS, AddMessages, Core, CountMessages
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection

    from chatstore.arguments import Scope
    from chatstore.backends.memory.repository import MemoryRepository
    from chatstore.backends.sql.plans import SQLCore
    from chatstore.backends.sql.statements import Statements
    from chatstore.codec import Draft


def protocol() -> list[str]:
    """Return the names of the protocol's operations."""
    return [
        name for name, value in vars(Core).items() if inspect.isfunction(value) and not name.startswith("_")
    ]


def test_every_operation_has_a_call() -> None:
    """The table names the operations of the protocol, no more and no less, with the call that each takes."""
    taken = {name: getattr(Core, name).__annotations__["call"] for name in protocol()}
    assert taken == {name: call.__name__ for name, call in OPERATIONS.items()}


def test_every_operation_is_documented() -> None:
    """Somebody who writes a backend reads at each operation what it must do."""
    assert [name for name in protocol() if not inspect.getdoc(getattr(Core, name))] == []


def test_every_operation_has_the_name_of_a_method() -> None:
    """An operation is called what it is called in a repository."""
    assert [name for name in OPERATIONS if not callable(getattr(Repository, name, None))] == []


def test_what_reads_may_be_repeated() -> None:
    """Whatever changes nothing may be sent again."""
    assert [name for name, call in OPERATIONS.items() if call.reads and not call.repeatable] == []


def test_backends_deny_what_may_be_denied(tmp_path: Path) -> None:
    """`Capabilities.denied` has names of the table only, and only of those that may be left out."""
    deniable = {name for name, call in OPERATIONS.items() if call.deniable}
    single = SingleFileRepository(tmp_path / "single.json").capabilities.denied
    assert single - deniable == set()
    assert DynamoDBStore.capabilities.denied - deniable == set()
    assert CosmosStore.capabilities.denied - deniable == set()
    assert connect("memory:").capabilities.denied | connect("sqlite://").capabilities.denied == set()


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
    count, append = CountMessages(scope, now, "s"), AddMessages(scope, now, "s", drafts, None)
    repository._run(core.count_messages, count)
    repository._run(core.count_messages, append)  # type: ignore[arg-type]
    repository._run(core.add_messages, count)  # type: ignore[arg-type]
    operations.count_messages(count)
    operations.count_messages(append)  # type: ignore[arg-type]
    sql.count_messages(c, q, append)  # type: ignore[arg-type]
    CountMessages(now, scope, "s")  # type: ignore[arg-type]
    CountMessages(scope, now)  # type: ignore[call-arg]
    AddMessages(scope, now, "s", None, drafts)  # type: ignore[arg-type]
    arguments.make_window(None, "1", None, None)  # type: ignore[arg-type]
