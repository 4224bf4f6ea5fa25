"""Any sequence of operations agrees with the reference implementation: a Hypothesis state machine.

Each step does the same thing to the repository under test and to one in memory, as the same owner, and compares what
they answer, the class of what they raise, and afterwards all that can be seen. Times, generated ids and revisions
differ, so of revisions only their movement is compared.

``CHATSTORE_MACHINE_EXAMPLES`` and ``CHATSTORE_MACHINE_STEPS`` make the search longer, ``CHATSTORE_MACHINE_SEED``
repeats one. What fails is shown as it was found, because on a database it takes minutes to find its shortest form;
``CHATSTORE_MACHINE_SHRINK=1`` takes them.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from chatstore.errors import ChatstoreError
from chatstore.history import ChatMessageHistory
from chatstore.testing.driver import ContractPart, asyncified, collected, inner
from chatstore.testing.moves import (
    expectations,
    keys,
    messages,
    models,
    owners,
    people,
    places,
    seen,
    sessions,
    texts,
    turns,
)
from chatstore.testing.samples import FUTURE, PAST

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository

EXAMPLES, STEPS = 6, 15


class RepositoryMachine(RuleBasedStateMachine):
    """The same steps on two repositories."""

    store: AsyncRepository
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.model = asyncified(ChatMessageHistory().repository)  # how this layer comes to a store in memory
        self.both = (self.model, self.store)
        self.revisions: list[dict[str, int]] = [{}, {}]
        self.runner.run(self._emptied())

    async def _emptied(self) -> None:
        """Remove every session, by whatever the backend offers."""
        if "purge" not in inner(self.store).capabilities.denied:
            await self.store.purge(updated_before=FUTURE)
        for found in (await self.store.list_sessions(archived=None, limit=1000)).items:
            await self.store.delete_session(found.session_id)

    # ---- doing the same twice

    def same(
        self,
        name: str,
        owner: dict[str, str],
        call: Callable[[AsyncRepository, AsyncRepository], Awaitable[Any]],
    ) -> None:
        """Do *call*, of operation *name*, as *owner* in both repositories, and compare the outcome."""
        if name not in inner(self.store).capabilities.denied:
            expected, actual = (self.runner.run(self._outcome(each, owner, call)) for each in self.both)
            assert expected == actual, name

    @staticmethod
    async def _outcome(
        each: AsyncRepository,
        owner: dict[str, str],
        call: Callable[[AsyncRepository, AsyncRepository], Awaitable[Any]],
    ) -> Any:
        try:
            return seen(await call(each.scope(**owner) if owner else each, each))
        except ChatstoreError as error:
            return type(error).__name__

    @staticmethod
    async def _revision(whole: AsyncRepository, name: str, expectation: str | None) -> int | None:
        """Return the revision that stands for *expectation* in this repository."""
        current = (await whole.get_records(name, last=0)).revision
        return {"current": current, "stale": 1, "none": 0}.get(expectation or "")

    @invariant()
    def everything_is_the_same(self) -> None:
        """All that an unscoped reader sees is equal, and the same revisions have moved."""
        (model, moved), (store, stirred) = (
            self.runner.run(self._everything(each, place)) for place, each in enumerate(self.both)
        )
        assert model == store
        assert moved == stirred

    async def _everything(self, each: AsyncRepository, place: int) -> tuple[Any, dict[str, bool]]:
        listed = (await each.list_sessions(archived=None)).items
        records = [await each.get_records(found.session_id) for found in listed]
        before, now = self.revisions[place], {found.session_id: found.revision for found in listed}
        self.revisions[place] = now
        assert all(now[name] >= before[name] for name in now.keys() & before.keys())
        return (seen(listed), seen(records)), {name: now[name] > before.get(name, 0) for name in now}

    # ---- sessions

    @rule(
        owner=owners,
        name=sessions,
        user=st.sampled_from([None, "u", "v"]),
        expired=st.booleans(),
        title=texts,
    )
    def create(self, owner: dict[str, str], name: str, user: str | None, expired: bool, title: str) -> None:  # noqa: FBT001
        """Create a session, perhaps for another owner, perhaps one that has expired."""
        expires = PAST if expired else None
        self.same(
            "create_session",
            owner,
            lambda s, _: s.create_session(
                name, user_id=user, title=title, metadata={"k": title}, expires_at=expires
            ),
        )

    @rule(
        owner=owners,
        name=sessions,
        change=st.sampled_from(
            [{}, {"title": "t"}, {"title": None}, {"archived": True}, {"archived": False}, {"metadata": {"k": 1}},
             {"metadata": {"k": True}}, {"user_id": "u"}, {"user_id": None}, {"expires_at": PAST}, {"expires_at": FUTURE}]
        ),
        expectation=expectations,
    )  # fmt: skip
    def update(
        self, owner: dict[str, str], name: str, change: dict[str, Any], expectation: str | None
    ) -> None:
        """Change a session's own data."""

        async def call(each: AsyncRepository, whole: AsyncRepository) -> Any:
            revision = await self._revision(whole, name, expectation)
            return await each.update_session(name, **change, expected_revision=revision)

        self.same("update_session", owner, call)

    @rule(owner=owners, name=sessions)
    def look(self, owner: dict[str, str], name: str) -> None:
        """Read a session's own data and count its messages."""
        self.same("get_session", owner, lambda s, _: s.get_session(name))
        self.same("count_messages", owner, lambda s, _: s.count_messages(name))

    @rule(owner=owners, name=sessions)
    def delete(self, owner: dict[str, str], name: str) -> None:
        """Delete a session."""
        self.same("delete_session", owner, lambda s, _: s.delete_session(name))

    @rule(
        owner=owners,
        limit=st.integers(1, 3),
        archived=st.sampled_from([None, True, False]),
        value=st.sampled_from([None, 1, True]),
    )
    def page(self, owner: dict[str, str], limit: int, archived: bool | None, value: Any) -> None:  # noqa: FBT001
        """Follow all pages of a list."""
        wanted = None if value is None else {"k": value}

        async def call(each: AsyncRepository, _: AsyncRepository) -> Any:
            found, cursor = [], None
            while True:
                part = await each.list_sessions(
                    limit=limit, archived=archived, metadata=wanted, cursor=cursor
                )
                found.append([session.session_id for session in part.items])
                if (cursor := part.next_cursor) is None:
                    return found

        self.same("list_sessions", owner, call)

    @rule(owner=owners, name=sessions, other=sessions, through=places)
    def fork(self, owner: dict[str, str], name: str, other: str, through: int | None) -> None:
        """Fork a session."""
        self.same("fork_session", owner, lambda s, _: s.fork_session(name, other, through=through))

    @rule(owner=owners, name=sessions, other=sessions, after=places)
    def load(self, owner: dict[str, str], name: str, other: str, after: int | None) -> None:
        """Copy a session's records into another one, or into itself."""

        async def call(each: AsyncRepository, whole: AsyncRepository) -> Any:
            return await each.load_records(other, await whole.get_records(name, after=after))

        self.same("load_records", owner, call)

    # ---- messages

    @initialize(added=turns)
    def begin(self, added: list[Any]) -> None:
        """Begin with a conversation."""
        self.same("add_messages", {}, lambda s, _: s.add_messages("a", added))

    @rule(name=sessions, added=turns)
    def talk(self, name: str, added: list[Any]) -> None:
        """Append messages of an unscoped caller who expects nothing, so that most sessions have some."""
        self.same("add_messages", {}, lambda s, _: s.add_messages(name, added))

    @rule(name=sessions, key=keys)
    def forget(self, name: str, key: int | str) -> None:
        """Take the newest message, and delete another one."""
        self.same("pop_message", {}, lambda s, _: s.pop_message(name))
        self.same("delete_message", {}, lambda s, _: s.delete_message(name, key))

    @rule(owner=owners, name=sessions, added=messages, expectation=expectations)
    def add(self, owner: dict[str, str], name: str, added: list[Any], expectation: str | None) -> None:
        """Append messages, some of which may be known."""

        async def call(each: AsyncRepository, whole: AsyncRepository) -> Any:
            revision = await self._revision(whole, name, expectation)
            return await each.add_messages(name, added, expected_revision=revision)

        self.same("add_messages", owner, call)

    @rule(owner=owners, name=sessions, added=messages.filter(bool), expectation=expectations)
    def replace(self, owner: dict[str, str], name: str, added: list[Any], expectation: str | None) -> None:
        """Put messages in the place of all others."""

        async def call(each: AsyncRepository, whole: AsyncRepository) -> Any:
            revision = await self._revision(whole, name, expectation)
            return await each.replace_messages(name, added, expected_revision=revision)

        self.same("replace_messages", owner, call)

    @rule(owner=owners, name=sessions, after=places, before=places, last=places, limit=places)
    def read(
        self,
        owner: dict[str, str],
        name: str,
        after: int | None,
        before: int | None,
        last: int | None,
        limit: int | None,
    ) -> None:
        """Read a window."""
        window: dict[str, Any] = {"after": after, "before": before, "last": last, "limit": limit}
        self.same("get_records", owner, lambda s, _: s.get_records(name, **window))
        self.same("get_messages", owner, lambda s, _: s.get_messages(name, **window))
        self.same("iter_records", owner, lambda s, _: collected(s.iter_records(name, after=after)))

    @rule(owner=owners, name=sessions, key=keys)
    def read_one(self, owner: dict[str, str], name: str, key: int | str) -> None:
        """Read one message."""
        self.same("get_message", owner, lambda s, _: s.get_message(name, key))

    @rule(owner=owners, name=sessions, key=keys, new=people | models, expectation=expectations)
    def edit(
        self, owner: dict[str, str], name: str, key: int | str, new: Any, expectation: str | None
    ) -> None:
        """Change one message."""

        async def call(each: AsyncRepository, whole: AsyncRepository) -> Any:
            revision = await self._revision(whole, name, expectation)
            return await each.update_message(name, key, new, expected_revision=revision)

        self.same("update_message", owner, call)

    @rule(owner=owners, name=sessions, key=keys)
    def remove(self, owner: dict[str, str], name: str, key: int | str) -> None:
        """Delete one message."""
        self.same("delete_message", owner, lambda s, _: s.delete_message(name, key))

    @rule(owner=owners, name=sessions)
    def pop(self, owner: dict[str, str], name: str) -> None:
        """Take the newest message."""
        self.same("pop_message", owner, lambda s, _: s.pop_message(name))

    @rule(owner=owners, name=sessions, after=st.integers(0, 9))
    def truncate(self, owner: dict[str, str], name: str, after: int) -> None:
        """Cut the tail off, or everything."""
        self.same("truncate", owner, lambda s, _: s.truncate(name, after=after))

    # ---- across sessions

    @rule(
        owner=owners,
        query=st.sampled_from(["x", "Y", "x y", "zebra", "zeb", "zeb*", "-x", "x OR y", '"x y"', "x -y"]),
        name=st.none() | sessions,
    )
    def search(self, owner: dict[str, str], query: str, name: str | None) -> None:
        """Search everywhere or in one session."""
        self.same("search", owner, lambda s, _: s.search(query, session_id=name, limit=1000))

    @rule(owner=owners)
    def usage(self, owner: dict[str, str]) -> None:
        """Sum up."""
        self.same("usage", owner, lambda s, _: s.usage(by=("session_id", "user_id", "model")))

    @rule(
        owner=owners,
        condition=st.sampled_from(
            [{}, {"archived_only": True}, {"archived_only": True, "expired_only": True}]
        ),
        dry_run=st.booleans(),
    )
    def purge(self, owner: dict[str, str], condition: dict[str, Any], dry_run: bool) -> None:  # noqa: FBT001
        """Purge, or only count."""
        self.same("purge", owner, lambda s, _: s.purge(**condition, dry_run=dry_run))


def agrees_with_memory(store: AsyncRepository, runner: asyncio.Runner) -> None:
    """Assert that any sequence of operations on *store*, which is emptied for it, agrees with a store in memory."""
    number = int(os.environ.get("CHATSTORE_MACHINE_SEED") or secrets.randbits(32))
    print(f"CHATSTORE_MACHINE_SEED={number} repeats this search")  # noqa: T201 - shown with a failure
    machine = seed(number)(type("Machine", (RepositoryMachine,), {"store": store, "runner": runner}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("CHATSTORE_MACHINE_EXAMPLES") or EXAMPLES),
            stateful_step_count=int(os.environ.get("CHATSTORE_MACHINE_STEPS") or STEPS),
            phases=(Phase.generate, Phase.shrink)
            if os.environ.get("CHATSTORE_MACHINE_SHRINK")
            else (Phase.generate,),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class MachineContract(ContractPart):
    """What holds for any sequence of operations."""

    def test_any_sequence_agrees_with_memory(self, store: AsyncRepository) -> None:
        """Whatever is done in whatever order, results, errors and movements of revisions are those of the reference."""
        agrees_with_memory(store, self._runner)
