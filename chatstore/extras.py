"""What to install where something is missing, for errors and hints that say so.

This module knows which packages each extra and each driver needs; it refuses to know what they are for. Commands name
those packages and never chatstore itself: a package index holds another project under that name, and pip would put
it over this one.
"""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from typing import Final

from chatstore.errors import MissingDependency

#: The name to install this package by. `chatstore` on the package index is another project.
DISTRIBUTION: Final = "chatstore-sql"

#: What the extras bring, as in pyproject.toml. It stands here too, since a folder on PYTHONPATH has no metadata.
EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "postgres": ("psycopg[binary]>=3.2",),
    "mysql": ("PyMySQL>=1.1", "aiomysql>=0.2"),
    "redis": ("redis>=6.4",),
    "dynamodb": ("boto3>=1.35",),
    "cosmosdb": ("azure-cosmos>=4.17.1", "aiohttp>=3.10"),
    "cli": ("click>=8.1", "rich>=13.7"),
    "viewer": ("jinja2>=3.1.6", "markdown-it-py>=3", "nh3>=0.2.18", "werkzeug>=3.0.6"),
    "langchain": ("langchain-core>=0.3,<3",),
    "openai-agents": ("openai-agents>=0.24,<1",),
    "pydantic-ai": ("pydantic-ai-slim>=2.68,<3",),
    "claude-agent": ("claude-agent-sdk>=0.2.150,<0.3",),
    "google-adk": ("google-adk>=2.13,<3",),
    "chatkit": ("openai-chatkit>=1.6.5,<2",),
    "agent-framework": ("agent-framework-core>=1.23,<2",),
    "strands": ("strands-agents>=1.62,<2",),
    "ag2": ("ag2>=1.2.1,<2",),
    "llama-index": ("llama-index-core>=0.14.25,<0.15",),
    "flask": ("flask>=3.0",),
    "fastapi": ("fastapi>=0.115",),
    "django": ("django>=5.2",),
    "serve": ("starlette>=0.46", "uvicorn>=0.30"),
}

#: SQLAlchemy's drivers and the packages that bring them. Modules are often called otherwise than their packages, and
#: a package that is called like a module may be somebody else's: what is not listed is not guessed.
_DRIVERS: Final[dict[str, tuple[str, ...]]] = {
    "psycopg": EXTRAS["postgres"],
    "psycopg2": ("psycopg2-binary",),
    "asyncpg": ("asyncpg",),
    "pg8000": ("pg8000",),
    "pymysql": EXTRAS["mysql"],
    "aiomysql": EXTRAS["mysql"],
    "asyncmy": ("asyncmy",),
    "mysqldb": ("mysqlclient",),
    "mysqlconnector": ("mysql-connector-python",),
    "mariadbconnector": ("mariadb",),
    "aiosqlite": ("aiosqlite",),
    "pyodbc": ("pyodbc",),
    "pymssql": ("pymssql",),
    "oracledb": ("oracledb",),
}


def pip_install(*requirements: str) -> str:
    """Return the command that installs *requirements* beside this package, for the interpreter that runs.

    An environment that was made by uv has no pip in it.
    """
    command = [sys.executable, "-m", "pip", "install"]
    if find_spec("pip") is None:
        command = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*command, *requirements])


def not_installed(what: str, extra: str) -> MissingDependency:
    """Make the error for *what*, which *extra* brings."""
    return MissingDependency(f"{what} is not installed: {pip_install(*EXTRAS[extra])}")


def driver_not_installed(driver: str, missing: str | None) -> MissingDependency:
    """Make the error for SQLAlchemy's *driver*, whose module *missing* cannot be imported."""
    cure = f"install the package that brings the module {missing or driver!r}"
    if driver in _DRIVERS:
        cure = pip_install(*_DRIVERS[driver])
    return MissingDependency(f"the driver {driver!r} is not installed: {cure}")
