"""The table: made, completed, compared and taken away, from Python and by the command."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import chatstore
from chatstore import HumanMessage
from chatstore.backends.dynamodb import items, provisioning
from chatstore.backends.dynamodb.provisioning import HEAD, provisioner_for
from chatstore.backends.dynamodb.url import parse_url
from chatstore.cli import main
from chatstore.errors import SchemaOutdated, StorageUnavailable
from chatstore.provisioning import Moved
from tests import dynamo, servers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def url() -> Iterator[str]:
    """Give the URL of a table that is not there."""
    server = servers.obtain("dynamodb")
    address = parse_url(server.replace("/?", "/xxx?"))._replace(
        table=f"chatstore-test-{secrets.token_hex(4)}"
    )
    yield address.url
    lent = provisioner_for(address.url)
    if lent._described() is not None:
        lent._client.call("delete_table", TableName=address.table)
    lent.close()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, output and messages."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def test_up_down_and_up_again(url: str) -> None:
    """An upgrade makes everything and may be repeated; a downgrade takes everything away, and may be repeated."""
    lent = provisioner_for(url)
    for _ in range(2):
        assert (None, ["is missing"]) == (lent.current(), [lent.differences()[0][-10:]])
        assert Moved(None, HEAD) == lent.upgrade()
        assert Moved(HEAD, HEAD) == lent.upgrade()
        assert (HEAD, []) == (lent.current(), lent.differences())
        with chatstore.connect(url) as repository:
            repository.add_messages("s", [HumanMessage("x")])
        assert Moved(HEAD, None) == lent.downgrade()
        assert Moved(None, None) == lent.downgrade()
    lent.close()


def test_several_processes_at_once(url: str) -> None:
    """Four upgrades at the same time all succeed, and make one table."""

    def upgrade(_: int) -> str | None:
        lent = provisioner_for(url)
        try:
            return lent.upgrade().after
        finally:
            lent.close()

    with ThreadPoolExecutor(4) as pool:
        assert [HEAD] * 4 == list(pool.map(upgrade, range(4)))


def test_what_is_missing_is_added(url: str) -> None:
    """A table without an index or without its time to live is completed, and keeps what is in it."""
    lent, boto = provisioner_for(url), dynamo.client(url)
    lent.upgrade()
    with chatstore.connect(url) as repository:
        repository.scope(tenant_id="t").add_messages("s", [HumanMessage("kept")])
    name = dynamo.table_of(url)
    boto.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by_tenant"}}])
    off = {"Enabled": False, "AttributeName": items.TTL}
    boto.update_time_to_live(TableName=name, TimeToLiveSpecification=off)

    assert lent.current() is None
    assert ["index by_tenant is missing", "time to live is off"] == [
        one.partition(",")[0] for one in lent.differences()
    ]
    with chatstore.connect(url) as repository, pytest.raises(SchemaOutdated, match="chatstore upgrade"):
        repository.list_sessions(tenant_id="t")
    assert Moved(None, HEAD) == lent.upgrade()
    assert (HEAD, []) == (lent.current(), lent.differences())
    with chatstore.connect(url) as repository:
        assert ["s"] == [one.session_id for one in repository.list_sessions(tenant_id="t").items]
        assert ["kept"] == [message.content for message in repository.get_messages("s")]
    lent.close()
    boto.close()


def test_a_table_of_something_else_is_left_alone(url: str) -> None:
    """Neither upgrade nor downgrade touches a table with other keys."""
    lent, boto = provisioner_for(url), dynamo.client(url)
    boto.create_table(
        TableName=dynamo.table_of(url),
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "SessionId", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "SessionId", "AttributeType": "S"}],
    )
    for call in (lent.upgrade, lent.downgrade, lent.current, lent.differences):
        with pytest.raises(SchemaOutdated, match="name another"):
            call()
    assert "SessionId" == lent._described()["KeySchema"][0]["AttributeName"]  # type: ignore[index]
    lent.close()
    boto.close()


def test_a_table_that_takes_its_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade waits until table and indexes are active, and gives up with an error in the end."""
    monkeypatch.setattr(provisioning, "PAUSE", 0.01)
    lent = provisioner_for(url)
    states = iter(["CREATING", "CREATING", "ACTIVE"])
    real = lent._client.call

    def slow(name: str, **parameters: Any) -> dict[str, Any]:
        answer = real(name, **parameters)
        if name == "describe_table":
            answer["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] = next(states, "ACTIVE")
        return answer

    monkeypatch.setattr(lent._client, "call", slow)
    assert Moved(None, HEAD) == lent.upgrade()
    assert "ACTIVE" == next(states, "ACTIVE")
    states = iter(["CREATING"] * 10**6)
    monkeypatch.setattr(provisioning, "DEADLINE", 0.1)
    with pytest.raises(StorageUnavailable, match="not active"):
        lent.upgrade()
    monkeypatch.undo()
    lent.close()


def test_the_commands(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """upgrade, current, check and downgrade work as for databases, ask before they destroy, and say what is there."""
    assert (0, None) == (0, json.loads(run(capsys, "current", "--url", url, "--json")[1])["revision"])
    code, out, err = run(capsys, "check", "--url", url)
    assert (1, True, True) == (code, "is missing" in out, "chatstore upgrade" in err)
    assert {"url": url, "before": None, "after": HEAD} == json.loads(
        run(capsys, "upgrade", "--url", url, "--json")[1]
    )
    assert "(nothing to do)" in run(capsys, "upgrade", "--url", url)[1]
    assert (0, True) == (0, json.loads(run(capsys, "check", "--url", url, "--json")[1])["ok"])
    run(capsys, "append", "s", "Hello!", "--url", url)
    assert "Hello!" in run(capsys, "show", "s", "--url", url)[1]
    doctor = json.loads(run(capsys, "doctor", "--url", url, "--json")[1])
    assert (1, 1, ["delete_states", "get_states", "iter_states", "search", "set_states"], True) == tuple(
        doctor[name] for name in ("sessions", "messages", "cannot", "ok")
    )
    assert 1 == run(capsys, "search", "hello", "--url", url)[0]
    for wrong in (["upgrade", "--sql"], ["upgrade", "0001"], ["downgrade", "head"], ["index", "create"]):
        assert 2 == run(capsys, *wrong, "--url", url)[0]
    code, _, err = run(capsys, "downgrade", "base", "--url", url)
    assert (2, True, True) == (code, "1 session, 1 message" in err, "--yes" in err)
    assert 0 == run(capsys, "downgrade", "base", "--yes", "--url", url)[0]
    code, _, err = run(capsys, "show", "s", "--url", url)
    assert (1, True) == (code, "chatstore upgrade --url" in err)
