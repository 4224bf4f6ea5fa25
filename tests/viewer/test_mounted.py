"""Mounted in other applications, behind their logins: forms arrive, and each user sees their own.

That it is reached at all in Flask, Django and FastAPI, the how-to shows, which runs as a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, abort, request
from werkzeug.wrappers import Response

from chatstore.connect import connect
from chatstore.viewer import Viewer
from tests.viewer import workshop

if TYPE_CHECKING:
    from chatstore.repository import Repository


def mounted(store: Repository) -> Any:
    """Return a browser of a Flask application that shows everybody their own conversations."""
    app = Flask(__name__)
    viewer = Viewer(
        lambda environ: store.scope(user_id=environ["HTTP_X_USER"]),
        rate=None,
        allow_delete=True,
        allow_export=True,
    )

    @app.route("/mine/", defaults={"path": ""}, methods=["GET", "POST"])
    @app.route("/mine/<path:path>", methods=["GET", "POST"])
    def mine(path: str) -> Response:
        del path
        if "X-User" not in request.headers:
            abort(403)
        return Response.from_app(viewer.at("/mine"), request.environ)

    return app.test_client()


def test_each_user_sees_their_own() -> None:
    """The function is asked for each request; without a login nothing is shown."""
    with connect("memory:") as store:
        workshop.fill(store, 0)
        browser = mounted(store)

        assert 403 == browser.get("/mine/").status_code
        for user, own, other in (
            ("ada", "ada-brakes", "kenji-invoice"),
            ("kenji", "kenji-invoice", "ada-brakes"),
        ):
            headers = {"X-User": user}
            listed = browser.get("/mine/", headers=headers).text
            assert own in listed
            assert other not in listed
            assert 200 == browser.get(f"/mine/session?id={own}", headers=headers).status_code
            for page in ("session", "export", "delete", "message"):
                assert 404 == browser.get(f"/mine/{page}?id={other}&at=1", headers=headers).status_code


def test_a_form_arrives_through_the_application() -> None:
    """With what was typed into it; that of another site does not."""
    with connect("memory:") as store:
        workshop.fill(store, 0)
        browser = mounted(store)
        form = {"id": "ada-brakes", "sure": "yes"}

        foreign = browser.post(
            "/mine/delete", data=form, headers={"X-User": "ada", "Origin": "http://evil.example"}
        )
        others = browser.post(
            "/mine/delete", data=form, headers={"X-User": "kenji", "Origin": "http://localhost"}
        )
        assert (403, 404, 11) == (foreign.status_code, others.status_code, store.count_messages("ada-brakes"))

        own = browser.post("/mine/delete", data=form, headers={"X-User": "ada", "Origin": "http://localhost"})
        assert (303, "/mine/") == (own.status_code, own.headers["Location"])
        assert 0 == store.count_messages("ada-brakes")
