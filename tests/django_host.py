"""Django in the process of the tests: configured once, with a database under an alias for each URL that is asked for.

Knows Django's settings. The driver for MariaDB is mysqlclient where it is installed, else PyMySQL in its place, as
projects do that cannot compile anything.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINES = {"sqlite": "sqlite3", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
APPS = ["django.contrib.auth", "django.contrib.contenttypes", "chatstore.contrib.django"]
_numbers = count(1)


def settings_of(url: str) -> dict[str, Any]:
    """Return the entry of ``DATABASES`` for a database of the tests."""
    parts = make_url(url)
    told = {
        "NAME": parts.database,
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.host,
        "PORT": parts.port,
    }
    given = {name: str(value) for name, value in told.items() if value}
    return {"ENGINE": f"django.db.backends.{ENGINES[parts.get_backend_name()]}", **given}


def stand_in() -> None:
    """Have PyMySQL stand for mysqlclient where that is not installed."""
    if importlib.util.find_spec("MySQLdb") is None:
        import pymysql

        pymysql.version_info = (2, 2, 7, "final", 0)
        pymysql.install_as_MySQLdb()


@contextlib.contextmanager
def alias_of(url: str, **options: Any) -> Iterator[str]:
    """Give the alias of the database at *url*, with *options* in its settings; its connection is closed at the end."""
    import django
    from django.conf import settings
    from django.db import connections

    stand_in()
    if not settings.configured:
        settings.configure(INSTALLED_APPS=APPS, DATABASES={}, USE_TZ=True, SECRET_KEY="for tests")
        django.setup()
    alias = f"at{next(_numbers)}"
    connections.databases[alias] = settings_of(url) | options
    connections.configure_settings(connections.databases)
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]
