"""Who may come in: names of the server, a token, the page a form comes from, how often and how much.

Knows requests; refuses to know what is behind. Mounted in an application that has a login, only `Origin` and the limits
are left to do here.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from werkzeug.exceptions import Forbidden, RequestEntityTooLarge, RequestURITooLarge, TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Collection

    from werkzeug.wrappers import Request

#: Characters of a query string, and bytes of a form.
QUERY_LIMIT: Final = 8_000
FORM_LIMIT: Final = 16_000
COOKIE: Final = "chatstore_viewer"
#: Clients whose requests are counted at a time; the ones that came longest ago are forgotten.
_CLIENTS: Final = 10_000
#: Wrong tokens a minute from one client.
_GUESSES: Final = 10


@dataclass(slots=True)
class Bucket:
    """Requests that a client may make at once: it fills by *rate* a second up to *burst*."""

    rate: float
    burst: float
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def wait(self, client: str) -> float:
        """Take one; return 0, or after how many seconds there is one again."""
        with self._lock:
            now = monotonic()
            left, since = self._left.pop(client, (self.burst, now))
            left = min(self.burst, left + (now - since) * self.rate)
            taken = left >= 1
            self._left[client] = (left - 1 if taken else left, now)
            if len(self._left) > _CLIENTS:
                self._left.popitem(last=False)
            return 0.0 if taken else (1 - left) / self.rate


class Gate:
    """Lets requests in, or raises what is answered to them."""

    def __init__(self, *, hosts: Collection[str] | None, token: str | None, rate: float | None) -> None:
        """Take requests for *hosts* only (None: any), with *token* if there is one, *rate* a second of each client."""
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._token = token
        self._bucket = None if rate is None else Bucket(rate, rate * 5)
        self._guesses = Bucket(_GUESSES / 60, _GUESSES)

    def check(self, request: Request) -> None:
        """Raise what is wrong with *request*, whoever sent it."""
        client = request.remote_user or request.remote_addr or ""
        if self._bucket is not None and (seconds := self._bucket.wait(client)):
            raise TooManyRequests("too many requests: wait a moment", retry_after=int(seconds) + 1)
        if len(request.query_string) > QUERY_LIMIT:
            raise RequestURITooLarge("the address is too long: shorten what you search for")
        if (request.content_length or 0) > FORM_LIMIT or "chunked" in request.headers.get(
            "Transfer-Encoding", ""
        ):
            raise RequestEntityTooLarge("the form is too large")
        if self._hosts is not None and request.host.lower() not in self._hosts:
            raise Forbidden("this viewer is not called by that name: see `chatstore web --help`, --name")
        if request.method not in {"GET", "HEAD"}:
            self._check_origin(request)

    @staticmethod
    def _check_origin(request: Request) -> None:
        """Let a form in only from a page of the viewer's own: browsers always say where a form comes from."""
        origin = urlsplit(request.headers.get("Origin", ""))
        if not origin.netloc or origin.netloc.lower() != request.host.lower():
            raise Forbidden(
                "this form does not come from the viewer's own page: open the page and send it again"
            )

    # ---- the token

    def lets_in(self, request: Request) -> bool:
        """Tell whether *request* needs no token, or has the cookie that a token brought."""
        if self._token is None:
            return True
        return hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), self.cookie.encode())

    def accepts(self, request: Request, token: str) -> bool:
        """Tell whether *token* is right. Raises `TooManyRequests` for guesses."""
        if self._token is not None and hmac.compare_digest(token.encode(), self._token.encode()):
            return True
        if seconds := self._guesses.wait(request.remote_addr or ""):
            raise TooManyRequests("too many wrong tokens: wait a minute", retry_after=int(seconds) + 1)
        return False

    @property
    def cookie(self) -> str:
        """What a browser gets in the place of the token, from which nobody learns it."""
        return hmac.new((self._token or "").encode(), b"chatstore viewer", sha256).hexdigest()
