"""chatstore.contrib.flask in this process: configuration, owners, errors, streams, transactions, commands, tests."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response, abort, current_app, g, has_app_context, request, session
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import make_url, select

import chatstore
from chatstore import AIMessage, HumanMessage, errors
from chatstore.contrib.flask import Chatstore
from chatstore.migrations import HEAD, current, downgrade, upgrade
from tests import servers
from tests.proxy import FaultProxy, Mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

PROBLEM = "application/problem+json"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a database with chatstore's tables."""
    with servers.migrated_url(request.param) as made:
        yield made


@pytest.fixture
def sqlite_url() -> Iterator[str]:
    """Give a SQLite file with chatstore's tables."""
    with servers.migrated_url("sqlite") as made:
        yield made


class Shop:
    """An application with chats, rows of its own, and the views of a chat screen."""

    def __init__(self, url: str, **config: Any) -> None:
        """Make it on the database at *url*; its own table is made, too."""
        self.app = Flask("shop")
        self.app.config.update(SECRET_KEY="x", SQLALCHEMY_DATABASE_URI=url, **config)
        self.chats, self.db = Chatstore(), SQLAlchemy()
        self.chats.init_app(self.app)
        self.db.init_app(self.app)
        self.closed: list[str] = []
        db, chats = self.db, self.chats

        class Note(db.Model):  # type: ignore[name-defined, misc]
            id = db.Column(db.Integer, primary_key=True)

        self.note = Note

        @chats.owner
        def who() -> Any:
            return session.get("user")

        @self.app.post("/login/<user>")
        def login(user: str) -> dict[str, str]:
            session["user"] = user
            return {}

        with self.app.app_context():
            db.create_all()
        self.views()

    def views(self) -> None:
        """Add what the tests ask for."""
        app, chats, db = self.app, self.chats, self.db

        @app.get("/chats")
        def index() -> list[str]:
            return [
                one.session_id for one in chats.mine.list_sessions(cursor=request.args.get("cursor")).items
            ]

        @app.get("/chats/<chat>")
        def read(chat: str) -> list[Any]:
            chats.mine.get_session(chat)
            return [one.content for one in chats.mine.get_messages(chat)]

        @app.post("/chats/<chat>")
        def say(chat: str) -> str:
            chats.mine.add_messages(chat, [HumanMessage(request.form["text"])])
            return "said"

        @app.post("/both/<chat>")
        def both(chat: str) -> str:
            db.session.add(self.note())
            chats.mine.using(db.session).add_messages(chat, [HumanMessage("both")])
            if "fail" in request.args:
                abort(409)
            db.session.commit()
            return "both"

        @app.post("/ask/<chat>")
        def ask(chat: str) -> Response:
            db.session.scalar(
                select(1)
            )  # a transaction is open, and stays open until the view's context ends
            answer = chats.mine.begin_answer(chat, [HumanMessage("?")])
            return chats.stream(answer, self.pieces())

    def pieces(self) -> Iterator[str]:
        """Stand in for a model."""
        try:
            for number in range(5):
                yield f"{current_app.name}{number} "
        finally:
            self.closed.append("closed")

    def client(self, user: str | None = "ada") -> FlaskClient:
        """Return a browser in which *user* is logged in."""
        client = self.app.test_client()
        if user:
            client.post(f"/login/{user}")
        return client

    def out(self) -> int:
        """Return how many of the engine's connections are checked out."""
        with self.app.app_context():
            pool: Any = self.db.engine.pool
            return int(pool.checkedout())

    def dispose(self) -> None:
        """Take the table away again, and close the engine."""
        with self.app.app_context():
            if not self.app.config["SQLALCHEMY_ENGINE_OPTIONS"]:
                self.db.drop_all()
            self.db.engine.dispose()


