"""The faults: how each is made, which error it must become, and what that error must say.

Knows servers and files that refuse; refuses to know drivers, but for what one of them cannot be asked.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, make_url

from chatstore import HumanMessage, errors
from tests import embedded
from tests.drivers import places

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.drivers.case import Case

FAULTS: list[Fault] = []
EMOJI = "I like 😀, Zürich and 東京"
_FILE = "a file has no server"
_NO_USERS = "a file has no users"
_NO_TLS = "a file is not reached over a network"


_FAMILIES = ("postgres", "mariadb", "sqlite")


@dataclass(frozen=True)
class Fault:
    """One kind of trouble."""

    name: str
    make: Callable[[Case], Callable[[], object]]
    #: By family, the class of the error; None where the call must succeed.
    becomes: dict[str, type[errors.ChatstoreError] | None]
    #: By family, what the error says (a regular expression).
    says: dict[str, str]
    #: By family or driver, why there is no such cell.
    without: dict[str, str] = field(default_factory=dict)


def fault(
    name: str,
    becomes: type[errors.ChatstoreError] | dict[str, type[errors.ChatstoreError] | None] | None,
    says: str | dict[str, str] = "",
    **without: str,
) -> Callable[[Callable[[Case], Callable[[], object]]], Callable[[Case], Callable[[], object]]]:
    """Enter a fault into the table; two for all families or each, *without* by family or driver (- is _)."""

    def enter(make: Callable[[Case], Callable[[], object]]) -> Callable[[Case], Callable[[], object]]:
        told = says if isinstance(says, dict) else dict.fromkeys(_FAMILIES, says)
        classes: dict[str, type[errors.ChatstoreError] | None] = (
            becomes if isinstance(becomes, dict) else {**dict.fromkeys(_FAMILIES, becomes)}
        )
        lacking = {key.replace("_", "-"): why for key, why in without.items()}
        FAULTS.append(Fault(name, make, classes, told, lacking))
        return make

    return enter


# ------------------------------------------------------------------------------------------------ the way there


@fault("the port refuses", errors.StorageUnavailable, "cannot be reached", sqlite=_FILE)
def refused_port(case: Case) -> Callable[[], object]:
    return case.counting(case.url(port=embedded.free_port()))


@fault("unknown host", errors.StorageUnavailable, "cannot be reached.*host", sqlite=_FILE)
def unknown_host(case: Case) -> Callable[[], object]:
    return case.counting(case.url(host="no-such-host.invalid"))


@fault(
    "a server that says nothing", errors.StorageUnavailable, "cannot be reached|did not answer", sqlite=_FILE
)
def silent(case: Case) -> Callable[[], object]:
    at = case.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=50))
    return case.counting(case.url(port=at.getsockname()[1], query="connect_timeout=1"))


@fault("a socket file that is not there", errors.StorageUnavailable, "cannot be reached", sqlite=_FILE)
def no_socket(case: Case) -> Callable[[], object]:
    if case.family == "postgres":
        return case.counting(case.url(host=None, port=None, query=f"host={case.folder}/none"))
    return case.counting(case.url(host=None, port=None, query=f"unix_socket={case.folder}/none"))


@fault(
    "a folder that is not there",
    errors.StorageError,
    {"sqlite": "(?i)cannot be (created|opened)|path"},
    postgres="a server has no path",
    mariadb="a server has no path",
)
def no_folder(case: Case) -> Callable[[], object]:
    return case.counting(case.url(f"sqlite:///{case.folder}/none/chat.db"))


# ------------------------------------------------------------------------------------------------ at the door


@fault(
    "wrong password",
    errors.StorageError,
    {"postgres": "password", "mariadb": "(?i)access denied.*password", "sqlite": "key|no SQLite database"},
    sqlite3="a plain file has no password",
    aiosqlite="a plain file has no password",
)
def wrong_password(case: Case) -> Callable[[], object]:
    return case.counting(case.url(password="sesame-2718"))


@fault("unknown user", errors.StorageError, {"postgres": "user", "mariadb": "user"}, sqlite=_NO_USERS)
def unknown_user(case: Case) -> Callable[[], object]:
    return case.counting(case.url(username="nobody_here"))


@fault(
    "missing database",
    errors.StorageError,
    {"postgres": "nowhere.*does not exist", "mariadb": "(?i)nowhere"},
    sqlite="a missing file is made",
)
def missing_database(case: Case) -> Callable[[], object]:
    case.places.database(case.family)
    if case.family == "mariadb":  # who may not see it is told of rights instead
        case.admin().execute("GRANT ALL ON nowhere.* TO app@'%'")
    return case.counting(case.url(database="nowhere"))


@fault(
    "no right to the database",
    errors.StorageError,
    {"postgres": "permission denied for .*chat", "mariadb": "denied.*chat_"},
    sqlite=_NO_USERS,
)
def no_right_to_database(case: Case) -> Callable[[], object]:
    at = case.places.database(case.family)
    if case.family == "postgres":
        at = case.places.new_database("postgres")
        name = make_url(at).database
        case.admin(at).execute(f"REVOKE CONNECT ON DATABASE {name} FROM public")
    return case.counting(case.url(at, username="stranger"))


@fault(
    "no right to read a table",
    errors.StorageError,
    {"postgres": "permission denied.*chatstore_messages", "mariadb": "denied.*chatstore_messages"},
    sqlite=_NO_USERS,
)
def no_right_to_read(case: Case) -> Callable[[], object]:
    return lambda: case.repository(case.url(username="half")).get_messages("s")


@fault(
    "no right to write a table",
    errors.StorageError,
    {"postgres": "permission denied.*chatstore_", "mariadb": "denied.*chatstore_"},
    sqlite=_NO_USERS,
)
def no_right_to_write(case: Case) -> Callable[[], object]:
    return lambda: case.repository(case.url(username="half")).add_messages("s", [HumanMessage("one")])


@fault(
    "TLS is required",
    errors.StorageError,
    {"postgres": "no encryption|no_encryption|TLS|SSL", "mariadb": "(?i)denied|TLS|secure"},
    sqlite=_NO_TLS,
)
def tls_required(case: Case) -> Callable[[], object]:
    return case.counting(case.url(username="tls_only", query="sslmode=disable"))


@fault("TLS is refused", errors.StorageError, "TLS|SSL", sqlite=_NO_TLS)
def tls_refused(case: Case) -> Callable[[], object]:
    at = case.places.plain_postgres if case.family == "postgres" else case.places.plain_mariadb
    user = "postgres" if case.family == "postgres" else "app"
    return case.counting(case.url(at, username=user, query="sslmode=require"))


@fault(
    "too many connections of this user",
    errors.StorageUnavailable,
    {"postgres": "too many connections", "mariadb": "max_user_connections"},
    sqlite=_NO_USERS,
)
def too_many(case: Case) -> Callable[[], object]:
    if case.family == "mariadb":
        at = make_url(case.places.database("mariadb")).set(username="crowd", password=places.PASSWORD)
        case.admin(at.render_as_string(hide_password=False))
    return case.counting(case.url(username="crowd"))


# ------------------------------------------------------------------------------------------------ on the way


@fault("gone away while idle", None, sqlite=_FILE)
def gone_idle(case: Case) -> Callable[[], object]:
    return _gone_idle(case, case.url)


@fault("gone away while idle, an engine passed in", None, sqlite=_FILE)
def gone_idle_given(case: Case) -> Callable[[], object]:
    return _gone_idle(case, lambda at: case.engine(case.url(at)))


def _gone_idle(case: Case, target: Callable[[str], Any]) -> Callable[[], object]:
    at = case.places.new_database(case.family)
    repository = case.repository(target(at))
    admin, name = case.admin(at), str(make_url(at).database)

    def call() -> None:
        steps: list[Callable[[], object]] = [
            lambda: repository.count_messages("s"),
            lambda: repository.add_messages("s", [HumanMessage("one")]),
            lambda: repository.get_session("s"),
            lambda: repository.truncate("s", after=99),
        ]
        for step in steps:
            step()
            for number in places.connected(admin, case.family, name):
                places.kill(admin, case.family, number)
            step()

    return call


@fault(
    "killed in a statement",
    # PostgreSQL appends by one statement, and may have done so; MariaDB was killed before its COMMIT.
    {"postgres": errors.OutcomeUnknown, "mariadb": errors.StorageUnavailable},
    "cannot be reached|broke",
    sqlite=_FILE,
)
def killed(case: Case) -> Callable[[], object]:
    at = case.places.new_database(case.family)
    patient = "init_command=SET innodb_lock_wait_timeout=20" if case.family == "mariadb" else ""
    repository = case.repository(case.url(at, query=patient))
    repository.add_messages(case.session, [HumanMessage("one")])
    case.hold(at)
    killer, name = case.admin(at), str(make_url(at).database)

    def kill() -> None:
        for number in places.waiting(killer, case.family, name):
            places.kill(killer, case.family, number)

    case.meanwhile(kill)
    return lambda: repository.add_messages(case.session, [HumanMessage("two")])


@fault(
    "a statement's time is up",
    errors.StorageUnavailable,
    {"postgres": "statement_timeout|statement timeout", "mariadb": "max_statement_time"},
    sqlite="SQLite has no limit of that kind",
)
def statement_timeout(case: Case) -> Callable[[], object]:
    repository = case.repository(case.url(username="slow"))
    repository.add_messages(case.session, [HumanMessage("one")])
    case.hold()
    return lambda: repository.add_messages(case.session, [HumanMessage("two")])


@fault("a lock's time is up", errors.StorageUnavailable, "busy")
def lock_timeout(case: Case) -> Callable[[], object]:
    if case.family == "sqlite":
        url = case.url()
        url = case.url(f"sqlite:///{url.database}", query="timeout=0.1")
        repository = case.repository(url)
        repository.add_messages(case.session, [HumanMessage("one")])
        holder = case.engine(case.url(f"sqlite:///{url.database}")).connect()
        holder = case.run(lambda: holder) if case.driver.passed_in else holder
        case.run(holder.exec_driver_sql, "BEGIN IMMEDIATE")
        case.stack.callback(case.run, holder.close)
        return lambda: repository.add_messages(case.session, [HumanMessage("two")])
    repository = case.repository(case.url(username="impatient"))
    repository.add_messages(case.session, [HumanMessage("one")])
    case.hold()
    return lambda: repository.add_messages(case.session, [HumanMessage("two")])


@fault(
    "a deadlock in a transaction of the caller's",
    errors.StorageUnavailable,
    "roll it back",
    sqlite="SQLite has one lock",
)
def deadlock(case: Case) -> Callable[[], object]:
    at = case.places.new_database(case.family)
    engine = case.engine(case.url(at))
    repository = case.repository(engine)
    first, second = f"{case.session}-1", f"{case.session}-2"
    for session in (first, second):
        repository.add_messages(session, [HumanMessage("one")])
    other = case.admin(at)
    other.execute(
        "SET deadlock_timeout = '20s'" if case.family == "postgres" else "SET innodb_lock_wait_timeout = 20"
    )
    other.execute("START TRANSACTION")
    for number in range(200 if case.family == "mariadb" else 1):  # MariaDB ends who has done less
        other.execute(
            "INSERT INTO chatstore_sessions "
            "(session_id, metadata, message_count, last_position, revision, created_at, updated_at) "
            "VALUES (%s, '{}', 0, 0, 1, now(), now())",
            (f"{case.session}-more-{number}",),
        )
    lock = "SELECT 1 FROM chatstore_sessions WHERE session_id = %s FOR UPDATE"
    other.execute(lock, (second,))

    def call() -> None:
        connection = engine.connect()
        connection = case.run(lambda: connection)
        try:
            inside = repository.using(connection)
            inside.add_messages(first, [HumanMessage("two")])
            thread = threading.Thread(target=other.execute, args=(lock, (first,)))
            thread.start()
            try:
                watcher, name = case.admin(at), str(make_url(at).database)
                embedded.wait_until(lambda: bool(places.waiting(watcher, case.family, name)), 10, "a waiter")
                inside.add_messages(second, [HumanMessage("two")])
            finally:
                case.run(connection.rollback)
                thread.join()
        finally:
            case.run(connection.close)

    return call


@fault("read-only", errors.StorageError, "read-only")
def read_only(case: Case) -> Callable[[], object]:
    if case.family == "sqlite":
        path = case.url().database
        target: Any = case.url(f"sqlite:///file:{path}", query="mode=ro&uri=true")
    else:
        target = case.url(username="reader")
    repository = case.repository(target)
    repository.count_messages("s")
    if case.family == "mariadb":
        admin = case.admin(case.places.mariadb)
        admin.execute("SET GLOBAL read_only = 1")
        case.stack.callback(admin.execute, "SET GLOBAL read_only = 0")
    return lambda: repository.add_messages("s", [HumanMessage("one")])


@fault(
    "the disk is full",
    errors.StorageError,
    "(?i)full",
    mariadb="InnoDB ends its server instead of answering",
    SQLCipher="the same library as SQLite's",
)
def full(case: Case) -> Callable[[], object]:
    big = [HumanMessage(secrets.token_hex(150_000)) for _ in range(30)]
    if case.family == "sqlite":
        engine = case.engine(case.url())

        def limited(connection: Any, _: object) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA max_page_count = 100")
            cursor.close()

        event.listen(getattr(engine, "sync_engine", engine), "connect", limited)
        repository = case.repository(engine)
    else:
        at = case.places.new_database(case.family)
        disk = case.places.folder / f"disk-{case.session}"
        case.stack.enter_context(places.small_disk(disk, "1m"))
        admin = case.admin(at)
        admin.execute("SHOW data_directory")
        owner = Path(admin.fetchone()[0]).stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        name = f"small_{case.session.replace('-', '_')}"
        admin.execute(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
        admin.execute(f"ALTER TABLE chatstore_messages SET TABLESPACE {name}")
        case.stack.callback(admin.execute, f"DROP TABLESPACE {name}")
        case.stack.callback(admin.execute, "DROP TABLE chatstore_messages CASCADE")
        repository = case.repository(case.url(at))
    return lambda: repository.add_messages("s", big)


# ------------------------------------------------------------------------------------------------ what is stored


@fault("a repeated id", None)
def duplicate(case: Case) -> Callable[[], object]:
    repository = case.repository(case.url())

    def call() -> None:
        found = [
            repository.add_messages(case.session, [HumanMessage("one", id="m")])[0].position for _ in range(2)
        ]
        assert [1, 1] == found

    return call


@fault("a repeated id with another body", errors.MessageConflict, "different body")
def conflict(case: Case) -> Callable[[], object]:
    repository = case.repository(case.url())
    repository.add_messages(case.session, [HumanMessage("one", id="m")])
    return lambda: repository.add_messages(case.session, [HumanMessage("two", id="m")])


@fault("no tables", errors.SchemaMissing, "chatstore upgrade", sqlite="an empty file is made ready")
def no_tables(case: Case) -> Callable[[], object]:
    at = make_url(case.places.database(case.family))
    admin = case.admin()
    name = f"empty_{case.session.replace('-', '_')}"
    admin.execute(f"CREATE DATABASE {name}")
    if case.family == "mariadb":
        admin.execute(f"GRANT ALL ON {name}.* TO app@'%'")
    return case.counting(case.url(at.set(database=name).render_as_string(hide_password=False)))


@fault("a table is gone", errors.SchemaMissing, "chatstore upgrade|missing")
def no_table(case: Case) -> Callable[[], object]:
    if case.family == "sqlite":
        url = case.url()
        repository = case.repository(url)
        repository.count_messages("s")
        with _direct(case, url) as link:
            link.exec_driver_sql("DROP TABLE chatstore_messages")
        return lambda: repository.get_messages("s")
    at = case.places.new_database(case.family)
    repository = case.repository(case.url(at))
    repository.count_messages("s")
    admin = case.admin(at)
    admin.execute("DROP TABLE IF EXISTS chatstore_search")  # which refers to it
    admin.execute("DROP TABLE chatstore_messages" + (" CASCADE" if case.family == "postgres" else ""))
    return lambda: repository.get_messages("s")


def _direct(case: Case, url: Any) -> Any:
    """Return a connection that waits, in autocommit, to the file of *url*."""
    from sqlalchemy import create_engine

    scheme = url.drivername if case.driver.name == "SQLCipher" else "sqlite"
    engine = create_engine(url.set(drivername=scheme), isolation_level="AUTOCOMMIT")
    case.stack.callback(engine.dispose)
    return engine.connect()


@fault(
    "no database but another file",
    errors.StorageError,
    {"sqlite": "no SQLite database"},
    postgres="a server has no file",
    mariadb="a server has no file",
)
def another_file(case: Case) -> Callable[[], object]:
    (case.folder / "notes.txt").write_text("no database" * 500)
    return case.counting(case.url(f"sqlite:///{case.folder}/notes.txt"))


@fault(
    "a damaged file",
    errors.StorageError,
    {"sqlite": "damaged|no SQLite database"},
    postgres="a server keeps its files",
    mariadb="a server keeps its files",
)
def damaged(case: Case) -> Callable[[], object]:
    url = case.url()
    case.repository(url).add_messages("s", [HumanMessage("x" * 20_000)])
    case.stack.pop_all().close()
    with Path(str(url.database)).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 200_000)
    if case.awaits:
        import asyncio

        case.runner = case.stack.enter_context(asyncio.Runner())
    return case.counting(case.url(f"sqlite:///{url.database}"))


# ------------------------------------------------------------------------------------------------ encodings


@fault("?charset=utf8", None, postgres="PostgreSQL calls it client_encoding", sqlite="SQLite is UTF-8")
def charset_utf8(case: Case) -> Callable[[], object]:
    return case.keeping(case.url(query="charset=utf8"), EMOJI)


@fault("?charset=latin1", None, postgres="PostgreSQL calls it client_encoding", sqlite="SQLite is UTF-8")
def charset_latin1(case: Case) -> Callable[[], object]:
    return case.keeping(case.url(query="charset=latin1"), EMOJI)


@fault("sql_mode='' on the server", None, postgres="PostgreSQL has no modes", sqlite="SQLite has no modes")
def no_mode(case: Case) -> Callable[[], object]:
    admin = case.admin(case.places.mariadb)
    admin.execute("SELECT @@GLOBAL.sql_mode")
    mode = admin.fetchone()[0]
    admin.execute("SET GLOBAL sql_mode = ''")
    case.stack.callback(admin.execute, f"SET GLOBAL sql_mode = '{mode}'")
    return case.keeping(case.url(query="charset=utf8"), EMOJI)


@fault(
    "an engine passed in that speaks utf8mb3",
    errors.Invalid,
    {"mariadb": "utf8mb4"},
    postgres="PostgreSQL has no such encoding",
    sqlite="SQLite is UTF-8",
)
def given_utf8(case: Case) -> Callable[[], object]:
    return case.keeping(case.engine(case.url(query="charset=utf8")), EMOJI)


@fault("?client_encoding=latin1", None, mariadb="MySQL calls it charset", sqlite="SQLite is UTF-8")
def client_encoding(case: Case) -> Callable[[], object]:
    return case.keeping(case.url(query="client_encoding=latin1"), EMOJI)


@fault(
    "an engine passed in that speaks LATIN1",
    errors.Invalid,
    {"postgres": "UTF8"},
    mariadb="tried as utf8mb3",
    sqlite="SQLite is UTF-8",
    asyncpg="it speaks UTF-8 always",
)
def given_latin1(case: Case) -> Callable[[], object]:
    if case.driver.name == "pg8000":
        return case.keeping(
            case.engine(case.url(), connect_args={"startup_params": {"client_encoding": "latin1"}}), EMOJI
        )
    return case.keeping(case.engine(case.url(query="client_encoding=latin1")), EMOJI)


_LATIN1 = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"


@fault(
    "a LATIN1 database, text that it can hold",
    None,
    mariadb="our tables are utf8mb4 anywhere",
    sqlite="SQLite is UTF-8",
)
def latin1_fits(case: Case) -> Callable[[], object]:
    url = case.url(case.places.new_database("postgres", _LATIN1))

    def call() -> None:
        case.keeping(url, "Zürich")()
        repository = case.repository(url)
        repository.create_session("z", title="Zürich", metadata={"town": "Zürich"}, user_id="Ümit")
        assert {"town": "Zürich"} == repository.get_session("z").metadata
        assert ["z"] == [one.session_id for one in repository.list_sessions(user_id="Ümit").items]
        assert ["z"] == [
            one.session_id for one in repository.list_sessions(metadata={"town": "Zürich"}).items
        ]
        repository.delete_session("z")

    return call


@fault(
    "a LATIN1 database, text that it cannot hold",
    errors.InvalidMessage,
    {"postgres": "LATIN1|encoding"},
    mariadb="our tables are utf8mb4 anywhere",
    sqlite="SQLite is UTF-8",
)
def latin1_refuses(case: Case) -> Callable[[], object]:
    return case.keeping(case.url(case.places.new_database("postgres", _LATIN1)), EMOJI)


@fault("a SQL_ASCII database", None, mariadb="our tables are utf8mb4 anywhere", sqlite="SQLite is UTF-8")
def sql_ascii(case: Case) -> Callable[[], object]:
    at = case.places.new_database("postgres", "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    return case.keeping(case.url(at), EMOJI)


# ------------------------------------------------------------------------------------------------ options of URLs


@fault("an unknown option", errors.Invalid, "colour", aiosqlite="its engine is made by the application")
def unknown_option(case: Case) -> Callable[[], object]:
    return case.counting(case.url(query="colour=blue"))


@fault(
    "an option with a wrong value",
    errors.Invalid,
    {"postgres": "connect_timeout", "mariadb": "connect_timeout", "sqlite": "timeout"},
    aiosqlite="its engine is made by the application",
)
def wrong_value(case: Case) -> Callable[[], object]:
    name = "timeout" if case.family == "sqlite" else "connect_timeout"
    return case.counting(case.url(query=f"{name}=soon"))


@fault("an option as text", None)
def option_as_text(case: Case) -> Callable[[], object]:
    return case.counting(case.url(query="timeout=2" if case.family == "sqlite" else "connect_timeout=3"))


@fault("?sslmode=require, as hosters write it", None, sqlite=_NO_TLS)
def sslmode(case: Case) -> Callable[[], object]:
    return case.counting(case.url(username="tls_only", query="sslmode=require"))


@fault(
    "?ssl-mode=REQUIRED, as MySQL's hosters write it",
    None,
    postgres="PostgreSQL's hosters write sslmode",
    sqlite=_NO_TLS,
)
def ssl_mode(case: Case) -> Callable[[], object]:
    return case.counting(case.url(username="tls_only", query="ssl-mode=REQUIRED"))


@fault("the server's certificate is checked", None, sqlite=_NO_TLS)
def checked_certificate(case: Case) -> Callable[[], object]:
    name = "sslmode=verify-full&sslrootcert" if case.family == "postgres" else "ssl_ca"
    return case.counting(case.url(username="tls_only", query=f"{name}={case.places.certificate}"))


@fault("another certificate than the server's", errors.StorageError, "(?i)certificate", sqlite=_NO_TLS)
def another_certificate(case: Case) -> Callable[[], object]:
    other = case.places.folder / "other.crt"
    if not other.exists():
        fresh = places.Places(case.stack)
        shutil.copy(fresh.certificate, other)
    name = "sslmode=verify-full&sslrootcert" if case.family == "postgres" else "ssl_ca"
    return case.counting(case.url(username="tls_only", query=f"{name}={other}"))


@fault("?pgbouncer=true", None, mariadb="it is for PostgreSQL", sqlite="it is for PostgreSQL")
def pgbouncer(case: Case) -> Callable[[], object]:
    return case.counting(case.url(query="pgbouncer=true"))


@fault("?schema=public", errors.Invalid, "schema=", aiosqlite="its engine is made by the application")
def schema_option(case: Case) -> Callable[[], object]:
    return case.counting(case.url(query="schema=public"))


@fault(
    "?useUnicode=true, as other languages write it",
    errors.Invalid,
    "useUnicode",
    aiosqlite="its engine is made by the application",
)
def use_unicode(case: Case) -> Callable[[], object]:
    return case.counting(case.url(query="useUnicode=true"))


@fault("?application_name=chat", None, mariadb="it is PostgreSQL's", sqlite="it is PostgreSQL's")
def application_name(case: Case) -> Callable[[], object]:
    return case.counting(case.url(query="application_name=chat"))
