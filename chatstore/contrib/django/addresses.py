"""The URL of one of ``DATABASES``, for chatstore's command line, which connects by itself.

This module knows Django's settings and the options of drivers; what Django alone understands is left out.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import connections
from sqlalchemy import URL

from chatstore.contrib.django.database import drivername

#: Options that are Django's own, or are set by it on a connection of its own.
_DJANGOS: Final = frozenset({
    "assume_role", "autocommit", "client_encoding", "client_flag", "context", "conv", "cursor_factory",
    "init_command", "isolation_level", "pool", "prepare_threshold", "server_side_binding", "sql_mode",
    "transaction_mode",
})  # fmt: skip
#: What is said in the parts of a URL.
_PARTS: Final = frozenset({"database", "db", "dbname", "host", "passwd", "password", "port", "user"})


def url_of(alias: str) -> str:
    """Return the URL of ``DATABASES[alias]``, with its password; of a test database in a test."""
    django = connections[alias]
    if django.vendor == "sqlite":
        return _sqlite(str(django.settings_dict["NAME"]))
    given: dict[str, Any] = dict(django.get_connection_params())
    options = {
        name: value for name, value in given.items() if name not in _DJANGOS | _PARTS and value is not None
    }
    options |= {f"ssl_{name}": value for name, value in _dict(options.pop("ssl", None)).items()}
    host = str(given.get("host") or "")
    if host.startswith("/"):  # a folder with the server's socket
        options["host"], host = host, ""
    made = URL.create(
        drivername(django),
        username=given.get("user"),
        password=given.get("password") or given.get("passwd"),
        host=host or None,
        port=int(given["port"]) if given.get("port") else None,
        database=given.get("dbname") or given.get("database") or given.get("db"),
        query={name: _written(value) for name, value in options.items()},
    )
    return made.render_as_string(hide_password=False)


def _sqlite(name: str) -> str:
    if name.startswith("file:"):
        path, _, query = name.partition("?")
        options = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
        return URL.create("sqlite", database=path, query=options | {"uri": "true"}).render_as_string()
    return URL.create("sqlite", database=name).render_as_string()


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
