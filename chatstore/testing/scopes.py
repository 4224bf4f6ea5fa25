"""The contract of scopes: another owner's session is exactly as one that is not there, and stays as it was."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.arguments import utcnow
from chatstore.errors import ChatstoreError, Conflict, Invalid, SessionExists, SessionNotFound
from chatstore.testing.appending import everything
from chatstore.testing.driver import ContractPart, collected, inner, offered
from chatstore.testing.loading import record
from chatstore.testing.samples import FUTURE, contents, numbered, say, says

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository

    Calls = dict[str, Callable[[AsyncRepository], Awaitable[Any]]]

#: Scopes that must not see a session of tenant "acme" and user "ada".
STRANGERS: dict[str, dict[str, str]] = {
    "user": {"user_id": "bob"},
    "tenant": {"tenant_id": "other"},
    "user of the tenant": {"tenant_id": "acme", "user_id": "bob"},
    "namesake in another tenant": {"tenant_id": "other", "user_id": "ada"},
    "capital user": {"user_id": "Ada"},
    "capital tenant": {"tenant_id": "ACME", "user_id": "ada"},
    "accent": {"user_id": "adá"},
    "wildcard": {"user_id": "%"},
    "underscore": {"user_id": "ad_"},
    "quote": {"user_id": "x' OR '1'='1"},
}
#: What each operation does in such a scope: None, an empty answer, or an error.
READS: Calls = {
    "get_messages": lambda s: s.get_messages("s"),
    "get_messages last": lambda s: s.get_messages("s", last=1),
    "get_records": lambda s: s.get_records("s"),
    "iter_records": lambda s: collected(s.iter_records("s")),
    "list_sessions": lambda s: _items(s.list_sessions(archived=None)),
    "list_sessions owner": lambda s: _items(s.list_sessions(user_id="ada")),
    "list_sessions tenant": lambda s: _items(s.list_sessions(tenant_id="acme", user_id="ada")),
    "list_sessions metadata": lambda s: _items(s.list_sessions(metadata={"k": 1})),
    "search": lambda s: s.search("message"),
    "search session": lambda s: s.search("message", session_id="s"),
    "search owner": lambda s: s.search("message", tenant_id="acme", user_id="ada"),
    "usage": lambda s: s.usage(by=("session_id",)),
    "usage owner": lambda s: s.usage(tenant_id="acme", user_id="ada"),
}
MISSING: Calls = {
    "get_session": lambda s: s.get_session("s"),
    "update_session": lambda s: s.update_session("s", title="stolen"),
    "update_session none": lambda s: s.update_session("s"),
    "update_session archived": lambda s: s.update_session("s", archived=True, expected_revision=0),
    "fork_session": lambda s: s.fork_session("s", "loot"),
    "get_message": lambda s: s.get_message("s", 1),
    "get_message id": lambda s: s.get_message("s", "m1"),
    "update_message": lambda s: s.update_message("s", 1, say("stolen")),
    "delete_message": lambda s: s.delete_message("s", "m1"),
}
TAKEN: Calls = {
    "create_session": lambda s: s.create_session("s"),
    "add_messages": lambda s: s.add_messages("s", says("stolen")),
    "add_messages known": lambda s: s.add_messages("s", numbered(3)),
    "add_messages other": lambda s: s.add_messages("s", [say("other", id="m1")]),
    "add_messages zero": lambda s: s.add_messages("s", numbered(3), expected_revision=0),
    "replace_messages": lambda s: s.replace_messages("s", says("stolen")),
    "replace_messages zero": lambda s: s.replace_messages("s", says("stolen"), expected_revision=0),
    "load_records": lambda s: s.load_records("s", [record(9)]),
    "load_records known": lambda s: s.load_records("s", [record(1, "message 1", "m1")]),
    "fork_session": lambda s: s.fork_session("mine", "s"),
}
#: Calls that do nothing, and what they answer.
VAIN: dict[str, tuple[Callable[[AsyncRepository], Awaitable[Any]], object]] = {
    "delete_session": (lambda s: s.delete_session("s"), False),
    "pop_message": (lambda s: s.pop_message("s"), None),
    "count_messages": (lambda s: s.count_messages("s"), 0),
    "truncate": (lambda s: s.truncate("s", after=0), None),
    "clear": (lambda s: s.clear("s"), None),
    "add_messages": (lambda s: s.add_messages("s", []), []),
    "purge": (lambda s: _sessions(s.purge(updated_before=FUTURE)), 0),
    "purge archived": (lambda s: _sessions(s.purge(archived_only=True)), 0),
}


async def _items(page: Awaitable[Any]) -> Any:
    return (await page).items


async def _sessions(report: Awaitable[Any]) -> Any:
    return (await report).sessions


async def victim(store: AsyncRepository) -> Any:
    """Make ada's session ``s`` and an ownerless one ``n``; return what there is to see of them."""
    await store.create_session("s", tenant_id="acme", user_id="ada", title="private", metadata={"k": 1})
    await store.add_messages("s", numbered(3))
    await store.add_messages("n", numbered(3))
    return await everything(store), await everything(store, "n")


