"""Servers of the suite's own, with the users, limits and keys that its faults need.

Knows how PostgreSQL and MariaDB are told to refuse; refuses to know what anybody makes of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from chatstore import migrations
from tests import databases, embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "kestrel-3141"
#: Who may do what. All have the password.
POSTGRES_USERS = {
    "app": "",
    "tls_only": "",
    "plain_only": "",
    "reader": "SET default_transaction_read_only = on",
    "slow": "SET statement_timeout = '300ms'",
    "impatient": "SET lock_timeout = '100ms'",
    "crowd": "CONNECTION LIMIT 0",
    "stranger": "",
    "half": "",
}
_HBA = """
local all all trust
host all postgres 127.0.0.1/32 trust
hostssl all plain_only 127.0.0.1/32 reject
hostnossl all tls_only 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
"""


class Places:
    """The servers, started at the first use."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        """End everything with *stack*."""
        self._stack = stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatstore-drivers-")))
        self.folder.chmod(0o755)

    @cached_property
    def certificate(self) -> Path:
        """A certificate for this host, signed by itself; its key lies beside it."""
        key, made = self.folder / "server.key", self.folder / "server.crt"
        command = ["openssl", "req", "-new", "-x509", "-days", "30", "-nodes", "-subj", "/CN=localhost"]
        command += [
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-out",
            f"{made}",
            "-keyout",
            f"{key}",
        ]
        subprocess.run(command, check=True, capture_output=True)
        key.chmod(0o600)
        return made

    # ---- PostgreSQL

    @cached_property
    def postgres(self) -> str:
        """Return the superuser's URL of a server with TLS, passwords and users who may little."""
        at = self._stack.enter_context(embedded.start("postgres", databases.why_not, "ssl"))
        with databases.connection(at) as cursor:
            hba = Path(str(cursor.execute("SHOW hba_file").fetchone()[0]))
            owner = hba.stat()
            for made in (self.certificate, self.certificate.with_suffix(".key")):
                copy = Path(shutil.copy(made, hba.parent / made.name))
                copy.chmod(0o600)
                os.chown(copy, owner.st_uid, owner.st_gid)
                what = "ssl_cert_file" if copy.suffix == ".crt" else "ssl_key_file"
                cursor.execute(f"ALTER SYSTEM SET {what} = '{copy}'")
            cursor.execute("ALTER SYSTEM SET ssl = on")
            cursor.execute("ALTER SYSTEM SET deadlock_timeout = '200ms'")
            hba.write_text(_HBA, encoding="utf-8")
            cursor.execute("SELECT pg_reload_conf()")
            for name, setting in POSTGRES_USERS.items():
                cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
                if setting:
                    cursor.execute(f"ALTER ROLE {name} {setting}")
        return at

    @cached_property
    def plain_postgres(self) -> str:
        """Return the URL of a server that has no TLS."""
        return self._stack.enter_context(embedded.start("postgres", databases.why_not))

    def postgres_database(self, options: str = "") -> str:
        """Return the superuser's URL of a new database with our tables, made with *options*."""
        name = f"chat_{secrets.token_hex(4)}"
        with databases.connection(self.postgres) as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        at = make_url(self.postgres).set(database=name).render_as_string(hide_password=False)
        migrations.upgrade(at)
        users = ", ".join(POSTGRES_USERS.keys() - {"stranger", "half"})
        with databases.connection(at) as cursor:
            cursor.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {users}")
            cursor.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {users}")
            cursor.execute("GRANT SELECT ON chatstore_alembic_version, chatstore_sessions TO half")
        return at

    # ---- MariaDB

    @cached_property
    def mariadb(self) -> str:
        """Return the superuser's URL of a server with TLS, and users who may little."""
        key = self.certificate.with_suffix(".key")
        at = self._stack.enter_context(
            embedded.start(
                "mariadb",
                databases.why_not,
                f"--ssl-cert={self.certificate}",
                f"--ssl-key={key}",
                "--innodb-lock-wait-timeout=1",
            )
        )
        with databases.connection(at) as cursor:
            for name, limit in {
                "app": "", "tls_only": "REQUIRE SSL", "reader": "", "slow": "WITH MAX_STATEMENT_TIME 0.3",
                "crowd": "WITH MAX_USER_CONNECTIONS 1", "stranger": "", "half": "", "impatient": "", "plain_only": "",
            }.items():  # fmt: skip
                cursor.execute(f"CREATE USER {name}@'%%' IDENTIFIED BY '{PASSWORD}' {limit}" % ())
        return at

    @cached_property
    def plain_mariadb(self) -> str:
        """Return the URL of a server that has no TLS, with the user app."""
        at = self._stack.enter_context(embedded.start("mariadb", databases.why_not, "--skip-ssl"))
        with databases.connection(at) as cursor:
            cursor.execute(f"CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}'")
            cursor.execute("GRANT ALL ON *.* TO app@'%'")
        return at

    def mariadb_database(self, options: str = "") -> str:
        """Return the superuser's URL of a new database with our tables, made with *options*."""
        name = f"chat_{secrets.token_hex(4)}"
        with databases.connection(self.mariadb) as cursor:
            cursor.execute(f"CREATE DATABASE {name} {options}")
        at = make_url(self.mariadb).set(database=name).render_as_string(hide_password=False)
        migrations.upgrade(at)
        with databases.connection(at) as cursor:
            for user in ("app", "tls_only", "plain_only", "reader", "slow", "crowd", "impatient"):
                cursor.execute(f"GRANT ALL ON {name}.* TO {user}@'%'")
            for table in ("chatstore_alembic_version", "chatstore_sessions"):
                cursor.execute(f"GRANT SELECT ON {name}.{table} TO half@'%'")
        return at

    # ---- all of them

    def server(self, family: str) -> str:
        """Return the superuser's URL of the server of *family*."""
        return self.postgres if family == "postgres" else self.mariadb

    def database(self, family: str) -> str:
        """Return the superuser's URL of a database with our tables that the cells of *family* share."""
        made: dict[str, str] = self.__dict__.setdefault("_shared", {})
        if family not in made:
            made[family] = self.new_database(family)
        return made[family]

    def new_database(self, family: str, options: str = "") -> str:
        """Return the superuser's URL of a database with our tables, for one cell."""
        return self.postgres_database(options) if family == "postgres" else self.mariadb_database(options)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Give a file system of *size* at *folder*; OSError where this user may not mount one."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", f"{folder}"], capture_output=True, check=False
    )
    if made.returncode:
        raise PermissionError(made.stderr.decode())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", f"{folder}"], check=True)


