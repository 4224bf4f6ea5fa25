"""What the demo's second process shows: a history, a list, a search, and three SQL queries.

Run as ``python -m chatstore.cli.demo_reader`` with the database in ``CHATSTORE_URL``. It knows the samples'
names and the views; it changes nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from chatstore.cli import session_list, transcript
from chatstore.cli.output import say, table
from chatstore.cli.samples import TENANT
from chatstore.cli.target import Target, target

if TYPE_CHECKING:
    from chatstore.repository import Repository

SESSION: Final = "ada-brakes"
WORDS: Final = "oil chain"
#: Three questions an analyst may ask; ``{}`` is the database schema, where one was named.
QUERIES: Final = (
    (
        "What did a customer and the assistant say?",
        """SELECT position, role, content
FROM {}chatstore_transcript
WHERE session_id = 'kenji-invoice'
ORDER BY position""",
    ),
    (
        "Which tools were called, with what, and what came back?",
        """SELECT session_id, name, arguments, result
FROM {}chatstore_tool_calls
WHERE session_id IN ('ada-lights', 'kenji-touring')
ORDER BY session_id, position, tool_call_id""",
    ),
    (
        "How many tokens did each user take, by model?",
        """SELECT user_id, model,
  SUM(input_tokens) AS input, SUM(output_tokens) AS output
FROM {}chatstore_usage_daily
WHERE tenant_id = 'wheelhouse' AND model IS NOT NULL
GROUP BY user_id, model
ORDER BY user_id, model""",
    ),
)


def main() -> None:
    """Read everything through the library, then the same tables with SQL."""
    where = target(None, None, chosen=True, sql=True)
    with where.reading() as repository:
        click.secho(f"\n3. Read, in another process ({os.getpid()})", bold=True)
        _history(repository)
        _sessions(repository)
        click.secho("\n4. Search", bold=True)
        say(f"   chatstore search {WORDS}\n")
        for hit in repository.search(WORDS, tenant_id=TENANT, limit=3):
            transcript.show_hit(hit)
    click.secho("\n5. Ask with SQL", bold=True)
    _queries(where)


def _history(repository: Repository) -> None:
    say(f"   chatstore show {SESSION}\n")
    transcript.show(repository.get_session(SESSION), repository.iter_records(SESSION), full=False)


def _sessions(repository: Repository) -> None:
    say(f"\n   chatstore sessions --tenant {TENANT}\n")
    session_list.show(repository.list_sessions(tenant_id=TENANT).items, full=False, known=["tenant"])


def _queries(where: Target) -> None:
    from sqlalchemy import text

    with where.connection() as connection:
        quote = connection.dialect.identifier_preparer.quote
        schema = f"{quote(where.schema)}." if where.schema else ""
        for question, query in QUERIES:
            asked = query.format(schema)
            click.secho(f"\n   {question}\n", italic=True)
            say("\n".join(f"   {one}" for one in asked.splitlines()) + "\n")
            found = connection.execute(text(asked))
            table(list(found.keys()), found.all())


if __name__ == "__main__":
    from chatstore.cli.app import run_guarded

    run_guarded(main)
