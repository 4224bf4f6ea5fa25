"""A small server that speaks OpenAI's chat completions, with tools and streaming, so that a real client can talk to it.

The model behind it is a rule: where tools are offered and a question has numbers, it asks for their sum; after a
tool has answered it says what came out; else it repeats the question. It keeps what it was asked.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the message that the model answers."""
    newest = asked["messages"][-1]
    if newest["role"] == "tool":
        return {"role": "assistant", "content": f"It is {newest['content']}."}
    numbers = re.findall(r"\d+", str(newest["content"]))
    if asked.get("tools") and numbers:
        arguments = json.dumps({"numbers": list(map(int, numbers))})
        name = asked["tools"][0]["function"]["name"]
        call = {
            "id": f"call_{len(asked['messages'])}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"role": "assistant", "content": f"You said: {newest['content']}"}


def parts(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cut a message into the deltas of a stream."""
    yield {"role": "assistant", "content": None if message.get("tool_calls") else ""}
    for call in message.get("tool_calls", ()):
        function = call["function"]
        yield {"tool_calls": [{"index": 0, **call, "function": {"name": function["name"], "arguments": ""}}]}
        for start in range(0, len(function["arguments"]), 5):
            piece = function["arguments"][start : start + 5]
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
    for word in re.findall(r"\S+\s*", message["content"] or ""):
        yield {"content": word}


class Server:
    """The server, running in a thread of its own while it is a context; *asked* holds the bodies of the requests."""

    def __enter__(self) -> Self:
        self.asked: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(asked)
                if self.path != "/v1/chat/completions":
                    self.send_error(404)
                    return
                message = answer(asked)
                reason = "tool_calls" if message.get("tool_calls") else "stop"
                head = {
                    "id": f"chatcmpl-{len(server.asked)}",
                    "created": 1_790_000_000,
                    "model": asked["model"],
                }
                if asked.get("stream"):
                    self._stream(head, message, reason)
                    return
                choice = {"index": 0, "message": message, "finish_reason": reason}
                body = {**head, "object": "chat.completion", "choices": [choice], "usage": USAGE}
                self._send("application/json", json.dumps(body).encode())

            def _stream(self, head: dict[str, Any], message: dict[str, Any], reason: str) -> None:
                head = {**head, "object": "chat.completion.chunk"}
                chunks = [{**head, "choices": [{"index": 0, "delta": part}]} for part in parts(message)]
                chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
                chunks.append({**head, "choices": [], "usage": USAGE})
                lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
                self._send("text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())

            def _send(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