@contextlib.contextmanager
def shop_on(url: str, **config: Any) -> Iterator[Shop]:
    """Give a shop whose engine is closed at the end."""
    made = Shop(url, **config)
    try:
        yield made
    finally:
        made.dispose()


@pytest.fixture
def shop(url: str) -> Iterator[Shop]:
    """Give a shop on each kind of database."""
    with shop_on(url) as made:
        yield made


def problem(answer: TestResponse, status: int) -> str:
    """Return the one sentence of an answer that says a problem of this *status*."""
    assert (status, PROBLEM) == (answer.status_code, answer.content_type), answer.text
    body = json.loads(answer.text)
    assert {"type", "title", "status", "detail"} == set(body)
    assert status == body["status"]
    assert body["type"].startswith("urn:chatstore:error:")
    detail: str = body["detail"]
    assert "\n" not in detail
    return detail


def events(answer: TestResponse) -> list[tuple[str, Any]]:
    """Return the events of a streamed answer."""
    found = []
    for block in answer.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


# ----------------------------------------------------------------------------------------------- configuration


def test_the_engine_is_that_of_flask_sqlalchemy(shop: Shop) -> None:
    """Initialised in either order, one engine; no connection stays out."""
    client = shop.client()
    assert "said" == client.post("/chats/garden", data={"text": "Hello!"}).text
    assert ["Hello!"] == client.get("/chats/garden").json
    with shop.app.app_context():
        assert shop.chats.repository is shop.chats.repository
        assert 1 == shop.chats.repository.count_messages("garden")
    assert 0 == shop.out()


def test_one_object_serves_several_applications(tmp_path: Path) -> None:
    """A factory may be called as often as a test suite likes; each application has its own storage."""
    chats = Chatstore()

    def create(name: str) -> Flask:
        app = Flask(name)
        app.config["CHATSTORE_URL"] = f"sqlite:///{tmp_path}/{name}.db"
        chats.init_app(app)
        return app

    for name in ("one", "two"):
        with create(name).app_context():
            chats.repository.add_messages("s", [HumanMessage(name)])
            assert [name] == [one.content for one in chats.repository.get_messages("s")]


def test_the_environment_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test suite stays in the database it configures, though the shell names the real one."""
    real = tmp_path / "real.db"
    monkeypatch.setenv("CHATSTORE_URL", f"sqlite:///{real}")
    app = Flask("x")
    chats = Chatstore(app)
    with (
        app.app_context(),
        pytest.raises(RuntimeError, match=r'set app\.config\["CHATSTORE_URL"\], or use Flask-SQ'),
    ):
        _ = chats.repository
    with shop_on(f"sqlite:///{tmp_path}/test.db") as shop:
        with shop.app.app_context():
            assert (None, HEAD) == shop.chats.upgrade()
        assert "said" == shop.client().post("/chats/garden", data={"text": "Hello!"}).text
        ran = shop.app.test_cli_runner().invoke(args=["chatstore", "sessions"])
        assert "garden" in ran.output
    assert not real.exists()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"CHATSTORE_URL": "nonsense"}, "CHATSTORE_URL: "),
        ({"CHATSTORE_BIND_KEY": "chats"}, "CHATSTORE_BIND_KEY 'chats' is no key of SQLALCHEMY_BINDS (none)"),
    ],
)
def test_wrong_configuration_is_the_applications_fault(config: Any, sentence: str, sqlite_url: str) -> None:
    """It is a RuntimeError, answered with 500, and never said to be the request's fault."""
    with shop_on(sqlite_url, **config) as shop:
        with shop.app.app_context(), pytest.raises(RuntimeError) as raised:
            _ = shop.chats.repository
        assert sentence in str(raised.value)
        assert 500 == shop.client().get("/chats").status_code


