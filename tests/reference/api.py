"""The page of the Python interface: every public name with its signature and its docstring.

Knows in which order a reader wants them; refuses to say anything about a name that its docstring does not.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from typing import TYPE_CHECKING, Any

import chatstore
from chatstore import (
    aio_answers,
    answers,
    backend,
    codec,
    history,
    messages,
    migrations,
    models,
    provisioning,
    repository,
)
from chatstore.arguments import UNSET
from tests.reference import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

INTRODUCTION = """\
# API

<!-- written by `python -m tests.reference` from the docstrings -->

Public names are imported from `chatstore`, or from the module named here. Everything after the first one or
two parameters is passed by name. Errors are on [a page of their own](errors.md), URLs
[too](urls.md).

What holds everywhere: positions start at 1, grow, and are never used twice. Results are new lists, the
oldest message first. Times are aware and in UTC; they inform and never order. A missing or expired session
reads as empty. In a scope, another owner's session behaves exactly like a missing one. A naive datetime is an
error.

All examples run in order, after these lines:"""
CLASSES = ("HumanMessage", "AIMessage", "SystemMessage", "ToolMessage", "FunctionMessage", "ChatMessage")
RECORDS = (
    "MessageRecord", "Records", "ChatSession", "Page", "State", "SearchHit", "UsageRow", "PurgeReport", "Capabilities",
    "Durability", "AnswerPart",
)  # fmt: skip
HISTORIES = (
    "BaseChatMessageHistory", "ChatMessageHistory", "FileChatMessageHistory", "SQLChatMessageHistory",
    "PostgresChatMessageHistory", "RedisChatMessageHistory", "DynamoDBChatMessageHistory",
    "CosmosDBChatMessageHistory",
)  # fmt: skip
ANSWERS = """\
What `begin_answer` gives. [How to](../how-to/answers.md)."""
ASYNCHRONOUS = """\
The methods of `Repository`, with `await`: `await repository.get_messages("trip")`. `iter_records` and
`follow_answer` are iterated with `async for`, `begin_answer` gives what is used with `async with`, and so is the
repository itself. `scope`, `using`, `history`, and the properties `tenant_id`, `user_id` and
`capabilities` are not awaited."""
CLIENT_REPOSITORIES = ("RedisRepository", "AsyncRedisRepository", "DynamoDBRepository")
CLIENTS = """\
`connect` makes these from a URL. Make one yourself to pass a client or a session of the application's, with the
options that a URL has in its query."""
MESSAGES = """\
Messages are pydantic models. The content may be passed without its name: `HumanMessage("Hello!")`. Besides
the fields below, unknown ones are kept, stored and given back. Each class is named here with what it adds
to `BaseMessage`."""
FLASK = """\
`Chatstore(app)`, or `Chatstore()` and `init_app(app)`: chats in a Flask application.
[The page on it](../how-to/flask.md) has a whole application and all of the configuration. Needs the extra `flask`."""
FASTAPI = """\
`Chatstore(url, owner=…)`: chats in a FastAPI application, and the routes for them. `chats.repository` has all of them;
`chats.mine` is the dependency that gives those of whoever is asking.
[The page on it](../how-to/fastapi.md) has a whole application. Needs the extra `fastapi`."""
DJANGO = """\
`"chatstore.contrib.django"` in `INSTALLED_APPS`: chats in a Django project. `repository` and `async_repository` are
what `connect()` and `connect_async()` give. `chatstore.contrib.django.models` has `Session` and `Message`, which read.
[The page on it](../how-to/django.md) has a whole application. Needs the extra `django`."""
MIGRATIONS = (
    "Bring a database to the schema, and tell whether it is there. [How to](../how-to/alembic-upgrade.md)."
)
MODELS = """\
`SessionRow` and `MessageRow` are the tables as SQLAlchemy models, for reading with an ORM; `sessions` and
`messages` are the same tables for SQLAlchemy Core. [Schema](schema.md),
[examples](../how-to/query-with-sql.md)."""
BACKEND = """\
`Backend` is what a package says of its backend. [How to](../how-to/new-backend.md)."""
TESTING = """\
`RepositoryContract`: the tests that a backend passes. [How to](../how-to/new-backend.md)."""


def page() -> str:
    """Return the page."""
    return "\n\n".join(part.strip("\n") for part in _parts()) + "\n"


def _parts() -> Iterator[str]:
    yield INTRODUCTION
    yield examples.blocks(examples.SET_UP)
    yield "## Connecting"
    yield from _functions(chatstore, ("connect", "connect_async", "session_key"), shown=True)
    yield "## Histories"
    for name in HISTORIES:
        yield from _class(getattr(chatstore, name))
    yield "## `Repository`"
    yield _text(repository.Repository)
    yield from _members(repository.Repository)
    yield "## `StreamingAnswer`"
    yield ANSWERS
    yield _text(answers.StreamingAnswer)
    yield from _listed(answers.Streaming)
    yield from _listed(answers.StreamingAnswer)
    yield "## `AsyncStreamingAnswer`"
    yield _text(aio_answers.AsyncStreamingAnswer)
    yield "## `AsyncRepository`"
    yield ASYNCHRONOUS
    yield "## Repositories over a client"
    yield CLIENTS
    for name in CLIENT_REPOSITORIES:
        yield from _class(getattr(chatstore, name))
    yield "## Messages"
    yield MESSAGES
    for name in ("BaseMessage", *CLASSES, "OpaqueMessage"):
        yield from _message(getattr(chatstore, name))
    yield "### Wire form"
    yield from _functions(codec, ("to_wire", "from_wire"), "####", shown=True)
    yield "## What comes back"
    yield "`MessageRecord` and `ChatSession` can be had from `chatstore`, all of these from `chatstore.messages`."
    for name in RECORDS:
        yield from _record(getattr(messages, name))
    yield "## `chatstore.migrations`"
    yield MIGRATIONS
    yield from _functions(migrations, ("upgrade", "downgrade", "current", "check", "upgrade_sql"), shown=True)
    names = (
        "add_to", "add_to_config", "owns", "ignore", "config", "alembic_ini", "script_location", "version_location",
    )  # fmt: skip
    yield from _functions(migrations, names)  # the page on Alembic shows an env.py
    yield from _applications()
    yield "## `chatstore.models`"
    yield MODELS
    yield f"`HEAD` is the revision that this release works on: `{models.HEAD}`."
    yield "## `chatstore.backend`"
    yield BACKEND
    yield _text(backend.Backend)
    yield "## `chatstore.provisioning`"
    yield _text(provisioning.Provisioner)
    yield from _listed(provisioning.Provisioner)
    yield "## `chatstore.testing`"
    yield TESTING


def _applications() -> Iterator[str]:
    # Not every environment that looks at another page has these frameworks.
    from chatstore.contrib import django, fastapi, flask

    yield "## `chatstore.contrib.flask`"
    yield FLASK
    yield from _listed(flask.Chatstore)
    yield "## `chatstore.contrib.fastapi`"
    yield FASTAPI
    yield _text(fastapi.Chatstore.__init__)
    yield from _listed(fastapi.Chatstore)
    yield "## `chatstore.contrib.django`"
    yield DJANGO
    yield from _functions(django, ("connect", "connect_async", "stream", "follow", "afollow"))
    yield "### `for_user`"
    yield _code(signature("for_user", django.DjangoRepository.for_user, bound=True))
    yield _text(django.DjangoRepository.for_user)
    yield "### `ProblemMiddleware`"
    yield _text(django.ProblemMiddleware)


# ------------------------------------------------------------------------------------------------ what is described


def _functions(
    module: ModuleType, names: tuple[str, ...], level: str = "###", *, shown: bool = False
) -> Iterator[str]:
    for name in names:
        function = getattr(module, name)
        yield f"{level} `{name}`"
        yield _code(signature(name, function))
        yield _text(function)
        if shown:
            yield examples.example(name)


def _class(kind: type) -> Iterator[str]:
    """Describe a history: how it is made, and what it has that its base has not described."""
    made = vars(kind).get("__init__")
    yield f"### `{kind.__name__}`"
    if made:
        yield _code(signature(kind.__name__, made, bound=True, returns=False))
    yield _text(kind)
    if made:
        yield _text(made)
    if kind is history.BaseChatMessageHistory or kind is history.ChatMessageHistory:
        yield from _listed(kind)
    if kind is history.ChatMessageHistory:
        yield examples.example("ChatMessageHistory")


def _listed(kind: type) -> Iterator[str]:
    lines = []
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        shown = name if isinstance(member, property) else signature(name, member, bound=True)
        function = member.fget if isinstance(member, property) else member
        lines.append(f"- {_code(shown)}: {' '.join(_text(function).split())}")
    yield "\n".join(lines)


def _members(kind: type) -> Iterator[str]:
    """Describe the methods of a repository, in the order in which they stand in the code."""
    for base in (repository.Facade, kind):
        for name, member in vars(base).items():
            if name.startswith("_"):
                continue
            yield f"### `{name}`"
            if not isinstance(member, property):
                yield _code(signature(name, member, bound=True))
            yield _text(member.fget if isinstance(member, property) else member)
            yield examples.example(name)


def _message(kind: Any) -> Iterator[str]:
    yield f"### `{kind.__name__}`"
    yield _text(kind)
    base = kind.__bases__[0]
    above = base.model_fields if base is messages.BaseMessage else {}
    rows = [
        f"| `{name}` | {_cell(_annotation(field.annotation))} | {_default(field)} |"
        for name, field in kind.model_fields.items()
        if name not in above
        or field.annotation != above[name].annotation
        or field.default != above[name].default
    ]
    yield "\n".join(["| field | type | default |", "| --- | --- | --- |", *rows])


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    return _code(repr(field.get_default(call_default_factory=True)))


def _record(kind: Any) -> Iterator[str]:
    yield f"### `{kind.__name__}`"
    yield _text(kind)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    else:
        names = list(getattr(kind, "_fields", ()))
    hints = inspect.get_annotations(kind)
    if names:
        rows = [f"| `{name}` | {_cell(_annotation(hints[name]))} |" for name in names]
        yield "\n".join(["| field | type |", "| --- | --- |", *rows])


# ------------------------------------------------------------------------------------------------ how it is written


def signature(name: str, function: Callable[..., Any], *, bound: bool = False, returns: bool = True) -> str:
    """Return the signature of *function* as it stands in the code, without ``self`` where it is *bound*."""
    found = inspect.signature(function)
    shown, keyword_only = [], False
    for number, one in enumerate(found.parameters.values()):
        if bound and number == 0:
            continue
        if one.kind is one.KEYWORD_ONLY and not keyword_only:
            shown.append("*")
            keyword_only = True
        default = (
            "" if one.default is one.empty else f" = {'…' if one.default is UNSET else repr(one.default)}"
        )
        star = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
        shown.append(f"{star}{one.name}: {_annotation(one.annotation)}{default}")
    result = f" -> {_annotation(found.return_annotation)}" if returns else ""
    return f"{name}({', '.join(shown)}){result}"


def _annotation(annotation: Any) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    text = str(getattr(annotation, "__forward_arg__", annotation))
    return re.sub(r"\b(?:typing|datetime|collections\.abc)\.(?=\w)", "", text)


def _code(text: str) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    """Return code for a table, where a bar would end the cell."""
    return _code(text.replace("|", "\\|"))


def _text(thing: Any) -> str:
    """Return the docstring as Markdown, where double backticks are single ones."""
    return (inspect.getdoc(thing) or "").replace("``", "`")
