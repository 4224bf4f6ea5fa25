"""What a request adds: a turn appended through `chatstore serve` on the loopback interface, and the same in process."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chatstore import AIMessage, HumanMessage
from tests.benchmarks import stores
from tests.benchmarks.harness import each, figure, race

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.harness import Figure, Size

QUESTION, ANSWER = "Where to? " * 20, "To the sea. " * 70
HEADERS = {"Content-Type": "application/json"}
LIMIT = 2.0


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    with (
        stores.migrated("sqlite") as url,
        stores.migrated("sqlite") as other,
        served(url) as connection,
        stores.connected(other) as repository,
    ):
        made = asked(connection, "/v1/conversations", {})["id"]
        path = f"/v1/conversations/{made}/items"
        items = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]

        def in_process() -> object:
            return repository.add_messages("s", [HumanMessage(QUESTION), AIMessage(ANSWER)])

        outcome = race(
            each(lambda: asked(connection, path, {"items": items})),
            each(in_process),
            bursts=size.bursts,
            calls=size.calls,
            warm=size.calls,
        )
    more = [1e3 * seconds for seconds in outcome.differences]
    yield figure(
        "append a turn over HTTP, SQLite", "`add_messages` in process", more, "ms more", LIMIT, outcome
    )


@contextlib.contextmanager
def served(url: str) -> Iterator[http.client.HTTPConnection]:
    """Run `chatstore serve` on *url*; yield a connection to it that is kept."""
    command = [sys.executable, "-m", "chatstore", "serve", "--url", url, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = [process.stdout.readline().split()[-1] for _ in range(2)][1]
            with contextlib.closing(http.client.HTTPConnection(urlsplit(address).netloc)) as connection:
                yield connection
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def asked(connection: http.client.HTTPConnection, path: str, body: object) -> dict[str, str]:
    """Post *body*; return what the answer has."""
    connection.request("POST", path, json.dumps(body), HEADERS)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == http.client.OK, text
    found: dict[str, str] = json.loads(text)
    return found
