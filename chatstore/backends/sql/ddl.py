"""SQL that is written by hand: names in their schema, statements word for word.

Knows quoting; refuses to know what the statements do. Only identifiers and constants of this package get in
here, never a value that somebody passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Dialect, TextClause


def qualify(dialect: Dialect, name: str, schema: str | None) -> str:
    """Return *name* within *schema*, quoted as *dialect* quotes where that is needed; a percent sign stands once."""
    prepare = dialect.identifier_preparer

    def quoted(part: str) -> str:
        made = prepare.quote(part)
        return made.replace("%%", "%") if prepare._double_percents else made

    return f"{quoted(schema)}.{quoted(name)}" if schema else quoted(name)


def verbatim(statement: str) -> TextClause:
    """Return *statement* as SQL without parameters: a colon in it is a colon."""
    return text(statement.replace(":", r"\:"))
