"""Send a script of SQL to a database as a whole, as the command line of its client does."""

from __future__ import annotations

import contextlib
import sqlite3

import psycopg
import pymysql
from sqlalchemy import make_url


def executed(url: str, script: str) -> None:
    """Send a script to a database in one piece, as a client's command line does."""
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite":
        with contextlib.closing(sqlite3.connect(parts.database or "")) as link:
            link.executescript(script)
    elif parts.get_backend_name() == "postgresql":
        plain = parts.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(script)
    else:
        mysql = pymysql.connect(
            host=parts.host,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.database,
            client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
        )
        with contextlib.closing(mysql), mysql.cursor() as cursor:
            cursor.execute(script)
            while cursor.nextset():
                pass
            mysql.commit()
