"""A person's browser, on the example application of any framework: log in, chat, leave in the middle.

Knows what every example offers and how it is asked for over HTTP; refuses to know frameworks. One whose example has
other addresses or bodies derives a class and changes those methods.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.contrib.server import Server


class Said(NamedTuple):
    """One message as the screen shows it."""

    position: int
    type: str
    text: str
    state: str | None


class Refused(AssertionError):
    """The application answered with an error: its *status*, and the *problem* it says, if it is one."""

    def __init__(self, status: int, problem: dict[str, Any], body: str) -> None:
        """Keep what was answered."""
        super().__init__(f"{status}: {body[:500]}")
        self.status, self.problem, self.body = status, problem, body

    def as_problem(self) -> int:
        """Return the status, of which the body must be problem details that say the same."""
        assert self.problem.get("status") == self.status, self.body
        return self.status


class Broken(AssertionError):
    """An answer ended without its last event, or with an event that says an error."""


class Event(NamedTuple):
    """One server-sent event."""

    kind: str
    data: Any


class Browser:
    """Somebody's browser, with its cookies; a context."""

    def __init__(self, server: Server) -> None:
        """Open it; nobody is logged in."""
        self.requests = 0
        self.server = server
        self.client = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.client.close()

    def reconnect(self) -> None:
        """Let go of all connections, as when a server was restarted; keep the cookies."""
        self.client.close()
        cookies, self.client = self.client.cookies, self._opened()
        self.client.cookies = cookies

    def _opened(self) -> httpx.Client:
        client = self.server.client()
        client.event_hooks = {"request": [self._count]}
        return client

    def _count(self, _: httpx.Request) -> None:
        self.requests += 1

    # ---- what a person does

    def login(self, user: str) -> None:
        """Log in as *user*."""
        self.call("POST", "/login", user=user)

    def begin(self, title: str) -> str:
        """Begin a chat; return its id."""
        return str(self.call("POST", "/chats", title=title)["id"])

    def chats(self, **query: str) -> list[tuple[str, str]]:
        """Return the ids and titles of the newest chats, newest first."""
        return [(one["id"], one["title"]) for one in self.call("GET", "/chats", **query)["chats"]]

    def said(self, chat: str) -> list[Said]:
        """Return the newest messages of a chat, oldest first."""
        return [Said(**one) for one in self.call("GET", f"/chats/{chat}")["messages"]]

    def asking(self, chat: str, text: str) -> Iterator[str]:
        """Ask; give the pieces of the answer as they come. Closed before the end, it leaves."""
        return self.streaming(f"/chats/{chat}", text=text)

    def ask(self, chat: str, text: str) -> str:
        """Ask, and wait for all of the answer."""
        return "".join(self.asking(chat, text))

    def regenerate(self, chat: str) -> str:
        """Ask for another answer to the last question."""
        question = [one for one in self.said(chat) if one.type == "human"][-1]
        return "".join(self.streaming(f"/chats/{chat}/{question.position}"))

    def branch(self, chat: str, through: int) -> str:
        """Go on from a message in a chat of its own; return its id."""
        return str(self.call("POST", f"/chats/{chat}/branch", through=str(through))["id"])

    def search(self, words: str) -> list[tuple[str, str]]:
        """Return the chats and the texts in which *words* stand."""
        return [(one["id"], one["text"]) for one in self.call("GET", "/search", q=words)["hits"]]

    def delete(self, chat: str) -> None:
        """Delete a chat."""
        self.call("DELETE", f"/chats/{chat}")

    # ---- how it is said

    #: How values are sent that are no part of the address.
    body = "data"

    def call(self, method: str, path: str, **values: Any) -> Any:
        """Ask for *path*; return what was answered. Raises `Refused`."""
        where = "params" if method == "GET" else self.body
        answer = self.client.request(method, path, **{where: values or None})  # type: ignore[arg-type]
        self.refuse(answer)
        return answer.json() if answer.content else None

    def streaming(self, path: str, **values: str) -> Iterator[str]:
        """Give the pieces of text that are streamed. Raises `Refused` before the first, `Broken` if it breaks off."""
        with closing(self.events(path, values)) as events:  # type: ignore[type-var]
            for kind, data in events:
                if kind == "message":
                    yield str(data["text"])
                elif kind == "done":
                    return
                else:
                    raise Broken(f"{kind}: {data}")
        raise Broken("the answer ended without saying so")

    def events(self, path: str, values: dict[str, str]) -> Iterator[Event]:
        """Give the events of an answer that streams."""
        with self.client.stream("POST", path, **{self.body: values}) as answer:  # type: ignore[arg-type]
            if not answer.is_success:
                answer.read()
            self.refuse(answer)
            kind = "message"
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield Event(kind, json.loads(value))
                elif not line:
                    kind = "message"

    def refuse(self, answer: httpx.Response) -> None:
        """Raise `Refused` for what is no success."""
        if not answer.is_success:
            is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
            raise Refused(answer.status_code, answer.json() if is_problem else {}, answer.text)


class RouterBrowser(Browser):
    """The same on an application that has chatstore's own routes: bodies are JSON, lists are pages of objects."""

    body = "json"

    def chats(self, **query: str) -> list[tuple[str, str]]:
        """Return the ids and titles of the newest chats, newest first."""
        return [(one["id"], one["title"]) for one in self.call("GET", "/chats", **query)["items"]]

    def said(self, chat: str) -> list[Said]:
        """Return the newest messages of a chat, oldest first."""
        page = self.call("GET", f"/chats/{chat}/messages")
        return [Said(**{name: one[name] for name in Said._fields}) for one in page["items"]]

    def asking(self, chat: str, text: str) -> Iterator[str]:
        """Ask; give the pieces of the answer as they come. Closed before the end, it leaves."""
        return self.streaming(f"/chats/{chat}/answers", text=text)

    def regenerate(self, chat: str) -> str:
        """Ask for another answer to the last question."""
        return "".join(self.streaming(f"/chats/{chat}/regenerate"))

    def branch(self, chat: str, through: int) -> str:
        """Go on from a message in a chat of its own; return its id."""
        return str(self.call("POST", f"/chats/{chat}/fork", through=through)["id"])

    def search(self, words: str) -> list[tuple[str, str]]:
        """Return the chats and the texts in which *words* stand."""
        hits = self.call("GET", "/chats/search", q=words)["items"]
        return [(one["session_id"], one["text"]) for one in hits]
