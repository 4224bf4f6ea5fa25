"""chatstore in a Flask application: its database, its migrations, its users, its commands, its errors.

Knows Flask, and of Flask-SQLAlchemy and Flask-Migrate what they leave in ``app.extensions``; neither of them is
needed. Refuses to know how messages are stored.

::

    chats = Chatstore(app)  # or Chatstore() and init_app(app)


    @chats.owner
    def who():
        return session.get("user")


    @app.get("/chats")
    def index():
        return [one.title for one in chats.mine.list_sessions().items]

`app.config`:

- ``CHATSTORE_URL``: where chats are kept. Without it, in the database of Flask-SQLAlchemy, on its engine.
- ``CHATSTORE_BIND_KEY``: in which of Flask-SQLAlchemy's databases, where there are several.
- ``CHATSTORE_SCHEMA``: the database schema of the tables.

The environment is not read, so that tests stay in the database that their configuration names.
"""

from __future__ import annotations

import os
import weakref
from contextlib import closing, contextmanager, nullcontext
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from chatstore.connect import ENVIRONMENT, SCHEMA_ENVIRONMENT, connect
from chatstore.contrib import events
from chatstore.contrib.problems import not_logged_in, problem, unexpected
from chatstore.errors import ChatstoreError
from chatstore.extras import not_installed

try:
    import click
    from flask import Flask, Response, appcontext_pushed, current_app, request
    from flask.cli import ScriptInfo
    from werkzeug.exceptions import Unauthorized
except ImportError as error:
    raise not_installed("Flask", "flask") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

    from chatstore.answers import StreamingAnswer
    from chatstore.contrib.problems import Problem
    from chatstore.messages import MessageRecord
    from chatstore.provisioning import Moved
    from chatstore.repository import Repository

    OwnerT = TypeVar("OwnerT", bound=Callable[[], Any])

_NAME: Final = "chatstore"
URL, BIND_KEY, SCHEMA = "CHATSTORE_URL", "CHATSTORE_BIND_KEY", "CHATSTORE_SCHEMA"
_HELP: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
#: A command that fills a database with samples; an application's own is no place for them.
_LEFT_OUT: Final = frozenset({"demo"})


