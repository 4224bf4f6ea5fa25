"""The contract of named states, and of finding a message by its id alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chatstore.codec import CHUNK
from chatstore.errors import Conflict, Invalid, MessageConflict, MessageNotFound, NotSupported
from chatstore.ids import state_place
from chatstore.testing.appending import everything
from chatstore.testing.driver import ContractPart, at_once, exactly, inner
from chatstore.testing.samples import PAST, numbered, say, says

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.messages import State

VALUES: dict[str, Any] = {
    "text": "a\nb 🙂 '\"", "none": None, "true": True, "number": 1.5, "whole": 2**60, "list": [1, [None, {}]],
    "dict": {"b": 1, "a": {"é": []}}, "empty": "", "KEY": 1, "key": 2, "a/b": 3, "%": 4, "x" * 255: 5,
}  # fmt: skip


def need_states(store: AsyncRepository) -> None:
    """Skip the test where states are denied."""
    if "set_states" in inner(store).capabilities.denied:
        pytest.skip("this backend denies set_states")


class StateContract(ContractPart):
    """``get_states``, ``set_states``, ``delete_states``, and ``add_messages(states=…)``."""

    async def test_states_come_back_equal(self, store: AsyncRepository) -> None:
        """Every JSON value comes back under its key, in its namespace alone, in the order of keys."""
        made = await store.set_states("app", VALUES)
        await store.set_states("App", {"key": "other"})
        read = await store.get_states("app")

        assert VALUES == {key: state.value for key, state in read.items()}
        exactly(sorted(VALUES), read)
        assert made == read
        assert all(state.key == key and state.revision > 0 for key, state in read.items())
        assert {"key": 2, "none": None} == {
            key: state.value
            for key, state in (await store.get_states("app", "key", "none", "no", "key")).items()
        }
        assert {} == await store.get_states("nothing")

    async def test_a_state_has_a_revision_of_its_own(self, store: AsyncRepository) -> None:
        """A change adds one, an equal value changes nothing, another key is left alone; a new one begins higher."""
        first = (await store.set_states("n", {"a": {"x": 1, "y": 2}, "b": 1}))["a"]
        same = (await store.set_states("n", {"a": {"y": 2, "x": 1}}))["a"]
        other = (await store.set_states("n", {"a": True}))["a"]
        again = (await store.set_states("n", {"a": 1}))["a"]

        assert first == same
        assert [first.revision + 1, first.revision + 2] == [other.revision, again.revision]
        assert first.updated_at <= other.updated_at
        exactly([True, 1], [other.value, again.value])
        assert 1 == await store.delete_states("n", "a")
        assert again.revision < (await store.set_states("n", {"a": 1}))["a"].revision
        assert 1 == (await store.get_states("n"))["b"].value

    async def test_a_change_on_condition(self, store: AsyncRepository) -> None:
        """``expected_revision`` is that of the state, 0 for none; any other is a `Conflict` and changes nothing."""
        first = (await store.set_states("n", {"a": 1}, expected_revision=0))["a"]
        second = (await store.set_states("n", {"a": 2}, expected_revision=first.revision))["a"]

        for revision in (0, first.revision, second.revision + 1):
            with pytest.raises(Conflict):
                await store.set_states("n", {"a": 3}, expected_revision=revision)
            with pytest.raises(Conflict):
                await store.delete_states("n", "a", expected_revision=revision)
        with pytest.raises(Conflict):
            await store.set_states("n", {"b": 3}, expected_revision=first.revision)
        assert {"a": second} == await store.get_states("n")
        assert 1 == await store.delete_states("n", "a", expected_revision=second.revision)
        assert 0 == await store.delete_states("n", "a", expected_revision=second.revision)

    async def test_a_namespace_is_deleted(self, store: AsyncRepository) -> None:
        """Without keys all of a namespace goes, with keys only these; nothing else does."""
        for name in ("n", "m"):
            await store.set_states(name, {"a": 1, "b": 2, "c": 3})

        assert 2 == await store.delete_states("n", "a", "b", "z")
        assert 1 == await store.delete_states("n")
        assert 0 == await store.delete_states("n")
        assert 3 == len(await store.get_states("m"))

    async def test_states_belong_to_exactly_one_scope(self, store: AsyncRepository) -> None:
        """The same name is another state in each scope: none sees, changes or deletes another's."""
        scopes = {
            "nobody": store,
            "tenant": store.scope(tenant_id="t"),
            "user": store.scope(user_id="t"),
            "both": store.scope(tenant_id="t", user_id="t"),
            "neighbour": store.scope(tenant_id="t", user_id="u"),
        }
        for name, scope in scopes.items():
            await scope.set_states("n", {"who": name})
        for name, scope in scopes.items():
            assert [name] == [state.value for state in (await scope.get_states("n")).values()]
        assert 1 == await scopes["tenant"].delete_states("n")
        assert [1, 0, 1, 1, 1] == [len(await scope.get_states("n")) for scope in scopes.values()]

    async def test_states_of_all_owners_are_listed(self, store: AsyncRepository) -> None:
        """A scope lists its own states and those of the owners in it, one by one, whoever set them, over many pages."""
        owners: list[dict[str, str]] = [
            {}, {"tenant_id": "t"}, {"user_id": "u"}, {"tenant_id": "t", "user_id": "u"}, {"tenant_id": "t", "user_id": "v"},
        ]  # fmt: skip
        for owner in owners:
            await (store.scope(**owner) if owner else store).set_states("a/b", {"k": owner, "l": None})
        seen = [state async for state in store.iter_states()]
        assert [(state.tenant_id, state.user_id) for state in seen] == [
            (state.tenant_id, state.user_id)
            for state in sorted(
                seen, key=lambda one: state_place(one.tenant_id, one.user_id, one.namespace, one.key)
            )
        ]
        assert sorted(map(str, owners)) == sorted(str(state.value) for state in seen if state.key == "k")
        for owner in owners[1:]:
            scope = store.scope(**owner)
            found = [state.value async for state in scope.iter_states() if state.key == "k"]
            assert sorted(map(str, found)) == sorted(
                str(one) for one in owners if owner.items() <= one.items()
            )
            assert (await scope.get_states("a/b"))["k"] in [state async for state in scope.iter_states()]
        many = {f"key {number}": number for number in range(CHUNK + 3)}
        await store.scope(user_id="many").set_states("n", many)
        found = [state async for state in store.scope(user_id="many").iter_states()]
        assert many == {state.key: state.value for state in found}
        assert len(many) == len(found)

    async def test_states_come_with_messages(self, store: AsyncRepository) -> None:
        """Messages, the session's own data and states of several namespaces are one write, in a new session too."""
        await store.set_states("app", {"keep": 0, "change": 0})
        await store.add_messages(
            "s", says("a"), states={"app": {"change": 1, "new": None}, "user": {"x": [1]}}, title="T"
        )
        await store.add_messages("s", [], states={"user": {"x": [2]}})

        assert {"keep": 0, "change": 1, "new": None} == await values(store, "app")
        assert {"x": [2]} == await values(store, "user")
        assert ("T", 1) == ((session := await store.get_session("s")).title, session.message_count)

    async def test_what_fails_sets_no_state(self, store: AsyncRepository) -> None:
        """Where the messages are refused the states stay, and where a state is refused the messages do."""
        stale = (await store.add_messages("s", [say("a", id="1")])).revision
        await store.set_states("n", {"a": 1})
        await store.add_messages("s", says("b"))
        before = await everything(store)

        with pytest.raises(Conflict):
            await store.add_messages("s", says("c"), states={"n": {"a": 2}}, expected_revision=stale)
        with pytest.raises(MessageConflict):
            await store.add_messages("s", [say("x", id="1")], states={"n": {"a": 2}})
        for bad in ({"n": {"a": {1}}}, {"": {"a": 1}}, {"n": {"\0": 1}}, {"n": 1}, [1], {"n": {"a": "\0"}}):
            with pytest.raises(Invalid):
                await store.add_messages("s", says("c"), states=bad)  # type: ignore[arg-type]
        assert before == await everything(store)
        assert {"a": 1} == await values(store, "n")

    async def test_a_repeat_sets_no_state_back(self, store: AsyncRepository) -> None:
        """A repeated append on condition was done: what its states have become since then stays."""
        need_states(store)
        turn = numbered(1)
        await store.add_messages("s", turn, states={"n": {"a": 1}}, expected_revision=0)
        await store.add_messages("s", says("b"), states={"n": {"a": 2}})
        await store.add_messages("s", turn, states={"n": {"a": 1}}, expected_revision=0)

        assert {"a": 2} == await values(store, "n")

    async def test_bad_names_and_values_are_refused(self, store: AsyncRepository) -> None:
        """What is no name or no JSON is `Invalid`, and so is a revision for several states."""
        strange: list[Any] = ["", " a", "\0", "x" * 256, 1, None]
        for name in strange:
            with pytest.raises(Invalid):
                await store.set_states(name, {"a": 1})
            with pytest.raises(Invalid):
                await store.set_states("n", {"a": 1, name: 1})
            with pytest.raises(Invalid):
                await store.get_states(name)
            with pytest.raises(Invalid):
                await store.delete_states("n", name)
        for value in (float("nan"), b"x", {1: 2}, "\ud800"):
            with pytest.raises(Invalid):
                await store.set_states("n", {"a": value})
        for values_ in ({}, {"a": 1, "b": 2}):
            with pytest.raises(Invalid):
                await store.set_states("n", values_, expected_revision=0)
        assert {} == await store.get_states("n")

    async def test_counters_lose_nothing(self, store: AsyncRepository) -> None:
        """Many who count a state on, each on condition of what it read, count every time; the first is made once."""
        self.need("threads")

        async def count(one: AsyncRepository) -> None:
            done = 0
            while done < 5:
                found = (await one.get_states("n", "count")).get("count")
                value, revision = (found.value, found.revision) if found else (0, 0)
                try:
                    await one.set_states("n", {"count": value + 1}, expected_revision=revision)
                except Conflict:
                    continue
                done += 1

        await at_once(store, [count] * 4)
        assert {"count": 20} == await values(store, "n")

    async def test_writers_of_the_same_states_all_succeed(self, store: AsyncRepository) -> None:
        """Many appends to different sessions that set the same states, in any order of keys, wait for one another."""
        self.need("threads")
        need_states(store)

        def write(number: int) -> Any:
            keys = "abcdef" if number % 2 else "fedcba"
            return lambda one: one.add_messages(
                f"s{number}", says("x"), states={"n": dict.fromkeys(keys, number), "m": {"z": number}}
            )

        await at_once(store, [write(number) for number in range(6)])
        found = await store.get_states("n")
        assert 1 == len({state.value for state in found.values()})
        assert 6 == len((await store.list_sessions()).items)

    async def test_a_backend_without_states_says_so(self, store: AsyncRepository) -> None:
        """Where states are denied, every way to them raises `NotSupported` and writes nothing."""
        repository: Any = inner(store)
        if "set_states" not in repository.capabilities.denied:
            pytest.skip("this backend keeps states")
        with pytest.raises(NotSupported):
            await store.add_messages("s", says("a"), states={"n": {"a": 1}})
        assert 0 == await store.count_messages("s")