def test_a_bind_of_its_own(tmp_path: Path) -> None:
    """CHATSTORE_BIND_KEY says in which of several databases the chats are."""
    binds = {"chats": f"sqlite:///{tmp_path}/chats.db"}
    config = {"SQLALCHEMY_BINDS": binds, "CHATSTORE_BIND_KEY": "chats"}
    with shop_on(f"sqlite:///{tmp_path}/main.db", **config) as shop:
        with shop.app.app_context():
            shop.chats.upgrade()
        shop.client().post("/chats/garden", data={"text": "Hello!"})
        with shop.app.app_context():
            shop.db.engines["chats"].dispose()
        assert (None, HEAD) == (current(f"sqlite:///{tmp_path}/main.db"), current(binds["chats"]))


@pytest.mark.postgres
def test_a_schema_of_its_own() -> None:
    """CHATSTORE_SCHEMA is the schema of the tables, for requests and commands."""
    with servers.fresh_database("postgres") as url, shop_on(url, CHATSTORE_SCHEMA="chat room") as shop:
        ran = shop.app.test_cli_runner().invoke(args=["chatstore", "upgrade"])
        assert 0 == ran.exit_code, ran.output
        assert (None, HEAD) == (current(url), current(url, schema="chat room"))
        shop.client().post("/chats/garden", data={"text": "Hello!"})
        assert ["Hello!"] == shop.client().get("/chats/garden").json


def test_a_second_one_is_refused() -> None:
    """Two would answer each other's errors."""
    app = Flask("x")
    Chatstore(app)
    with pytest.raises(RuntimeError, match="has a Chatstore already"):
        Chatstore(app)
    with Flask("y").app_context(), pytest.raises(RuntimeError, match="call init_app"):
        _ = Chatstore().repository