class Chatstore:
    """The chats of a Flask application; one object may serve several applications."""

    def __init__(self, app: Flask | None = None) -> None:
        """Take part in *app*, if it is given; otherwise `init_app` does."""
        self._who: Callable[[], Any] | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Take part in *app*, before or after Flask-SQLAlchemy and Flask-Migrate; nothing is connected to.

        Errors of chatstore's that no handler of the application's own catches are answered as problem details
        (RFC 9457); ``flask chatstore`` has the commands; where Flask-Migrate is, ``flask db`` brings the tables.
        Raises `RuntimeError` if the application has a `Chatstore` already.
        """
        if _NAME in app.extensions:
            raise RuntimeError("this application has a Chatstore already: import that one")
        app.extensions[_NAME] = _Place(app)
        for key in (URL, BIND_KEY, SCHEMA):
            app.config.setdefault(key, None)
        if ChatstoreError not in app.error_handler_spec[None][None]:
            app.register_error_handler(ChatstoreError, _answer)
        app.cli.add_command(
            _Commands(_NAME, help="Look after the chats of this application, in its database.")
        )
        appcontext_pushed.connect(_join_migrations, app)

    def owner(self, who: OwnerT) -> OwnerT:
        """Say who is asking, as a decorator: *who* returns a user's id, or None if nobody is logged in.

        Ids that are no text are made text. A dict is passed on to `Repository.scope`, as with
        ``{"tenant_id": "acme", "user_id": "ada"}``.
        """
        self._who = who
        return who

    def stream(self, answer: StreamingAnswer, pieces: Iterable[str | None]) -> Response:
        """Answer the request with *pieces* of text as they come, as server-sent events; store them in *answer*.

        *answer* is what `Repository.begin_answer` returned. If the browser leaves, what came until then is stored,
        and the answer marked incomplete; the same where *pieces* raises, which is logged. *pieces* runs in an
        application context of its own, after that of the view has ended: no connection of the view's is held
        meanwhile, and what the view did not commit is gone. To say more of the answer (its usage, the model), *pieces*
        calls ``answer.finish`` as its last act.
        """
        return _streamed(_steps(answer, pieces))

    def follow(self, session_id: str, key: int | str) -> Response:
        """Answer the request with an answer as it grows, whatever process makes it: for another tab, another device.

        The answer is in a session of `mine`; *key* is its position or message id. A browser that lost the connection
        says what it has (``Last-Event-ID``) and gets what comes behind that. The events are those of `stream`; an
        answer that has ended comes in one piece. Raises `SessionNotFound`, `MessageNotFound`, and `Invalid` for what a
        browser made up.
        """
        mine = self.mine
        record = mine.get_message(session_id, key)
        offset = events.offset_of(request.headers.get("Last-Event-ID"), record.message_id)
        return _streamed(_followed(mine, record, offset))

    @property
    def repository(self) -> Repository:
        """All chats of the application, whose ever they are; for commands, jobs, and what sees to owners itself.

        Raises `RuntimeError` if nothing says where chats are kept.
        """
        return _place().repository

    @property
    def mine(self) -> Repository:
        """The chats of whoever is asking: no others exist in it, and what it creates is theirs.

        Answers the request with 401 if nobody is logged in. ``mine.using(db.session)`` writes in the transaction of
        the application's own rows. Raises `RuntimeError` if nothing says who is asking.
        """
        if self._who is None:
            raise RuntimeError("nobody says who is asking: decorate a function with @chats.owner")
        found = self._who()
        if found is None or found == "":
            raise Unauthorized(response=_response(not_logged_in()))
        return self.repository.scope(**found if isinstance(found, dict) else {"user_id": str(found)})

    def upgrade(self) -> Moved:
        """Make or upgrade the tables in the application's database, as ``flask chatstore upgrade`` does; for tests.

        Returns the revisions before and after. Raises what `chatstore.migrations.upgrade` does.
        """
        from chatstore import migrations

        place = _place()
        target, schema = place.target, place.schema
        if isinstance(target, str):
            return migrations.upgrade(target, schema=schema)
        with target.connect() as connection:
            return migrations.upgrade(connection, schema=schema)


class _Place:
    """Where one application keeps its chats; found out at the first use, when all extensions are there."""

    def __init__(self, app: Flask) -> None:
        """Remember *app* without keeping it alive."""
        self._app = weakref.proxy(app)
        self._lock = Lock()
        self._repository: Repository | None = None

    @property
    def schema(self) -> str | None:
        """The database schema of the tables."""
        name: str | None = self._app.config[SCHEMA]
        return name or None

    @property
    def bind_key(self) -> str | None:
        """Which of Flask-SQLAlchemy's databases it is; None is the main one."""
        key: str | None = self._app.config[BIND_KEY]
        return key or None

    @property
    def is_shared(self) -> bool:
        """Tell whether it is one of Flask-SQLAlchemy's databases."""
        return not self._app.config[URL] and "sqlalchemy" in self._app.extensions

    @property
    def target(self) -> str | Engine:
        """A URL, or an engine of Flask-SQLAlchemy's. Raises `RuntimeError`."""
        if url := self._app.config[URL]:
            return str(url)
        if not self.is_shared:
            raise RuntimeError(
                f'nothing says where chats are kept: set app.config["{URL}"], or use Flask-SQLAlchemy'
            )
        engines: Mapping[str | None, Engine] = self._app.extensions["sqlalchemy"].engines
        if self.bind_key not in engines:
            known = ", ".join(repr(key) for key in engines if key) or "none"
            raise RuntimeError(
                f"{BIND_KEY} {self.bind_key!r} is no key of SQLALCHEMY_BINDS ({known}): correct one of the two"
            )
        return engines[self.bind_key]

    @property
    def url(self) -> str:
        """The URL of the database, with its password."""
        target = self.target
        return target if isinstance(target, str) else target.url.render_as_string(hide_password=False)

    @property
    def repository(self) -> Repository:
        """The one repository of the application."""
        with self._lock:
            if self._repository is None:
                try:
                    self._repository = connect(self.target, schema=self.schema)
                except ChatstoreError as error:  # no fault of the request that came first
                    raise RuntimeError(f"{URL}: {error}") from error
                weakref.finalize(self, self._repository.close)
            return self._repository


def _place() -> _Place:
    """Return the place of the application that is running. Raises `RuntimeError` if it has none."""
    if _NAME not in current_app.extensions:
        raise RuntimeError("this application has no Chatstore: call init_app(app) where it is made")
    found: _Place = current_app.extensions[_NAME]
    return found


# --------------------------------------------------------------------------------------------------- streaming


