"""The container: made, compared and taken away, from Python and by the command."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from azure.cosmos import CosmosClient, PartitionKey

import chatstore
from chatstore import HumanMessage
from chatstore.backends.cosmosdb import items
from chatstore.backends.cosmosdb.provisioning import HEAD, provisioner_for
from chatstore.cli import main
from chatstore.errors import SchemaOutdated, StorageError, StorageUnavailable
from chatstore.provisioning import Moved
from tests.cosmos import base_of, leaking_sdk

if TYPE_CHECKING:
    from tests.cosmos_fake import Fake


@pytest.fixture
def url(fake: Fake) -> str:
    """Give the URL of a container that is not there, nor its database."""
    return f"{base_of(fake)}/chat/chat"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, output and messages."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def test_up_down_and_up_again(url: str) -> None:
    """An upgrade makes everything and may be repeated; a downgrade takes everything away, and may be repeated."""
    with closing(provisioner_for(url)) as lent:
        for _ in range(2):
            assert (None, ["the container is missing"]) == (lent.current(), lent.differences())
            assert Moved(None, HEAD) == lent.upgrade()
            assert Moved(HEAD, HEAD) == lent.upgrade()
            assert (HEAD, []) == (lent.current(), lent.differences())
            with chatstore.connect(url) as repository:
                repository.add_messages("garden", [HumanMessage("Hello!")])
            assert Moved(HEAD, None) == lent.downgrade()
            assert Moved(None, None) == lent.downgrade()


def test_several_processes_upgrade_at_once(url: str) -> None:
    """Whoever is slower finds the container there."""

    def upgrade(_: int) -> Moved:
        with closing(provisioner_for(url)) as lent:
            return lent.upgrade()

    with ThreadPoolExecutor(6) as pool:
        assert {HEAD} == {moved.after for moved in pool.map(upgrade, range(6))}


def test_the_container_is_as_documented(client: CosmosClient, url: str) -> None:
    """Partition key, time to live without a default, and an index of what queries filter and sort by."""
    with closing(provisioner_for(url)) as lent:
        lent.upgrade()
    made = client.get_database_client("chat").get_container_client("chat").read()
    assert (["/session_id"], 2, -1) == (
        made["partitionKey"]["paths"],
        made["partitionKey"]["version"],
        made["defaultTtl"],
    )
    assert {
        "/session_id/?",
        "/generation/?",
        "/position/?",
        "/listed/?",
        "/user_id/?",
        "/tenant_id/?",
    } == {one["path"] for one in made["indexingPolicy"]["includedPaths"]}


def test_differences_are_named(client: CosmosClient, url: str) -> None:
    """What somebody changed is said, a line each; a container that indexes everything is fine."""
    database = client.create_database("chat")
    policy = {**items.INDEXING, "includedPaths": items.INDEXING["includedPaths"][:4]}
    database.create_container("chat", PartitionKey(items.PARTITION_KEY), indexing_policy=policy)
    with closing(provisioner_for(url)) as lent:
        told = lent.differences()
    assert ["time to live is off", "no index of /user_id/?", "no index of /tenant_id/?"] == [
        line.split(",")[0] for line in told
    ]
    database.create_container("all", PartitionKey(items.PARTITION_KEY), default_ttl=-1)
    with closing(provisioner_for(url.replace("/chat/chat", "/chat/all"))) as lent:
        assert [] == lent.differences()


def test_a_container_of_somebody_else_is_left_alone(client: CosmosClient, url: str) -> None:
    """With another partition key it is neither upgraded nor deleted."""
    database = client.create_database("chat")
    database.create_container("chat", PartitionKey("/user_id"))
    with closing(provisioner_for(url)) as lent:
        for call in (lent.current, lent.upgrade, lent.downgrade, lent.differences):
            with pytest.raises(SchemaOutdated, match="not ours"):
                call()
    assert "chat" == database.get_container_client("chat").read()["id"]


def test_a_data_role_cannot_create(fake: Fake, url: str) -> None:
    """What Microsoft Entra ID's data roles forbid is said as such."""
    fake.fail("create database", 403)
    fake.fail("read database", 404, 9)
    with (
        closing(provisioner_for(url)) as lent,
        pytest.raises(StorageError, match="can neither create nor delete"),
    ):
        lent.upgrade()


def test_nothing_listens() -> None:
    """An account that does not answer is one clear error."""
    with (
        leaking_sdk(),
        closing(provisioner_for("cosmosdb+http://:a2V5@127.0.0.1:9/chat/chat")) as lent,
        pytest.raises(StorageUnavailable, match="does not answer"),
    ):
        lent.upgrade()


def test_the_commands(fake: Fake, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Upgrade, current, check and downgrade work on the URL, and never show its key."""
    code, _, said = run(capsys, "check", "--url", url)
    assert (1, True) == (code, "chatstore upgrade" in said)
    code, out, _ = run(capsys, "upgrade", "--url", url)
    assert (0, True) == (code, f"none -> {HEAD}" in out)
    with chatstore.connect(url) as repository:
        repository.add_messages("garden", [HumanMessage("Hello!"), HumanMessage("Still there?")])
    code, out, _ = run(capsys, "current", "--url", url, "--json")
    assert (0, HEAD, True) == (code, json.loads(out)["revision"], json.loads(out)["at_head"])
    code, out, _ = run(capsys, "check", "--url", url, "--json")
    assert (0, True) == (code, json.loads(out)["ok"])
    code, out, _ = run(capsys, "show", "garden", "--url", url)
    assert (0, True) == (code, "Still there?" in out)
    code, out, said = run(capsys, "downgrade", "base", "--yes", "--url", url)
    assert (0, True) == (code, "1 session, 2 messages" in said)
    shown = [run(capsys, *words, "--url", url) for words in (("current",), ("check",), ("doctor",))]
    for _, out, said in shown:
        assert "***@" in out + said
    everything = " ".join(str(part) for one in shown for part in one)
    assert fake.key not in everything
    assert fake.key[:20] not in everything


def test_a_mangled_url_does_not_show_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A key with a raw slash makes no URL; what is said about it has no part of the key."""
    code, out, said = run(
        capsys, "upgrade", "--url", "cosmosdb://:c2Vjcm/V0@account.documents.azure.com/chat/chat"
    )
    assert code
    assert "c2Vjcm" not in out + said
