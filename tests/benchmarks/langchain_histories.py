"""What a history costs under LangChain, against the classes that it replaces, each as it comes.

Needs an environment with langchain-community and langchain-postgres. Every side has a database of its own, made by its
own means, and is asked for the same through LangChain's interface.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from langchain_community.chat_message_histories import SQLChatMessageHistory as CommunityHistory
from langchain_postgres import PostgresChatMessageHistory as PostgresHistory

from chatstore.backends.sql.engine_factory import new_engine
from chatstore.backends.sql.search_objects import drop_search_index
from chatstore.integrations.langchain import ChatMessageHistory, SQLChatMessageHistory, to_langchain
from tests import servers
from tests.benchmarks import stores, turns
from tests.benchmarks.harness import compared, each, figure, race

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import BaseMessage

    from tests.benchmarks.harness import Figure, Size

WARM = 20
COMMUNITY, POSTGRES = "langchain-community's SQLChatMessageHistory", "langchain-postgres"
#: How many histories are opened on one URL.
MANY = 100


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind in ("sqlite", "postgres"):
        with stores.migrated(kind) as url, SQLChatMessageHistory("s", connection=url, pinned=False) as ours:
            with servers.fresh_database(kind) as other, _community(other) as theirs:
                yield from _against(size, kind, ours, theirs, COMMUNITY)
            if kind == "postgres":
                with servers.fresh_database(kind) as other, _postgres(other) as theirs:
                    yield from _against(size, kind, ours, theirs, POSTGRES)
                    _drop_index(url)
                    yield _append(
                        size, "PostgreSQL without the search index", ours, theirs, POSTGRES
                    )._replace(limit=None)
        yield _one_pool(kind)
        yield _flat(size, kind)


@contextlib.contextmanager
def _community(url: str) -> Iterator[Any]:
    history = CommunityHistory("s", connection=url)
    yield history
    history.engine.dispose()


@contextlib.contextmanager
def _postgres(url: str) -> Iterator[Any]:
    with psycopg.connect(url.replace("+psycopg", "")) as link:
        PostgresHistory.create_tables(link, "history")
        yield PostgresHistory("history", str(uuid4()), sync_connection=link)


def _turns() -> Iterator[list[BaseMessage]]:
    made = [
        [to_langchain(message) for message in turn.messages] for turn in itertools.islice(turns.turns(), 512)
    ]
    return itertools.cycle(made)


def _drop_index(url: str) -> None:
    engine = new_engine(url)
    with engine.begin() as link:
        drop_search_index(link)
    engine.dispose()


def _append(size: Size, where: str, ours: Any, theirs: Any, against: str) -> Figure:
    mine, other = _turns(), _turns()
    for side in (ours, theirs):
        side.clear()
    outcome = race(
        each(lambda: ours.add_messages(next(mine))),
        each(lambda: theirs.add_messages(next(other))),
        bursts=size.bursts,
        calls=size.calls,
        warm=WARM,
    )
    _same(ours.messages, theirs.messages)
    return compared(f"append a turn, {where}", against, outcome, 1.0)


def _against(size: Size, kind: str, ours: Any, theirs: Any, against: str) -> Iterator[Figure]:
    yield _append(size, stores.NAMES[kind], ours, theirs, against)
    many = [to_langchain(message) for message in turns.many(size.bulk).messages]
    for side in (ours, theirs):
        side.clear()
        side.add_messages(many)
    _same(ours.messages, theirs.messages)
    outcome = race(
        each(lambda: ours.messages), each(lambda: theirs.messages), bursts=size.rounds, calls=1, warm=1
    )
    yield compared(f"read {size.bulk:,} messages, {stores.NAMES[kind]}", against, outcome, 0.5)


def _same(ours: list[Any], theirs: list[Any]) -> None:
    """Both sides gave the same messages, or the figure is none."""
    if [one.model_dump() for one in ours] != [one.model_dump() for one in theirs]:
        msg = f"the two sides stored different messages: {len(ours)} and {len(theirs)}"
        raise AssertionError(msg)


def _one_pool(kind: str) -> Figure:
    with stores.migrated(kind) as url:
        made = [SQLChatMessageHistory(f"s-{number}", connection=url) for number in range(MANY)]
        for one in made:
            one.add_user_message("Hello!")
        pools = len({id(one.repository._lease.lend(one.repository._user).engine.pool) for one in made})  # type: ignore[union-attr]
        for one in made:
            one.close()
    return figure(
        f"pools of {MANY} histories on one URL, {stores.NAMES[kind]}", "one", [pools] * 2, "pools", 1.0
    )


def _flat(size: Size, kind: str) -> Figure:
    with stores.migrated(kind) as url, stores.connected(url) as store:
        stores.fill(store, "long", size.long)
        stores.fill(store, "short", 100)
        stores.settle(url)

        def read(session_id: str) -> Callable[[], object]:
            return lambda: ChatMessageHistory(store, session_id, last=20).messages

        sides = each(read("long")), each(read("short"))
        outcome = race(*sides, bursts=size.bursts, calls=size.calls, warm=WARM)
    work = f"last 20 of {size.long:,} messages through a history, {stores.NAMES[kind]}"
    return compared(work, "last 20 of 100", outcome, 1.25)