class _Body:
    """The body of a streaming response: it ends its answer however it ends itself, also before it has begun.

    Each step runs in one copy of the context variables, in which an application context stays open from step to step:
    whoever asks for the next piece, and in whatever context, neither meets it nor ends it.
    """

    def __init__(self, app: Flask, steps: Generator[str]) -> None:
        """Open the application context, and begin *steps* up to where its answer is sure to be ended."""
        self._variables = copy_context()
        self._steps = _within(app, steps)
        self._variables.run(next, self._steps)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        return self._variables.run(next, self._steps)

    def close(self) -> None:
        """End the answer, incomplete if there was more to come: a server is done, or its client gone."""
        self._variables.run(self._steps.close)

    __del__ = close


def _within(app: Flask, steps: Generator[str]) -> Generator[str]:
    """Yield from *steps* in a context of the application's; what goes wrong is an event, and in the log."""
    with app.app_context():
        try:
            yield from steps
        except ChatstoreError as error:
            yield events.problem_event(_reported(error))
        except Exception:
            app.logger.exception("an answer broke off; what came of it is stored")
            yield events.problem_event(unexpected())


def _steps(answer: StreamingAnswer, pieces: Iterable[str | None]) -> Generator[str]:
    """Yield nothing once, then the events of *answer* while *pieces* come."""
    with answer, _closed(pieces):
        yield ""
        offset = 0
        for text in pieces:
            answer.append(text)
            if text:  # as models have it, a piece may be None or empty
                offset += len(text)
                yield events.text_event(text, answer.message_id, offset)
    yield events.done_event(answer.finish())


def _followed(mine: Repository, record: MessageRecord, offset: int) -> Generator[str]:
    """Yield nothing once, then the events of the answer *record* from *offset* on, as it is stored."""
    yield ""
    session_id, message_id = record.session_id, record.message_id
    for part in mine.follow_answer(session_id, message_id, offset=offset):
        if part.text:
            yield events.text_event(part.text, message_id, part.offset)
    yield events.done_event(mine.get_message(session_id, message_id))


def _streamed(steps: Generator[str]) -> Response:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return Response(_Body(app, steps), mimetype=events.MEDIA_TYPE, headers=events.HEADERS)


def _closed(pieces: Any) -> AbstractContextManager[Any]:
    """Return a context that ends what makes the pieces: a model that nobody listens to any more."""
    return closing(pieces) if hasattr(pieces, "close") else nullcontext()


# ------------------------------------------------------------------------------------------------------ errors


def _answer(error: ChatstoreError) -> Response:
    """Answer a request that met *error*."""
    return _response(_reported(error))


def _reported(error: ChatstoreError) -> Problem:
    """Return what a client hears of *error*; what the operator must know goes into the log."""
    found = problem(error)
    if found.is_ours:
        current_app.logger.error("%s: %s", type(error).__name__, error)
    return found


def _response(found: Problem) -> Response:
    return Response(current_app.json.dumps(found.body), found.status, found.headers)


# -------------------------------------------------------------------------------------------------- migrations


def _join_migrations(app: Flask, **_: Any) -> None:
    """Ask Flask-Migrate for every `Config` that it makes; everything of its own runs in an application's context."""
    if "migrate" in app.extensions:
        appcontext_pushed.disconnect(_join_migrations, app)
        migrate = app.extensions["migrate"].migrate
        if _take_part not in migrate.configure_callbacks:  # one object may serve several applications, too
            migrate.configure(_take_part)


def _take_part(config: Any) -> Any:
    """Let the tables of the running application take part in what is done with *config*."""
    if _NAME in current_app.extensions:
        from chatstore.migrations import add_to_config

        place = _place()
        add_to_config(config, schema=place.schema, engine_name=place.bind_key, upgrades=place.is_shared)
    return config


# ---------------------------------------------------------------------------------------------------- commands


class _Commands(click.Group):
    """The `chatstore` command on the application's database; loaded when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands of `chatstore`, but for the demo."""
        return [name for name in _command_line().list_commands(ctx) if name not in _LEFT_OUT]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, if there is one."""
        return None if cmd_name in _LEFT_OUT else _command_line().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with the application's URL, and exit as `chatstore` does: an error is one line."""
        from chatstore.cli.app import run_guarded

        app = ctx.ensure_object(ScriptInfo).load_app()
        with app.app_context():
            place = _place()
            with _environment({ENVIRONMENT: place.url, SCHEMA_ENVIRONMENT: place.schema or ""}):
                run_guarded(partial(super().invoke, ctx))


def _command_line() -> click.Group:
    from chatstore.cli import main

    if not isinstance(main, click.Group):
        raise click.ClickException(str(not_installed("the command line", "cli")))
    return main


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while; they are how the command line is told its default."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
