"""`Viewer`: the WSGI application, from a request to a page.

Knows which pages there are, what each reads, and the headers of every answer. Refuses to know who may come in
(`gate`), what a conversation is made of (`conversation`, `parts`), and how it looks (the templates).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

from chatstore.errors import (
    ChatstoreError,
    Invalid,
    MessageNotFound,
    NotSupported,
    SchemaError,
    SessionNotFound,
    StorageError,
)
from chatstore.extras import not_installed

try:
    from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound
    from werkzeug.utils import redirect
    from werkzeug.wrappers import Request, Response
except ImportError as error:
    raise not_installed("The viewer", "viewer") from error

from chatstore.viewer import pages
from chatstore.viewer.gate import COOKIE, FORM_LIMIT, Gate
from chatstore.viewer.looks import Looks
from chatstore.viewer.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from chatstore.repository import Repository

    Lender = Callable[[WSGIEnvironment], Repository]

log = logging.getLogger(__name__)
#: What every page may do: show itself, its own style, script and pictures, and pictures that its text holds.
POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
#: What a picture may do, if somebody opens it by itself: nothing.
PICTURE_POLICY: Final = "default-src 'none'; sandbox"
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
#: A year, for files whose address has their content's hash in it.
_FOREVER: Final = "public, max-age=31536000, immutable"


class Viewer:
    """A WSGI application that shows the conversations of a repository, and changes nothing.

    It has no login: the application that mounts it has. What a request may see is the repository's scope.
    """

    def __init__(
        self,
        repository: Repository | Lender,
        *,
        allow_delete: bool = False,
        allow_export: bool = False,
        title: str = "Conversations",
        hosts: Collection[str] | None = None,
        token: str | None = None,
        rate: float | None = 50,
    ) -> None:
        """Show *repository*, or what a function returns that gets each request's WSGI environment.

        *allow_delete* puts a form on each conversation that deletes it, *allow_export* a link that downloads it.
        *hosts* are the only names (``localhost:8000``) that the viewer answers to; None: any, for the application that
        mounts it has seen to that. *token* must be told once by each browser. *rate* is how many requests a second
        each client may make, five times as many at once; None: any number.
        """
        self._lend: Lender = repository if callable(repository) else lambda _: repository
        self.allow_delete = allow_delete
        self.allow_export = allow_export
        self._gate = Gate(hosts=hosts, token=token, rate=rate)
        self.looks = Looks(title)

    def at(self, prefix: str) -> WSGIApplication:
        """Return this application for requests whose path still has *prefix*, where it is mounted, in front."""
        prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""

        def mounted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "")
            if prefix and (path == prefix or path.startswith(f"{prefix}/")):
                moved = {
                    "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + prefix,
                    "PATH_INFO": path[len(prefix) :],
                }
                environ = {**environ, **moved}
            return self(environ, start_response)

        return mounted

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        request = Request(environ)
        request.max_content_length = request.max_form_memory_size = FORM_LIMIT
        try:
            response = self._answer(request)
        except HTTPException as error:
            response = self._failed(error)
        except Exception as error:  # noqa: BLE001 - a page says that something failed, the log says what
            response = self._failed(_meant(error))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        self._gate.check(request)
        path = request.path.lstrip("/")
        if path.startswith("static/"):
            return self._static(path.removeprefix("static/"))
        if not request.environ.get("PATH_INFO"):  # relative addresses need the slash
            return redirect(request.script_root + "/", 308)
        if path == "sign-in" or request.args.get("token"):
            return self._sign_in(request)
        if not self._gate.lets_in(request):
            return self._page("sign_in.html", status=401, wrong=False)
        page = pages.PAGES.get(path)
        if page is None:
            raise NotFound("there is no such page: begin at the list of conversations")
        if request.method not in ("GET", "HEAD", *(("POST",) if path in pages.FORMS else ())):
            raise MethodNotAllowed(["GET", "HEAD"])
        return page(self, request, Source(self._lend(request.environ)))

    def _sign_in(self, request: Request) -> Response:
        token = request.form.get("token", "") if request.method == "POST" else request.args.get("token", "")
        if not self._gate.accepts(request, token):
            return self._page("sign_in.html", status=401, wrong=bool(token))
        response = redirect(request.script_root + "/", 303)
        response.set_cookie(
            COOKIE,
            self._gate.cookie,
            path=request.script_root or "/",
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )
        return response

    def _static(self, name: str) -> Response:
        found = self.looks.files.get(name)
        if found is None:
            raise NotFound("there is no such file: begin at the list of conversations")
        return Response(found.data, mimetype=found.kind, headers={"Cache-Control": _FOREVER})

    def _failed(self, error: HTTPException) -> Response:
        status = error.code or 500
        if error.response is not None:
            return cast("Response", error.response)
        response = self._page("error.html", status=status, name=error.name, told=error.description or "")
        response.headers.extend(
            [(name, value) for name, value in error.get_headers() if name in {"Allow", "Retry-After"}]
        )
        return response

    def _page(self, template: str, *, status: int = 200, **given: Any) -> Response:
        return Response(self.looks.page(template, viewer=self, **given), status, mimetype="text/html")


def _meant(error: Exception) -> HTTPException:
    """Return what a page says of *error*; nothing that is stored is in it, nor is a password."""
    match error:
        case SessionNotFound() | MessageNotFound():
            return NotFound("there is no such conversation or message: look for it in the list")
        case NotSupported() | Invalid():
            failed = HTTPException(str(error))
            failed.code = 400 if isinstance(error, Invalid) else 501
            return failed
        case StorageError() | SchemaError():
            log.warning("%s: %s", type(error).__name__, error)
            failed = HTTPException("the conversations cannot be read now: the log of the viewer says why")
            failed.code = 503
            return failed
        case ChatstoreError():
            log.error("%s: %s", type(error).__name__, error)
        case _:
            log.error("a page of the viewer failed", exc_info=error)
    return InternalServerError("this page failed: the log of the viewer says why")