class FindingContract(ContractPart):
    """``find_message``."""

    async def test_an_id_is_enough(self, store: AsyncRepository) -> None:
        """The record is that of the session which has the id, by ids of the client's and by generated ones."""
        one = await store.add_messages("s", [say("a", id="A"), say("b"), say("c", id="é🙂")])
        if "create_session" not in inner(store).capabilities.denied:
            await store.add_messages("t", [say("d", id="a")])

        exactly(one, [await store.find_message(record.message_id) for record in one])
        for missing in ("no", "B", "\U0001f600"):
            with pytest.raises(MessageNotFound):
                await store.find_message(missing)
        strange: list[Any] = ["", 1, None, "x" * 256]
        for bad in strange:
            with pytest.raises(Invalid):
                await store.find_message(bad)

    async def test_what_is_gone_is_not_found(self, store: AsyncRepository) -> None:
        """Deleted messages, deleted sessions and expired ones have no ids."""
        await store.add_messages("s", [say("a", id="a"), say("b", id="b")])
        await store.add_messages("t", [say("c", id="c")])
        await store.add_messages("u", [say("d", id="d")])
        await store.delete_message("s", "a")
        await store.delete_session("t")
        await store.update_session("u", expires_at=PAST)

        assert "s" == (await store.find_message("b")).session_id
        for gone in "acd":
            with pytest.raises(MessageNotFound):
                await store.find_message(gone)

    async def test_the_first_session_counts(self, store: AsyncRepository) -> None:
        """Of a session and its forks the one that was created first is found, and then the next."""
        await store.add_messages("z", [say("a", id="a")])
        await store.fork_session("z", "a")
        await store.add_messages("b", [say("other", id="a")])

        for name in "zab":
            assert name == (await store.find_message("a")).session_id
            await store.delete_session(name)

    async def test_a_scope_finds_its_own(self, store: AsyncRepository) -> None:
        """Another owner's message is not found, the scope's own is, whoever was first."""
        mine, theirs = store.scope(user_id="ada", tenant_id="t"), store.scope(user_id="bob")
        await theirs.add_messages("s", [say("theirs", id="a"), say("b", id="b")])
        await mine.add_messages("t", [say("mine", id="a")])

        assert "mine" == (await mine.find_message("a")).message.text
        assert "theirs" == (await theirs.find_message("a")).message.text
        with pytest.raises(MessageNotFound):
            await mine.find_message("b")


async def values(store: AsyncRepository, namespace: str) -> dict[str, Any]:
    """Return the values of the states of *namespace*."""
    states: dict[str, State] = await store.get_states(namespace)
    return {key: state.value for key, state in states.items()}
