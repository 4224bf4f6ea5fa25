"""A fake of Azure Cosmos DB for NoSQL: the part of its REST interface that the unmodified SDK needs for chatstore.

It exists because no faithful server runs without containers. It is checked against the service's documentation in
`tests/cosmosdb/test_fake.py`, each rule with its source, and it refuses what it does not know.
"""

from __future__ import annotations

from tests.cosmos_fake.server import KEY, Fake, Fault

__all__ = ["KEY", "Fake", "Fault"]