class ScopeContract(ContractPart):
    """What holds in a scope."""

    @pytest.mark.parametrize("who", STRANGERS)
    async def test_a_stranger_reads_nothing(
        self, store: AsyncRepository, evidence: Callable[[], object], who: str
    ) -> None:
        """Every read of another owner's session is empty, as of a missing one."""
        before, stored = await victim(store), evidence()
        stranger = store.scope(**STRANGERS[who])

        for name, call in offered(store, READS).items():
            assert [] == await call(stranger), name
        assert 0 == (await stranger.get_records("s")).revision
        assert (stored, before) == (evidence(), (await everything(store), await everything(store, "n")))

    @pytest.mark.parametrize("who", STRANGERS)
    async def test_a_stranger_changes_nothing(
        self, store: AsyncRepository, evidence: Callable[[], object], who: str
    ) -> None:
        """Edits and deletes behave as for a missing session: not found, or nothing done; not a byte changes."""
        before, stored = await victim(store), evidence()
        stranger = store.scope(**STRANGERS[who])

        for name, call in offered(store, MISSING).items():
            with pytest.raises(SessionNotFound):
                await call(stranger)
            assert stored == evidence(), name
        for name, (vain, answer) in offered(store, VAIN).items():
            assert answer == await vain(stranger), name
            assert stored == evidence(), name
        assert before == (await everything(store), await everything(store, "n"))

    @pytest.mark.parametrize("who", STRANGERS)
    async def test_a_stranger_cannot_take_the_id(self, store: AsyncRepository, who: str) -> None:
        """What would create the session raises `SessionExists`, writes nothing and tells nothing about the owner."""
        stranger = store.scope(**STRANGERS[who])
        await stranger.add_messages("mine", says("mine"))
        before = await victim(store)
        mine = await everything(stranger, "mine")

        for call in offered(store, TAKEN).values():
            with pytest.raises(SessionExists) as caught:
                await call(stranger)
            assert not any(word in str(caught.value) for word in ("ada", "acme", "private", "message 1"))
        assert before == (await everything(store), await everything(store, "n"))
        assert mine == await everything(stranger, "mine")

    async def test_an_expected_revision_gives_nothing_away(self, store: AsyncRepository) -> None:
        """On condition of any revision, the right one included, a stranger's write is a `Conflict` like that on a missing id."""
        await victim(store)
        revision = (await store.get_session("s")).revision
        before = await everything(store)
        stranger = store.scope(user_id="bob")

        for expected in (revision, 7):
            for name in ("add_messages", "replace_messages"):
                for messages in (says("x"), numbered(3)):
                    with pytest.raises(Conflict) as caught:
                        await getattr(stranger, name)("s", messages, expected_revision=expected)
                    assert str(revision) not in str(caught.value) or expected == revision
        assert before == await everything(store)

    @pytest.mark.parametrize("name", ["get_session", "get_message", "update_message", "delete_message"])
    async def test_errors_do_not_tell_a_strangers_session_from_a_missing_one(
        self, store: AsyncRepository, name: str
    ) -> None:
        """The error's words are the same whether the session is another owner's or not there at all."""
        calls: Calls = {
            "get_session": lambda s: s.get_session("s"),
            "get_message": lambda s: s.get_message("s", "m1"),
            "update_message": lambda s: s.update_message("s", "m1", say("x")),
            "delete_message": lambda s: s.delete_message("s", "m1"),
        }
        stranger = store.scope(user_id="bob")
        with pytest.raises(SessionNotFound) as missing:
            await calls[name](stranger)
        await victim(store)
        with pytest.raises(SessionNotFound) as foreign:
            await calls[name](stranger)

        assert str(missing.value) == str(foreign.value)

    async def test_the_owner_works_as_ever(self, store: AsyncRepository) -> None:
        """In the owner's scopes, by user, by tenant or by both, everything is there and can be changed."""
        await victim(store)

        for owner in ({"user_id": "ada"}, {"tenant_id": "acme"}, {"tenant_id": "acme", "user_id": "ada"}):
            scoped = store.scope(**owner)
            assert await store.get_messages("s") == await scoped.get_messages("s")
            assert ["s"] == [found.session_id for found in (await scoped.list_sessions()).items]
            await scoped.update_message("s", 1, say(str(owner)))
            assert str(owner) == (await scoped.get_message("s", 1)).message.content
        assert 4 == (await store.scope(user_id="ada").add_messages("s", says("next")))[0].position
        assert await store.scope(user_id="ada").delete_session("s") is True

    @pytest.mark.parametrize(
        "write", ["create_session", "add_messages", "replace_messages", "load_records", "fork_session"]
    )
    async def test_what_a_scope_creates_is_its_owners(self, store: AsyncRepository, write: str) -> None:
        """Every way to create a session gives it to the scope's owner."""
        await store.create_session("mine", tenant_id="acme", user_id="ada")
        calls: Calls = {
            "create_session": lambda s: s.create_session("new"),
            "add_messages": lambda s: s.add_messages("new", says("x")),
            "replace_messages": lambda s: s.replace_messages("new", says("x")),
            "load_records": lambda s: s.load_records("new", [record(1)]),
            "fork_session": lambda s: s.fork_session("mine", "new"),
        }
        await calls[write](store.scope(tenant_id="acme", user_id="ada"))

        made = await store.get_session("new")
        assert ("acme", "ada") == (made.tenant_id, made.user_id)

    async def test_a_scope_of_half_an_owner_may_name_the_other_half(self, store: AsyncRepository) -> None:
        """In a tenant's scope sessions may be created for its users, but not for another tenant."""
        tenant = store.scope(tenant_id="acme")
        made = await tenant.create_session("s", user_id="ada")
        assert ("acme", "ada") == (made.tenant_id, made.user_id)
        same = await tenant.create_session("t", tenant_id="acme")
        assert ("acme", None) == (same.tenant_id, same.user_id)

        with pytest.raises(Invalid):
            await tenant.create_session("u", tenant_id="other")
        assert 2 == len((await store.list_sessions()).items)

    async def test_only_the_unscoped_change_owners(self, store: AsyncRepository) -> None:
        """In a scope `update_session` of an owner is `Invalid`, and nothing changes."""
        before = await victim(store)
        for wrong in ({"user_id": "bob"}, {"user_id": None}, {"tenant_id": "other"}, {"tenant_id": None}):
            with pytest.raises(Invalid):
                await store.scope(user_id="ada").update_session("s", title="x", **wrong)
        assert before == (await everything(store), await everything(store, "n"))

        await store.update_session("s", user_id="bob")
        assert 3 == await store.scope(user_id="bob").count_messages("s")
        assert 0 == await store.scope(user_id="ada").count_messages("s")

    async def test_a_session_without_an_owner_is_in_no_scope(self, store: AsyncRepository) -> None:
        """Nobody's session is seen by the unscoped repository only."""
        await store.add_messages("n", says("x"))
        await store.create_session("half", user_id="ada")

        for owner in ({"user_id": "ada"}, {"tenant_id": "acme"}, {"user_id": "None"}, {"user_id": "null"}):
            with pytest.raises(SessionNotFound):
                await store.scope(**owner).get_session("n")
        with pytest.raises(SessionNotFound):
            await store.scope(tenant_id="acme", user_id="ada").get_session("half")
        assert 1 == await store.count_messages("n")

    async def test_nested_scopes_only_narrow(self, store: AsyncRepository) -> None:
        """A scope inside a scope sees what both see; one that contradicts the other is `Invalid`."""
        await store.create_session("s", tenant_id="acme", user_id="ada")
        await store.create_session("t", tenant_id="acme", user_id="bob")
        await store.create_session("u", tenant_id="other", user_id="ada")
        for nested in (
            store.scope(tenant_id="acme").scope(user_id="ada"),
            store.scope(user_id="ada").scope(tenant_id="acme"),
            store.scope(tenant_id="acme", user_id="ada").scope(user_id="ada"),
        ):
            assert ("acme", "ada") == (inner(nested).tenant_id, inner(nested).user_id)
            assert ["s"] == [found.session_id for found in (await nested.list_sessions()).items]
            assert "acme" == (await nested.create_session("new")).tenant_id
            await nested.delete_session("new")

        for outer, contrary in (
            ({"user_id": "ada"}, {"user_id": "bob"}),
            ({"tenant_id": "acme"}, {"tenant_id": "ACME"}),
        ):
            with pytest.raises(Invalid):
                store.scope(**outer).scope(**contrary)
        assert 3 == len((await store.list_sessions()).items)

    @pytest.mark.parametrize(
        "owner", [{}, {"user_id": None}, {"user_id": ""}, {"tenant_id": " x"}, {"user_id": 5}], ids=repr
    )
    async def test_a_scope_needs_an_owner(self, store: AsyncRepository, owner: dict[str, Any]) -> None:
        """A scope without an owner, or with an impossible one, is `Invalid`: it would see everybody."""
        with pytest.raises(Invalid):
            store.scope(**owner)

    async def test_a_scope_leaves_its_repository_as_it_is(self, store: AsyncRepository) -> None:
        """`scope` returns another repository over the same storage; the first one still sees everything."""
        await victim(store)
        scoped = store.scope(user_id="bob")
        await scoped.add_messages("b", says("bob's"))

        assert ["bob's"] == contents(await store.get_messages("b"))
        assert 3 == len((await store.list_sessions()).items)
        assert 1 == len((await scoped.list_sessions()).items)
        assert (None, None, "bob") == (inner(store).user_id, inner(scoped).tenant_id, inner(scoped).user_id)

    async def test_purge_stays_inside(self, store: AsyncRepository) -> None:
        """In a scope `purge` counts and deletes the owner's sessions only."""
        await victim(store)
        await store.create_session("b", user_id="bob", expires_at=utcnow() - timedelta(days=1))
        await store.create_session("c", user_id="bob")
        bob = store.scope(user_id="bob")

        assert 1 == (await bob.purge(dry_run=True)).sessions
        assert 2 == (await bob.purge(updated_before=FUTURE)).sessions
        assert {"s", "n"} == {found.session_id for found in (await store.list_sessions()).items}

    async def test_a_history_stays_inside(self, store: AsyncRepository) -> None:
        """A history made in a scope sees and writes what the scope does."""
        self.need("twin")
        await victim(store)
        bob = inner(store.scope(user_id="bob"))

        async with bob.history("s") as theirs, bob.history("new") as his:
            assert [] == await theirs.aget_messages()
            with pytest.raises(ChatstoreError):
                await theirs.aadd_messages(says("stolen"))
            await his.aadd_messages(says("bob's"))
        assert 3 == await store.count_messages("s")
        assert "bob" == (await store.get_session("new")).user_id