def test_without_flask_it_says_what_to_install() -> None:
    """The module can only be imported with its extra."""
    program = (
        "import sys; sys.modules['flask'] = None\nimport chatstore.contrib.problems, chatstore.contrib.flask"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "MissingDependency: Flask is not installed: " in ran.stderr
    assert "pip install 'flask>=3.0'" in ran.stderr


# ------------------------------------------------------------------------------------------------------ owners


def test_who_is_not_logged_in_is_told_so(shop: Shop) -> None:
    """Without an owner nothing is read or written: 401."""
    for user in (None, ""):
        client = shop.app.test_client()
        with client.session_transaction() as cookie:
            cookie["user"] = user
        assert "Nobody is logged in: log in first." == problem(client.get("/chats"), 401)
        problem(client.post("/chats/garden", data={"text": "Hello!"}), 401)


def test_another_owners_chat_is_a_missing_one(shop: Shop) -> None:
    """It is not listed, not read, and cannot be written to; nothing of it changes."""
    ada, bob = shop.client("ada"), shop.client("bob")
    ada.post("/chats/garden", data={"text": "mine"})
    assert [] == bob.get("/chats").json
    assert problem(bob.get("/chats/garden"), 404) == problem(bob.get("/chats/nothing"), 404)
    assert "This id is taken: choose another one." == problem(
        bob.post("/chats/garden", data={"text": "!"}), 409
    )
    assert ["mine"] == ada.get("/chats/garden").json


@pytest.mark.parametrize(
    ("owner", "columns"),
    [(7, (None, "7")), ({"tenant_id": "acme", "user_id": "ada"}, ("acme", "ada")), ("ada", (None, "ada"))],
)
def test_owners_are_ids_or_both(owner: Any, columns: tuple[Any, Any], sqlite_url: str) -> None:
    """A number is made text; tenant and user come as a dict."""
    with shop_on(sqlite_url) as shop:
        shop.chats.owner(lambda: owner)
        with shop.app.app_context():
            made = shop.chats.mine.create_session("s")
        assert columns == (made.tenant_id, made.user_id)


def test_nobody_says_who_is_asking(sqlite_url: str) -> None:
    """Without an owner function nobody's chats are everybody's: it is an error."""
    app = Flask("x")
    app.config["CHATSTORE_URL"] = sqlite_url
    chats = Chatstore(app)
    with app.app_context(), pytest.raises(RuntimeError, match=r"decorate a function with @chats\.owner"):
        _ = chats.mine


# ------------------------------------------------------------------------------------------------------ errors


def test_what_is_wrong_with_the_request_is_said(shop: Shop) -> None:
    """Forged cursors, ids and messages that cannot be are 400, each with what is wrong."""
    client = shop.client()
    assert "cursor" in problem(client.get("/chats?cursor=forged"), 400)
    assert "session id" in problem(client.post(f"/chats/{'x' * 256}", data={"text": "!"}), 400)
    assert "white space" in problem(client.get("/chats/%20x"), 400)
    assert [] == client.get("/chats").json


def test_an_expired_chat_is_a_missing_one(shop: Shop) -> None:
    """From that instant it is answered with 404."""
    client = shop.client()
    client.post("/chats/garden", data={"text": "Hello!"})
    with shop.app.app_context():
        shop.chats.repository.update_session("garden", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert "There is no such chat." == problem(client.get("/chats/garden"), 404)
    assert [] == client.get("/chats").json


def test_handlers_of_the_application_come_first(sqlite_url: str) -> None:
    """One for a class of chatstore's errors is used, whether it was there before or came after."""
    app = Flask("x")
    app.config["CHATSTORE_URL"] = sqlite_url

    @app.errorhandler(errors.ChatstoreError)
    def before(error: errors.ChatstoreError) -> tuple[str, int]:
        return type(error).__name__, 418

    chats = Chatstore(app)

    @app.errorhandler(errors.SessionNotFound)
    def after(_: errors.SessionNotFound) -> tuple[str, int]:
        return "after", 410

    @app.get("/<name>")
    def view(name: str) -> str:
        return str(
            chats.repository.get_session(name).title
            if name != "cursor"
            else chats.repository.list_sessions(cursor="x")
        )

    client = app.test_client()
    assert (410, "after") == ((one := client.get("/missing")).status_code, one.text)
    assert (418, "InvalidCursor") == ((one := client.get("/cursor")).status_code, one.text)


@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("base", "wait for an upgrade of the service"),
        ("chatstore_0001", "wait for an upgrade of the service"),
    ],
)
def test_a_database_at_an_old_schema(revision: str, sentence: str, caplog: pytest.LogCaptureFixture) -> None:
    """503; what the operator has to run is in the log, and nowhere else."""
    with servers.fresh_database("postgres") as url, shop_on(url) as shop:
        upgrade(url)
        if revision == "base":
            downgrade(url, "base")
        else:
            downgrade(url, revision)
        client = shop.client()
        with caplog.at_level(logging.ERROR):
            answer = client.post("/chats/garden", data={"text": "Hello!"})
        assert sentence in problem(answer, 503)
        assert "Retry-After" in answer.headers
        assert "chatstore upgrade" in caplog.text
        upgrade(url)
        assert "said" == client.post("/chats/garden", data={"text": "Hello!"}).text
        assert 0 == shop.out()


@pytest.mark.postgres
def test_a_database_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    """503 while it is away, without a word of its address; afterwards it goes on, and nothing is half there."""
    with servers.migrated_url("postgres") as url:
        at = make_url(url)
        with FaultProxy(at.host or "127.0.0.1", at.port or 5432) as proxy:
            behind = at.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
            with shop_on(behind) as shop:
                client = shop.client()
                assert "said" == client.post("/chats/garden", data={"text": "one"}).text
                proxy.arm(Mode.REFUSE)
                proxy.cut_all()
                with caplog.at_level(logging.ERROR):
                    answer = client.post("/chats/garden", data={"text": "two"})
                assert (
                    "The connection to the database broke: look whether it was stored before you repeat it."
                    == problem(answer, 503)
                )
                assert "127.0.0.1" not in answer.text
                assert "OutcomeUnknown" in caplog.text
                problem(client.get("/chats"), 503)
                assert 0 == shop.out()
                proxy.disarm()
                assert "said" == client.post("/chats/garden", data={"text": "three"}).text
        with chatstore.connect(url) as repository:
            assert ["one", "three"] == [message.content for message in repository.get_messages("garden")]