def can_mount() -> bool:
    """Tell whether this user may mount a file system of memory."""
    with (
        contextlib.suppress(OSError),
        tempfile.TemporaryDirectory() as base,
        small_disk(Path(base, "disk"), "1m"),
    ):
        return True
    return False


def waiting(cursor: Any, family: str, name: str) -> list[int]:
    """Return who waits for a lock in the database *name*."""
    if family == "postgres":
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'", (name,)
        )
    else:
        cursor.execute(
            "DO SLEEP(0.12)"
        )  # the table is a copy, and is not renewed while it is asked more often
        cursor.execute(
            "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx t JOIN information_schema.processlist p "
            "ON p.id = t.trx_mysql_thread_id WHERE p.db = %s AND trx_state = 'LOCK WAIT'",
            (name,),
        )
    return [int(number) for (number,) in cursor.fetchall()]


def connected(cursor: Any, family: str, name: str) -> list[int]:
    """Return whose connections are open to the database *name*, but for the one that asks."""
    cursor.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        if family == "postgres"
        else "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()",
        (name,),
    )
    return [int(number) for (number,) in cursor.fetchall()]


def kill(cursor: Any, family: str, number: int) -> None:
    """End a connection."""
    if family == "postgres":
        cursor.execute("SELECT pg_terminate_backend(%s)", (number,))
    else:
        with contextlib.suppress(Exception):  # it may have gone by itself
            cursor.execute(f"KILL {number}")
