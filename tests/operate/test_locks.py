"""The limits of time of docs/how-to/operate.md: a call ends by them, with nothing stored."""

from __future__ import annotations

import time

import pytest

import chatstore
from chatstore import HumanMessage
from chatstore.errors import StorageUnavailable
from tests import databases
from tests.operate import clusters

LIMIT = {"postgres": "ALTER ROLE chat_app", "mariadb": "ALTER USER chat_app"}
LOCK = {"postgres": "LOCK TABLE chatstore_sessions", "mariadb": "LOCK TABLES chatstore_sessions WRITE"}


@pytest.mark.parametrize("kind", clusters.KINDS)
def test_a_call_ends_with_the_limit_of_its_account(kind: str) -> None:
    """Reads and appends give up while somebody holds the table, and say that they may be repeated; then they work."""
    with clusters.ready(kind) as cluster:
        cluster.run(clusters.written("sql", LIMIT[kind]))
        with chatstore.connect(cluster.url("chat_app")) as repository:
            repository.add_messages("s", [HumanMessage("One", id="1")])
            with databases.connection(cluster.admin) as holding:
                holding.execute("BEGIN")
                holding.execute(LOCK[kind])
                for call in (
                    lambda: repository.add_messages("s", [HumanMessage("Two", id="2")]),
                    repository.list_sessions,
                ):
                    began = time.monotonic()
                    with pytest.raises(StorageUnavailable, match="repeat the call"):
                        call()
                    assert 4 < time.monotonic() - began < 25
            repository.add_messages("s", [HumanMessage("Two", id="2")])
            assert ["One", "Two"] == [message.content for message in repository.get_messages("s")]