@pytest.mark.postgres
def test_a_database_that_is_read_only() -> None:
    """Reading goes on; what would write is answered with 503."""
    with servers.migrated_url("postgres") as url:
        with chatstore.connect(url) as repository:
            repository.scope(user_id="ada").add_messages("garden", [HumanMessage("before")])
        options = {
            "SQLALCHEMY_ENGINE_OPTIONS": {"connect_args": {"options": "-c default_transaction_read_only=on"}}
        }
        with shop_on(url), shop_on(url, **options) as shop:  # the first one makes the application's table
            client = shop.client()
            assert ["before"] == client.get("/chats/garden").json
            problem(client.post("/chats/garden", data={"text": "after"}), 503)
            problem(client.post("/ask/garden"), 503)
            assert ["before"] == client.get("/chats/garden").json
            assert 0 == shop.out()


def test_a_body_of_20_mb(sqlite_url: str) -> None:
    """It is refused by the limit that the application sets, before anything is stored."""
    with shop_on(sqlite_url, MAX_CONTENT_LENGTH=1_000_000) as shop:
        client = shop.client()
        assert 413 == client.post("/chats/garden", data={"text": "x" * 20_000_000}).status_code
        assert [] == client.get("/chats").json


# ------------------------------------------------------------------------------------------------ transactions


def test_rows_and_messages_commit_or_roll_back_together(shop: Shop) -> None:
    """`using(db.session)` is the transaction of the application's own rows."""
    client = shop.client()
    assert 409 == client.post("/both/garden?fail=1").status_code
    with shop.app.app_context():
        assert 0 == shop.db.session.query(shop.note).count()
    assert [] == client.get("/chats").json
    assert "both" == client.post("/both/garden").text
    with shop.app.app_context():
        assert 1 == shop.db.session.query(shop.note).count()
    assert ["both"] == client.get("/chats/garden").json
    assert 0 == shop.out()


def test_an_error_of_ours_leaves_the_transaction_usable_and_returns_the_connection(shop: Shop) -> None:
    """Bob's row is not kept with a message that was refused, and nothing is out after the error."""
    ada, bob = shop.client("ada"), shop.client("bob")
    ada.post("/both/garden")
    problem(bob.post("/both/garden"), 409)
    with shop.app.app_context():
        assert 1 == shop.db.session.query(shop.note).count()
    assert 0 == shop.out()


# --------------------------------------------------------------------------------------------------- streaming


def test_an_answer_streams_and_is_stored(shop: Shop) -> None:
    """Each piece is an event, the last one says where the answer stands; no connection is held meanwhile."""
    client = shop.client()
    answer = client.post("/ask/garden", buffered=False)
    assert ("text/event-stream", "no-store") == (answer.mimetype, answer.headers["Cache-Control"])
    stream = iter(answer.response)
    first = next(stream)
    assert 'data: {"text": "shop0 "}' in str(first)
    assert 0 == shop.out()  # the view's transaction ended with the view
    rest = "".join(map(str, stream))
    answer.close()
    assert '"state": "complete"' in rest
    assert ["?", "shop0 shop1 shop2 shop3 shop4 "] == client.get("/chats/garden").json
    assert ["closed"] == shop.closed
    assert not has_app_context()


