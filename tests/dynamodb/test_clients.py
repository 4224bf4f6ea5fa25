"""Clients: shared, passed in, closed, forked; and the history named after the service."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

import chatstore
from chatstore import DynamoDBChatMessageHistory, HumanMessage
from chatstore.backends.common import leases
from chatstore.backends.dynamodb import DynamoDBRepository, queue
from chatstore.backends.dynamodb.url import parse_url
from chatstore.errors import Invalid, MissingDependency
from tests import dynamo

pytestmark = pytest.mark.dynamodb


def test_repositories_on_one_url_share_a_client(dynamodb_url: str) -> None:
    """A hundred histories have one pool of connections, which the last one closes."""
    address = parse_url(dynamodb_url)
    histories = [
        DynamoDBChatMessageHistory(address.table, f"s{number}", address.endpoint, region_name=address.region)
        for number in range(100)
    ]
    lease = histories[0].repository._client.lease  # type: ignore[union-attr]
    assert {lease} == {history.repository._client.lease for history in histories}  # type: ignore[union-attr]
    histories[0].add_user_message("x")
    for history in histories[:-1]:
        history.close()
        history.close()
    assert lease.is_open
    histories[-1].add_user_message("y")
    histories[-1].close()
    assert (False, 0) == (lease.is_open, lease.users)
    assert lease not in leases.in_use()


def test_clients_and_sessions_that_are_passed_in(dynamodb_url: str) -> None:
    """They are used as they are, and a client is never closed."""
    address, lent = parse_url(dynamodb_url), dynamo.client(dynamodb_url)
    closed: list[bool] = []
    lent.close, close = (lambda: closed.append(True)), lent.close
    with DynamoDBRepository(address.table, client=lent) as repository:
        repository.add_messages("s", [HumanMessage("by a client")])
        assert dynamo.boto(repository) is lent
    assert [] == closed
    assert 3 == len(dynamo.items(lent, address.table))
    close()
    session = boto3.session.Session(region_name=address.region)
    with DynamoDBRepository(
        address.table, endpoint_url=address.endpoint, boto3_session=session
    ) as repository:
        assert ["by a client"] == [message.content for message in repository.get_messages("s")]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_a_forked_child_has_connections_of_its_own(dynamodb_url: str) -> None:
    """A repository that was used before a fork works in the child and in the parent, over different sockets."""
    with chatstore.connect(dynamodb_url) as repository:
        repository.add_messages("s", [HumanMessage("parent")])
        before = dynamo.boto(repository)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                repository.add_messages("s", [HumanMessage("child")])
                status = int(dynamo.boto(repository) is before)
            finally:
                os._exit(status)
        assert 0 == os.waitpid(child, 0)[1]
        repository.add_messages("s", [HumanMessage("parent again")])
        assert ["parent", "child", "parent again"] == [
            message.content for message in repository.get_messages("s")
        ]


def test_the_history_by_its_name(dynamodb_url: str) -> None:
    """It takes what people pass, serves both worlds, and refuses a ttl that is none."""
    address = parse_url(dynamodb_url)
    named: dict[str, Any] = {"region_name": address.region}
    history = DynamoDBChatMessageHistory(address.table, "s", address.endpoint, ttl=3600, last=2, **named)

    async def talk() -> list[str]:
        async with history:
            await history.aadd_messages([HumanMessage("a"), HumanMessage("b")])
            await history.aadd_messages([HumanMessage("c")])
            return [str(message.content) for message in await history.aget_messages()]

    assert ["b", "c"] == asyncio.run(talk())
    with chatstore.connect(dynamodb_url) as repository:
        session = repository.get_session("s")
        assert session.expires_at is not None
        assert 3590 < (session.expires_at - session.updated_at).total_seconds() <= 3601
    for wrong in (0, -1, 1.5, True, "60", 10**12):
        with pytest.raises(Invalid, match="ttl"):
            DynamoDBChatMessageHistory(address.table, "s", address.endpoint, ttl=wrong, **named)  # type: ignore[arg-type]
    assert not [one for one in leases.in_use() if getattr(one, "address", None) == address]


def test_writers_of_one_process_queue_at_their_session(dynamodb_url: str) -> None:
    """Threads that write to one session lose no races against each other; those of other sessions do not wait."""
    with chatstore.connect(dynamodb_url) as repository:
        hooks = dynamo.Hooks(repository)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda text: repository.add_messages("s", [HumanMessage(text)]), "abcdefgh"))
        assert 8 == hooks.names().count("TransactWriteItems")
        line = repository._client.queue  # type: ignore[attr-defined]
        with line.at("s"):
            repository.add_messages("t", [HumanMessage("at once")])
        assert {} == line._places


def test_a_queue_is_no_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited long enough goes ahead, and does not let the next one in by mistake."""
    monkeypatch.setattr(queue, "PATIENCE", 0.01)
    line = queue.Queue()
    with line.at("s"):
        with line.at("s"):
            pass
        assert line._places["s"][0].locked()
    assert {} == line._places


def test_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is told at the first call, with the command to type."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    repository = chatstore.connect("dynamodb://eu-central-1/chat")
    with repository, pytest.raises(MissingDependency, match=r"pip install 'boto3>="):
        repository.get_messages("s")


def test_nothing_heavy_is_imported_before_the_first_call() -> None:
    """`connect` and the histories load no boto3."""
    code = (
        "import sys, chatstore; chatstore.connect('dynamodb://eu-central-1/chat'); "
        "chatstore.DynamoDBChatMessageHistory('chat', 's'); "
        "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules or 'sqlalchemy' in sys.modules)"
    )
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
