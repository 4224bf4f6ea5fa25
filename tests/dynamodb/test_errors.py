"""Unreachable, refused, missing, misspelt: one clear error within the deadline, and nothing half-written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import pytest

import chatstore
from chatstore import HumanMessage, deadlines
from chatstore.backends.dynamodb import DynamoDBRepository
from chatstore.backends.dynamodb.url import parse_url
from chatstore.errors import (
    Invalid,
    OutcomeUnknown,
    SchemaMissing,
    SchemaOutdated,
    StorageError,
    StorageUnavailable,
)
from tests import dynamo, embedded
from tests.proxy import FaultProxy, Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def proxy(dynamodb_url: str) -> Iterator[FaultProxy]:
    """Give a proxy in front of the server."""
    endpoint = urlsplit(parse_url(dynamodb_url).endpoint or "")
    if not endpoint.port:
        pytest.skip("the proxy stands before an emulator only: the service speaks TLS")
    with FaultProxy(endpoint.hostname or "", endpoint.port) as proxy:
        yield proxy


@pytest.fixture
def behind(dynamodb_url: str, proxy: FaultProxy) -> Iterator[chatstore.Repository]:
    """Give a repository behind the proxy."""
    address = parse_url(dynamodb_url)._replace(endpoint=f"http://127.0.0.1:{proxy.port}")
    with chatstore.connect(address.url) as repository:
        yield repository


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb:", "dynamodb://", "dynamodb://eu-central-1", "dynamodb://eu-central-1/", "dynamodb://eu-central-1/a",
        "dynamodb://eu-central-1/a/b", "dynamodb://eu-central-1/chat?x=1", "dynamodb://EU CENTRAL/chat",
        "dynamodb://key:hush@eu-central-1/chat", "dynamodb://eu-central-1/chat?endpoint_url=nowhere",
        "dynamodb://eu-central-1/chat?endpoint_url=http://key:hush@127.0.0.1:1", "dynamodb://eu-central-1/chat#x",
        "dynamodb://eu-central-1/ch%20at", "dynamodb://eu-central-1/chat?endpoint_url", "dynamodb://[/chat",
    ],
)  # fmt: skip
def test_bad_urls_are_refused(url: str) -> None:
    """What names no table is `Invalid`, says how it is written, and shows no secret."""
    with pytest.raises(Invalid) as caught:
        chatstore.connect(url)
    assert "hush" not in str(caught.value)
    assert ":" in str(caught.value)


def test_urls_that_mean_a_table() -> None:
    """A URL says table, region and endpoint, and is written back the same."""
    for url in (
        "dynamodb://eu-central-1/chat",
        "dynamodb:///my.chat_table-1",
        "dynamodb://us-gov-west-1/chat?endpoint_url=http://127.0.0.1:8000",
    ):
        assert url == parse_url(url).url
        with chatstore.connect(url) as repository:
            assert url in repr(repository)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint where nothing listens is told after a few attempts, for reads and writes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    url = f"dynamodb://eu-central-1/chat?endpoint_url=http://127.0.0.1:{embedded.free_port()}"
    with chatstore.connect(url) as repository:
        for call in (
            lambda: repository.get_messages("s"),
            lambda: repository.add_messages("s", [HumanMessage("secret text")]),
            lambda: repository.pop_message("s"),
        ):
            began = time.monotonic()
            with pytest.raises(StorageUnavailable, match="endpoint_url") as caught:
                call()
            assert StorageUnavailable is type(caught.value)
            assert time.monotonic() - began < deadlines.DEFAULT
            assert "secret" not in str(caught.value)
            assert "hush" not in f"{caught.value} {caught.value.__cause__}"


def test_a_server_that_goes_away_in_the_middle(proxy: FaultProxy, behind: chatstore.Repository) -> None:
    """Connections that break are replaced; a server that stays away is one error, and nothing is half-written."""
    behind.add_messages("s", [HumanMessage("1")])
    proxy.cut_all()
    behind.add_messages("s", [HumanMessage("2")])
    proxy.arm(Mode.REFUSE)
    proxy.cut_all()
    for call in (
        lambda: behind.add_messages("s", [HumanMessage("3"), HumanMessage("4")]),
        lambda: behind.get_messages("s"),
    ):
        with pytest.raises(StorageUnavailable):
            call()
    proxy.disarm()
    assert ["1", "2"] == [message.content for message in behind.get_messages("s")]


@pytest.mark.parametrize("mode", [Mode.BEFORE, Mode.AFTER])
def test_a_connection_that_breaks_while_it_writes(
    proxy: FaultProxy, behind: chatstore.Repository, mode: Mode
) -> None:
    """Whether the request or its answer is lost: appends and pops happen once, because the header tells."""
    for number in range(5):
        proxy.arm(mode, b"TransactWriteItems", times=1)
        behind.add_messages("s", [HumanMessage(f"{number} a"), HumanMessage(f"{number} b")])
        proxy.arm(mode, b"TransactWriteItems", times=1)
        popped = behind.pop_message("s")
        assert popped is not None
        assert f"{number} b" == popped.message.content
    proxy.disarm()
    assert [f"{number} a" for number in range(5)] == [message.content for message in behind.get_messages("s")]


def test_an_outcome_that_cannot_be_found_out(
    proxy: FaultProxy, behind: chatstore.Repository, dynamodb_url: str
) -> None:
    """If the answer of a pop is lost and somebody else writes before it is looked at, the caller hears of it."""
    behind.add_messages("s", [HumanMessage("1"), HumanMessage("2")])
    with chatstore.connect(dynamodb_url) as other:

        def meanwhile(sent: bytes) -> bool:
            if b"DynamoDB_20120810.GetItem" in sent and proxy.injected and not other.count_messages("t"):
                other.add_messages("t", [HumanMessage("once")])
                other.add_messages("s", [HumanMessage("other")])
            return b"TransactWriteItems" in sent and not proxy.injected

        proxy.arm(Mode.AFTER, meanwhile)
        with pytest.raises(OutcomeUnknown):
            behind.pop_message("s")
        proxy.disarm()
        assert ["1", "other"] == [message.content for message in behind.get_messages("s")]


def test_a_missing_table_and_a_wrong_region(dynamodb_url: str) -> None:
    """A table that is not there is `SchemaMissing` with the command that makes it, whatever is called."""
    there = parse_url(dynamodb_url)
    for address in (there._replace(table="chat-missing"), there._replace(region="ap-south-1")):
        with chatstore.connect(address.url) as repository:
            for call in (
                lambda: repository.get_session("s"),
                lambda: repository.add_messages("s", [HumanMessage("x")]),
                repository.list_sessions,
                lambda: repository.list_sessions(user_id="u"),
                repository.purge,
            ):
                with pytest.raises(SchemaMissing, match="chatstore upgrade --url") as caught:
                    call()
                assert address.url in str(caught.value)


def test_a_table_of_something_else(dynamodb_url: str) -> None:
    """A table with other keys is told, and not written to."""
    lent, name = dynamo.client(dynamodb_url), "chat-other-" + dynamo.table_of(dynamodb_url)[-8:]
    lent.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "SessionId", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "SessionId", "AttributeType": "S"}],
    )
    try:
        with chatstore.connect(parse_url(dynamodb_url)._replace(table=name).url) as repository:
            for call in (
                lambda: repository.get_messages("s"),
                lambda: repository.add_messages("s", [HumanMessage("x")]),
                repository.list_sessions,
            ):
                with pytest.raises(SchemaOutdated, match="name another"):
                    call()
        assert 0 == lent.scan(TableName=name)["Count"]
    finally:
        lent.delete_table(TableName=name)
        lent.close()


@pytest.mark.parametrize(
    "code",
    [
        "AccessDeniedException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "ExpiredTokenException",
    ],
)
def test_refused_access(dynamodb_url: str, code: str) -> None:
    """Wrong or missing permissions are told at once, with where to read which are needed."""
    with chatstore.connect(dynamodb_url) as repository:
        hooks = dynamo.Hooks(repository)
        hooks.fail("GetItem", code, 1)
        with pytest.raises(StorageError, match="permissions") as caught:
            repository.get_messages("s")
    assert StorageError is type(caught.value)
    assert ["GetItem"] == hooks.names()


def test_without_credentials_or_region(dynamodb_url: str) -> None:
    """What is missing in the AWS settings is named before anything is sent."""
    address = parse_url(dynamodb_url)
    with pytest.MonkeyPatch.context() as patch:  # the table is taken away with credentials again
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION", "REGION", "PROFILE"):
            patch.delenv(f"AWS_{name}", raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/nowhere")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        named = {"endpoint_url": address.endpoint, "boto3_session": boto3.session.Session()}
        with pytest.raises(StorageError, match="credentials"):
            DynamoDBRepository(address.table, region_name="eu-central-1", **named).get_messages("s")
        with pytest.raises(Invalid, match="region"):
            DynamoDBRepository(address.table, **named).get_messages("s")


def test_an_endpoint_that_speaks_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server that is no DynamoDB is told as unreachable, with what to check."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"dynamodb://eu-central-1/chat?endpoint_url=http://127.0.0.1:{server.server_port}"
        with chatstore.connect(url) as repository, pytest.raises(StorageUnavailable, match="endpoint_url"):
            repository.get_messages("s")
        server.shutdown()