@pytest.mark.parametrize("read", [0, 1, 3])
def test_a_client_that_leaves(shop: Shop, read: int) -> None:
    """What came is stored and marked incomplete, also if it left before the first piece; the model is told to stop."""
    with shop.app.app_context():
        repository = shop.chats.repository
        body = shop.chats.stream(repository.begin_answer("garden"), shop.pieces())
        for _ in range(read):
            next(iter(body.response))
        body.close()
        record = repository.get_records("garden")[-1]
    assert ("incomplete", "cancelled") == (record.state, record.finish_reason)
    assert "".join(f"shop{number} " for number in range(read)) == record.message.content
    assert (["closed"] if read else []) == shop.closed
    assert 0 == shop.out()


def test_a_response_that_nobody_closes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An after_request function that fails lets go of the response: its answer is ended all the same."""

    @shop.app.after_request
    def fail(answer: Response) -> Response:
        if answer.mimetype == "text/event-stream":
            raise ZeroDivisionError
        return answer

    monkeypatch.setattr(shop.app.logger, "disabled", True)  # pytest would keep the exception
    assert 500 == shop.client().post("/ask/garden").status_code
    gc.collect()  # the response hangs in the exception's frames
    with shop.app.app_context():
        assert "incomplete" == shop.chats.repository.get_records("garden")[-1].state


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [(ZeroDivisionError("secret"), 500, "error"), (errors.StorageUnavailable("x"), 503, "error")],
)
def test_a_model_that_fails(
    shop: Shop, error: Exception, status: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What came is stored, incomplete; the browser hears a problem, the log the reason."""

    def pieces() -> Iterator[str]:
        yield "so far "
        raise error

    shop.pieces = pieces  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        answer = shop.client().post("/ask/garden")
    *_, (kind, said) = events(answer)
    assert ("problem", status) == (kind, said["status"])
    assert "secret" not in answer.text
    assert type(error).__name__ in caplog.text
    with shop.app.app_context():
        record = shop.chats.repository.get_records("garden")[-1]
    assert ("so far ", "incomplete", reason) == (record.message.content, record.state, record.finish_reason)
    assert 0 == shop.out()


def test_a_chat_that_is_deleted_while_its_answer_streams(shop: Shop) -> None:
    """The stream ends with a 404, and the chat stays deleted: nothing of the answer brings it back."""

    def pieces() -> Iterator[str]:
        yield "so far "
        shop.chats.repository.delete_session("garden")
        yield "and on"

    shop.pieces = pieces  # type: ignore[method-assign]
    client = shop.client()
    *_, (kind, said) = events(client.post("/ask/garden"))
    assert ("problem", 404, "There is no such chat.") == (kind, said["status"], said["detail"])
    problem(client.get("/chats/garden"), 404)
    with shop.app.app_context():
        assert [] == shop.chats.repository.list_sessions().items
    assert 0 == shop.out()


def test_the_pieces_run_in_a_context_of_their_own(shop: Shop) -> None:
    """They have the application and its session, and what they leave open ends with the stream."""
    seen: list[Any] = []

    def pieces() -> Iterator[str]:
        g.mark = "stream"
        for number in range(3):
            shop.db.session.add(shop.note())
            seen.append(g.mark)
            yield str(number)
        shop.db.session.commit()
        shop.db.session.scalar(select(1))  # opens another transaction

    shop.pieces = pieces  # type: ignore[method-assign]
    client = shop.client()
    with client:  # keeps the request's own context until the next request
        assert "done" in client.post("/ask/garden").text
        assert "mark" not in g
    with shop.app.app_context():
        assert 3 == shop.db.session.query(shop.note).count()
    assert ["stream"] * 3 == seen
    assert 0 == shop.out()


def test_an_answer_may_say_how_it_ended(shop: Shop) -> None:
    """The pieces call `finish` as their last act, with what the model said of itself."""

    @shop.app.post("/usage/<chat>")
    def usage(chat: str) -> Response:
        answer = shop.chats.mine.begin_answer(chat, [HumanMessage("?")])

        def pieces() -> Iterator[str | None]:
            yield from ("", "Hi!", None)
            answer.finish(usage={"input_tokens": 3, "output_tokens": 1}, finish_reason="stop")

        return shop.chats.stream(answer, pieces())

    hi, (kind, said) = events(shop.client().post("/usage/garden"))
    assert ("message", {"text": "Hi!"}) == hi
    assert ("done", "complete", "stop") == (kind, said["state"], said["finish_reason"])
    with shop.app.app_context():
        message = shop.chats.repository.get_messages("garden")[-1]
    assert isinstance(message, AIMessage)
    assert message.usage_metadata is not None
    assert 4 == message.usage_metadata["total_tokens"]


