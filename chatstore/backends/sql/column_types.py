"""The column types of the schema, one for each idea, as every database spells it.

Knows what each database's types lose or refuse, and gives Python the same values everywhere. Refuses to know
which columns there are. A database's own types are imported for that database only: each of SQLAlchemy's dialects
takes 15 to 40 ms, which a program on another database would pay for nothing.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import JSON, DateTime, String, Text, TypeDecorator

from chatstore.backends.sql.dialects import dialect_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

#: NUL escaped in JSON text (after an even number of backslashes), or a surrogate by itself.
_NOT_STORABLE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000|[\ud800-\udfff]")
_written = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


class Instant(TypeDecorator[datetime]):
    """A moment in UTC with microseconds; Python gives and gets aware datetimes, a naive one is a ValueError.

    timestamptz on PostgreSQL, DATETIME(6) on the MySQL family (whose plain DATETIME drops microseconds and
    whose TIMESTAMP ends in 2038), DATETIME2(6) on SQL Server, TIMESTAMP(6) on Oracle; on SQLite the ISO text
    ``YYYY-MM-DD HH:MM:SS.ffffff`` that ``date()`` understands. Where a type has no zone, UTC is stored.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Pick the type with microseconds."""
        return dialect_for(dialect.name).moment()

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn into UTC, without a zone where the type has none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(
                "a naive datetime names no moment: pass one with a tzinfo, for example datetime.now(UTC)"
            )
        moment = value.astimezone(UTC)
        return moment if dialect_for(dialect.name).has_zones else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give aware UTC, whatever zone the server's session speaks."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class LongText(TypeDecorator[str]):
    """Text of any length.

    LONGTEXT on the MySQL family (TEXT ends at 64 kB), compared there as search compares: case does not count,
    accents do. CLOB on Oracle, NVARCHAR(max) on SQL Server, TEXT elsewhere.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Pick the type without a limit."""
        return dialect_for(dialect.name).long_text(dialect)


class ContentText(LongText):
    """Long text that is always there: a null reads as '', because Oracle stores '' as null."""

    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> str:  # noqa: ARG002
        """Read a null as ''."""
        return value or ""


class ExactString(TypeDecorator[str]):
    """A string that equals another only if every byte does: ids, and whatever people filter on.

    The MySQL family and SQL Server compare without case by default, most MySQL collations ignore trailing
    spaces too, hence a binary collation there. PostgreSQL gets "C": its order is the bytes', as everywhere
    else, and does not change with the operating system's locale data under an index.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Pick the collation that compares bytes."""
        length = cast("String", self.impl_instance).length
        return dialect_for(dialect.name).exact_string(dialect, length)


class JSONText(str):
    """JSON that is encoded already: bound to a `JSONDocument` column, it is stored as it is, unchecked."""

    __slots__ = ()


class JSONDocument(TypeDecorator[Any]):
    """A JSON value, written strictly: NaN and Infinity are refused, text is not escaped.

    ``json`` on PostgreSQL (``jsonb`` with *binary*, for what people filter on), JSON as text on SQLite,
    LONGTEXT with a JSON_VALID check on the MySQL family (their own JSON rounds numbers), and long text
    wherever a database has no JSON. Index operators such as ``MessageRow.payload["name"]`` work where
    SQLAlchemy knows them.

    A `JSONText` is stored as it is. The marked form that chatstore writes where a database cannot hold a
    message's text reads as the str it is; such text in a value of your own (NUL, lone surrogates) is a
    ValueError here.
    """

    impl = JSON
    cache_ok = True

    def __init__(self, *, binary: bool = False, objects: bool = True) -> None:
        """Take ``jsonb`` for *binary* where there is such a thing; not only *objects* are stored if that is False."""
        super().__init__()
        self.binary, self.objects = binary, objects

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Pick JSON where the stored text stays what was written, else long text."""
        ours = dialect_for(dialect.name)
        return ours.json(dialect, binary=self.binary) if self.objects else ours.json_value(dialect)

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], str | None]:  # noqa: ARG002
        """Hand every driver JSON text."""
        return encode

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Decode what the driver has not decoded by itself."""
        if dialect_for(dialect.name).decodes_json:
            return self.load_dialect_impl(dialect).dialect_impl(dialect).result_processor(dialect, coltype)
        return _decode


def encode(value: Any) -> str | None:
    """Return a JSON value as the text that is stored."""
    if value is None or isinstance(value, JSONText):
        return value
    text = _written(value)
    # The search is slow, and most text is seen to need none.
    if ("\\u0000" in text or not text.isascii()) and _NOT_STORABLE.search(text):
        raise ValueError(
            "a database cannot hold NUL or lone surrogates in JSON: store this through a repository"
        )
    return text


def _decode(text: str | bytes | None) -> Any:
    if text == "{}":  # of most sessions
        return {}
    return None if text is None else json.loads(text)
