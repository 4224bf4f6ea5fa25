"""An owner that is given and empty is refused at every door, before anything is read or written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from chatstore import HumanMessage
from chatstore.backends.memory.awaited import AsyncMemoryRepository
from chatstore.backends.memory.repository import MemoryRepository
from chatstore.errors import Conflict, Invalid
from chatstore.histories import CosmosDBChatMessageHistory
from chatstore.incoming.loading import Loader
from chatstore.incoming.session import Incoming

if TYPE_CHECKING:
    from collections.abc import Callable

OWNERS = ("user_id", "tenant_id")
EMPTY = ["", " ", "\t"]
WHERE = ("https://h", "chat", "chat", "trip")


def import_file(store: Any, **owner: Any) -> None:
    """Import a file's conversation as Ada's session."""
    Loader(store, **owner).append(Incoming(None, "file", ""), "trip", join=True)


DOORS: dict[str, Callable[..., Any]] = {
    "scope": lambda store, **owner: store.scope(**owner),
    "scope in a scope": lambda store, **owner: store.scope(user_id="ada", tenant_id="acme").scope(**owner),
    "create_session": lambda store, **owner: store.create_session("new", **owner),
    "update_session": lambda store, **owner: store.update_session("trip", **owner),
    "list_sessions": lambda store, **owner: store.list_sessions(**owner),
    "search": lambda store, **owner: store.search("secret", **owner),
    "usage": lambda store, **owner: store.usage(**owner),
}
IMPORTS: dict[str, Callable[..., Any]] = {
    "file": import_file,
    "source": lambda store, **owner: Loader(store, "redis", **owner),
}


@pytest.fixture
def store() -> MemoryRepository:
    """Give a store with a session of Ada's, and one of nobody's."""
    made = MemoryRepository()
    made.scope(user_id="ada", tenant_id="acme").add_messages("trip", [HumanMessage("a secret")])
    made.add_messages("nobodys", [HumanMessage("another secret")])
    return made


def everything(store: MemoryRepository) -> list[Any]:
    """Return all that *store* holds."""
    sessions = sorted(store.list_sessions(archived=None).items, key=lambda one: one.session_id)
    return [(session, store.get_records(session.session_id)) for session in sessions]


@pytest.mark.parametrize("value", EMPTY, ids=repr)
@pytest.mark.parametrize("name", OWNERS)
@pytest.mark.parametrize("door", [*DOORS, *IMPORTS])
def test_an_empty_owner_is_refused(store: MemoryRepository, door: str, name: str, value: str) -> None:
    """Neither everybody's sessions nor nobody's are seen or changed, and the owner's name is in the error."""
    before = everything(store)

    with pytest.raises(Invalid, match=name):
        (DOORS | IMPORTS)[door](store, **{name: value})
    assert before == everything(store)


@pytest.mark.parametrize("name", OWNERS)
@pytest.mark.parametrize("door", DOORS)
def test_an_empty_owner_is_refused_where_it_is_awaited(door: str, name: str) -> None:
    """The awaited twins ask the same question."""

    async def call() -> None:
        answer = DOORS[door](AsyncMemoryRepository(), **{name: ""})
        if hasattr(answer, "__await__"):
            await answer

    with pytest.raises(Invalid, match=f"{name} is empty"):
        asyncio.run(call())


@pytest.mark.parametrize("value", [*EMPTY, None], ids=repr)
def test_a_history_of_an_empty_owner_is_refused(value: Any) -> None:
    """A history is told its user, or not; a user that is no user reads nobody's session."""
    with pytest.raises(Invalid, match="user_id"):
        CosmosDBChatMessageHistory(*WHERE, value, "a2V5")
    with pytest.raises(Invalid, match="user_id"):
        CosmosDBChatMessageHistory(*WHERE, user_id=value, credential="a2V5")


def test_an_import_for_somebody_does_not_reach_another_owner(store: MemoryRepository) -> None:
    """A file that is imported as Bob's is never appended to Ada's session, nor to nobody's."""
    for session in ("trip", "nobodys"):
        with pytest.raises(Conflict, match="another owner"):
            Loader(store, user_id="bob").append(Incoming(None, "file", ""), session, join=True)
    Loader(store, user_id="ada").append(Incoming(None, "file", ""), "trip", join=True)