def test_a_second_screen_goes_on_where_it_was(shop: Shop) -> None:
    """It gets what comes behind its last event, to the end, wherever the answer is made; nobody else does."""

    @shop.app.get("/follow/<chat>/<int:position>")
    def follow(chat: str, position: int) -> Response:
        return shop.chats.follow(chat, position)

    with shop.app.app_context():
        repository = shop.chats.repository.scope(user_id="ada")
    answer = repository.begin_answer("garden", [HumanMessage("?")])
    answer.append("one two ")
    client = shop.client()
    seen = f"{answer.message_id}:4"
    following = client.get("/follow/garden/2", headers={"Last-Event-ID": seen}, buffered=False)
    stream = iter(following.response)
    assert '{"text": "two "}' in str(next(stream))
    assert 0 == shop.out()
    answer.append("three")
    answer.finish()
    rest = "".join(map(str, stream))
    following.close()
    assert '{"text": "three"}' in rest
    assert '"state": "complete"' in rest
    for forged in ("x", "x:4", *(f"{answer.message_id}:{end}" for end in ("", "-1", "1.0", "²", "9" * 5000))):
        told = client.get("/follow/garden/2", headers={"Last-Event-ID": forged.encode().decode("latin-1")})
        assert "Last-Event-ID is not of this answer" in problem(told, 400)
    far = {"Last-Event-ID": f"{answer.message_id}:{'9' * 12}"}
    assert ["done"] == [kind for kind, _ in events(client.get("/follow/garden/2", headers=far))]
    problem(client.get("/follow/garden/9"), 404)
    problem(shop.client("bob").get("/follow/garden/2"), 404)
    assert 0 == shop.out()


# ---------------------------------------------------------------------------------------------------- commands


def test_the_commands_are_those_of_chatstore_on_the_applications_database(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`flask chatstore …` needs no URL, leaves the environment as it was, and says an error in one line."""
    monkeypatch.setenv("CHATSTORE_URL", "sqlite:////nowhere/at/all.db")
    shop.client().post("/chats/garden", data={"text": "Hello!"})
    run = shop.app.test_cli_runner().invoke
    assert "garden" in run(args=["chatstore", "sessions"]).output
    assert "Hello!" in run(args=["chatstore", "show", "garden"]).output
    failed = run(args=["chatstore", "show", "nothing"])
    assert (1, 1) == (failed.exit_code, len(failed.output.splitlines()))
    assert "No such command 'demo'" in run(args=["chatstore", "demo"]).output
    listed = run(args=["chatstore", "--help"]).output
    assert "doctor" in listed
    assert "demo" not in listed
    monkeypatch.undo()


def test_upgrade_in_a_program(sqlite_url: str, tmp_path: Path) -> None:
    """`chats.upgrade()` makes the tables on the application's own engine, in memory too."""
    with shop_on("sqlite://") as shop, shop.app.app_context():
        assert (None, HEAD) == shop.chats.upgrade()
        assert (HEAD, HEAD) == shop.chats.upgrade()
        shop.chats.repository.add_messages("s", [HumanMessage("Hello!")])
        assert 1 == shop.chats.repository.count_messages("s")
    app = Flask("x")
    app.config["CHATSTORE_URL"] = f"sqlite:///{tmp_path}/own.db"
    chats = Chatstore(app)
    with app.app_context():
        assert (None, HEAD) == chats.upgrade()
