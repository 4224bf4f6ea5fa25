"""The drivers that are tried, and how each is called.

Knows names, packages and whether a driver waits or awaits; refuses to know what goes wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

Family = Literal["postgres", "mariadb", "sqlite"]
FAMILIES: tuple[Family, ...] = ("postgres", "mariadb", "sqlite")


@dataclass(frozen=True)
class Driver:
    """One driver, on the sides that it has."""

    name: str
    family: Family
    #: How a URL names it.
    scheme: str
    #: What is imported.
    module: str
    waits: bool = False
    awaits: bool = False
    #: Whether it is used by an engine that is passed in: a URL means another driver.
    passed_in: bool = False

    @property
    def sides(self) -> list[str]:
        """Return the sides, in words."""
        return ["waits"] * self.waits + ["awaits"] * self.awaits

    @property
    def installed(self) -> bool:
        """Tell whether its module is there."""
        return find_spec(self.module) is not None


DRIVERS = (
    Driver("psycopg", "postgres", "postgresql+psycopg", "psycopg", waits=True, awaits=True),
    Driver("psycopg2", "postgres", "postgresql+psycopg2", "psycopg2", waits=True),
    Driver("asyncpg", "postgres", "postgresql+asyncpg", "asyncpg", awaits=True),
    Driver("pg8000", "postgres", "postgresql+pg8000", "pg8000", waits=True),
    Driver("PyMySQL", "mariadb", "mysql+pymysql", "pymysql", waits=True),
    Driver("mysqlclient", "mariadb", "mysql+mysqldb", "MySQLdb", waits=True),
    Driver("mysql-connector", "mariadb", "mysql+mysqlconnector", "mysql", waits=True),
    Driver("aiomysql", "mariadb", "mysql+aiomysql", "aiomysql", awaits=True),
    Driver("asyncmy", "mariadb", "mysql+asyncmy", "asyncmy", awaits=True),
    Driver("sqlite3", "sqlite", "sqlite", "sqlite3", waits=True, awaits=True),
    Driver("aiosqlite", "sqlite", "sqlite+aiosqlite", "aiosqlite", awaits=True, passed_in=True),
    Driver("SQLCipher", "sqlite", "sqlite+pysqlcipher", "sqlcipher3", waits=True, awaits=True),
)
