"""Conversations in a SQL database: two tables with migrations of their own.

``models`` is the schema, ``migrations`` brings a database to it, ``statements`` and ``search`` write SQL,
``core`` runs it on a connection, ``repository`` lends the connections, ``dialects`` knows what differs
between databases.
"""

from __future__ import annotations
