"""``manage.py flush``, which tests with transactions of their own run too: the search index goes with the messages.

Its table is chatstore's own and no model's, so that Django does not know it; and PostgreSQL empties no table that
another one refers to.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.commands import flush
from django.db import connections

from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.dialects.base import SEARCH_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator


class Command(flush.Command):
    """As Django's."""

    def handle(self, **options: Any) -> None:
        """Empty all tables."""
        with _with_search(connections[options["database"]]):
            super().handle(**options)


@contextmanager
def _with_search(connection: Any) -> Iterator[None]:
    """Have the tables to be emptied include the search index; in an embedded database it needs no emptying."""
    introspection = connection.introspection
    if dialect_for(connection.vendor).embedded or SEARCH_TABLE not in introspection.table_names():
        yield
        return
    known = introspection.django_table_names
    introspection.django_table_names = lambda *args, **options: [*known(*args, **options), SEARCH_TABLE]
    try:
        yield
    finally:
        del introspection.django_table_names  # the class has the method
