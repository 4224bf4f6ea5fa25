"""The contract of sessions: create, read, update, delete, and what their revisions say.

This module knows one session at a time; lists, owners and expiry have modules of their own beside it.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.arguments import microseconds, utcnow
from chatstore.errors import Conflict, SessionExists, SessionNotFound
from chatstore.testing.driver import ContractPart
from chatstore.testing.samples import (
    FUTURE,
    contents,
    say,
    says,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.aio import AsyncRepository

FULL: dict[str, Any] = {
    "tenant_id": "acme",
    "user_id": "ada",
    "title": "Grüße 🙂 'quoted' \\",
    "metadata": {"n": 1, "deep": {"list": [1, 2.5, None, True, "x"]}, "": "empty key"},
    "expires_at": FUTURE,
}


class SessionContract(ContractPart):
    """What holds for a session's own data."""

    async def test_create_returns_the_session(self, store: AsyncRepository) -> None:
        """`create_session` returns what was asked for, empty, with times of the library's clock, in UTC."""
        before = utcnow()
        made = await store.create_session("s", **FULL)

        assert FULL == {name: getattr(made, name) for name in FULL}
        assert ("s", 0, 0) == (made.session_id, made.message_count, made.last_position)
        assert (None, None, None) == (made.forked_from, made.forked_at, made.archived_at)
        assert before <= made.created_at == made.updated_at <= utcnow()
        assert UTC == made.created_at.tzinfo == made.updated_at.tzinfo

    async def test_create_needs_only_an_id(self, store: AsyncRepository) -> None:
        """What is not passed is None, and the metadata an empty object."""
        made = await store.create_session("s")

        assert (None, None, None, {}, None) == (
            made.tenant_id, made.user_id, made.title, made.metadata, made.expires_at
        )  # fmt: skip

    async def test_get_returns_what_create_returned(self, store: AsyncRepository) -> None:
        """A session reads back equal, times to the microsecond."""
        made = await store.create_session("s", **FULL)

        assert made == await store.get_session("s")

    async def test_a_session_that_is_there_cannot_be_created(self, store: AsyncRepository) -> None:
        """`create_session` of a known id raises `SessionExists` and changes nothing, metadata and messages included."""
        await store.create_session("s", **FULL)
        await store.add_messages("s", says("kept"))
        made = await store.get_session("s")

        with pytest.raises(SessionExists):
            await store.create_session("s", title="another")

        assert made == await store.get_session("s")
        assert ["kept"] == contents(await store.get_messages("s"))

    async def test_a_missing_session_is_not_found(self, store: AsyncRepository) -> None:
        """`get_session` and `update_session` of an unknown id raise `SessionNotFound` and create nothing."""
        with pytest.raises(SessionNotFound):
            await store.get_session("s")
        with pytest.raises(SessionNotFound):
            await store.update_session("s", title="x")
        with pytest.raises(SessionNotFound):
            await store.update_session("s", title="x", expected_revision=7)

        assert [] == (await store.list_sessions()).items

    @pytest.mark.parametrize("name", ["title", "metadata", "expires_at", "user_id", "tenant_id"])
    async def test_update_changes_only_what_is_passed(self, store: AsyncRepository, name: str) -> None:
        """What is left out of `update_session` stays as it is."""
        before = await store.create_session("s", **FULL)
        value: Any = {"metadata": {"only": "this"}, "expires_at": FUTURE + timedelta(days=1)}.get(name, "new")

        after = await store.update_session("s", **{name: value})

        assert {**FULL, name: value} == {field: getattr(after, field) for field in FULL}
        assert after == await store.get_session("s")
        assert before.revision < after.revision
        assert before.updated_at <= after.updated_at
        assert before.created_at == after.created_at

    @pytest.mark.parametrize("name", ["title", "metadata", "expires_at", "user_id", "tenant_id"])
    async def test_update_with_none_clears(self, store: AsyncRepository, name: str) -> None:
        """None clears a value; cleared metadata is an empty object."""
        await store.create_session("s", **FULL)

        cleared: dict[str, Any] = {name: None}
        after = await store.update_session("s", **cleared)

        assert {**FULL, name: {} if name == "metadata" else None} == {
            field: getattr(after, field) for field in FULL
        }
        assert after == await store.get_session("s")

    async def test_archiving(self, store: AsyncRepository) -> None:
        """``archived`` sets and clears ``archived_at``; archiving twice keeps the first time."""
        before = utcnow()
        await store.create_session("s")
        first = await store.update_session("s", archived=True)
        again = await store.update_session("s", archived=True)
        back = await store.update_session("s", archived=False)

        assert first.archived_at is not None
        assert before <= first.archived_at <= utcnow()
        assert first == again
        assert back.archived_at is None
        assert first.revision < back.revision

    @pytest.mark.parametrize("given", [FULL, {}])
    async def test_an_update_that_changes_nothing_is_none(
        self, store: AsyncRepository, given: dict[str, Any]
    ) -> None:
        """The revision, and with it ``updated_at``, moves only when something changes."""
        before = await store.create_session("s", **given)

        assert before == await store.update_session("s")
        assert before == await store.update_session("s", **given)
        assert before == await store.update_session(
            "s", **given, archived=False, expected_revision=before.revision
        )
        assert before == await store.get_session("s")

    @pytest.mark.parametrize("other", [True, 1.0, "1", [1], {"k": 1}], ids=repr)
    async def test_metadata_of_another_type_is_a_change(self, store: AsyncRepository, other: Any) -> None:
        """1, 1.0, True and "1" are different values."""
        before = await store.create_session("s", metadata={"k": 1})

        after = await store.update_session("s", metadata={"k": other})

        assert before.revision < after.revision
        assert repr({"k": other}) == repr(after.metadata) == repr((await store.get_session("s")).metadata)

    async def test_update_on_condition_of_the_revision(self, store: AsyncRepository) -> None:
        """``expected_revision`` lets exactly the current revision pass; a stale one raises `Conflict` and changes nothing."""
        made = await store.create_session("s")
        first = await store.update_session("s", title="first", expected_revision=made.revision)

        for stale in (made.revision, 0, first.revision + 1):
            with pytest.raises(Conflict):
                await store.update_session("s", title="second", expected_revision=stale)
        assert first == await store.get_session("s")

        await store.add_messages("s", says("moves it"))
        with pytest.raises(Conflict):
            await store.update_session("s", title="second", expected_revision=first.revision)

    async def test_a_visitor_logs_in(self, store: AsyncRepository) -> None:
        """The unscoped repository may give a session to an owner, who sees it from then on."""
        await store.add_messages("s", says("before"))
        await store.update_session("s", user_id="ada")

        assert ["before"] == contents(await store.scope(user_id="ada").get_messages("s"))

    async def test_delete_takes_everything(self, store: AsyncRepository) -> None:
        """`delete_session` removes the session with its messages and says whether there was one."""
        await store.create_session("s", **FULL)
        await store.add_messages("s", [say("gone", id="m1")])

        assert await store.delete_session("s") is True
        assert await store.delete_session("s") is False
        assert [] == await store.get_messages("s")
        with pytest.raises(SessionNotFound):
            await store.get_session("s")

    async def test_a_recreated_session_knows_nothing_of_the_old_one(self, store: AsyncRepository) -> None:
        """After `delete_session` the id is free: positions begin at 1, ids and data are forgotten."""
        await store.create_session("s", **FULL)
        await store.add_messages("s", [say("old", id="m1"), say("older")])
        await store.delete_session("s")

        records = await store.add_messages("s", [say("new", id="m1")])

        assert [1] == [record.position for record in records]
        assert ["new"] == contents(await store.get_messages("s"))
        fresh = await store.get_session("s")
        assert (None, {}, None, 1) == (fresh.title, fresh.metadata, fresh.expires_at, fresh.message_count)

    async def test_a_revision_begins_at_the_creation_time(self, store: AsyncRepository) -> None:
        """A session's first revision is its creation time in microseconds, or just above it."""
        created = await store.create_session("created")
        await store.add_messages("appended", says("x"))
        appended = await store.get_session("appended")

        for session in (created, appended):
            assert 0 <= session.revision - microseconds(session.created_at) <= 1

    async def test_a_revision_never_comes_again(self, store: AsyncRepository) -> None:
        """No sequence of changes, deletion and creation repeats a revision: each is above all before."""
        seen: list[int] = []
        for _ in range(3):
            seen.append((await store.create_session("s")).revision)
            seen.append((await store.add_messages("s", says("a", "b"))).revision)
            seen.append((await store.update_session("s", title="t")).revision)
            await store.delete_message("s", 1)
            seen.append((await store.get_session("s")).revision)
            await store.delete_session("s")
            seen.append((await store.add_messages("s", says("a"))).revision)
            await store.delete_session("s")

        assert sorted(set(seen)) == seen

    async def test_every_change_moves_the_revision_and_counters(self, store: AsyncRepository) -> None:
        """Each mutation that changes something gives a higher revision; counters always equal the messages."""
        await store.create_session("s")
        changes: list[Callable[[], Any]] = [
            lambda: store.add_messages("s", says("a", "b", "c", "d", "e")),
            lambda: store.update_message("s", 1, say("changed")),
            lambda: store.delete_message("s", 2),
            lambda: store.pop_message("s"),
            lambda: store.truncate("s", after=3),
            lambda: store.replace_messages("s", says("x", "y")),
            lambda: store.clear("s"),
            lambda: store.update_session("s", metadata={"a": 1}),
        ]
        last = await store.get_session("s")
        for change in changes:
            await change()
            now = await store.get_session("s")
            records = await store.get_records("s")
            assert last.revision < now.revision == records.revision
            assert last.updated_at <= now.updated_at
            assert len(records) == now.message_count == await store.count_messages("s")
            assert now.last_position >= max((last.last_position, *(record.position for record in records)))
            last = now

    async def test_what_is_handed_out_is_the_callers(self, store: AsyncRepository) -> None:
        """Changing what was passed or returned changes nothing that is stored."""
        given: dict[str, Any] = {"list": [1]}
        made = await store.create_session("s", metadata=given)
        given["list"].append(2)
        made.metadata["list"].append(3)
        (await store.get_session("s")).metadata["x"] = 4
        (await store.list_sessions()).items[0].metadata["x"] = 5
        assert {"list": [1]} == (await store.get_session("s")).metadata

        updated = await store.update_session("s", metadata={"list": [1]}, title="t")
        updated.metadata["list"].append(6)
        assert {"list": [1]} == (await store.get_session("s")).metadata

    async def test_only_what_is_unset_is_set(self, store: AsyncRepository) -> None:
        """A title thought up by a model does not take the place of the user's; one call, no look before it."""
        await store.create_session("s", user_id="ada")
        first = await store.update_session("s", title="Roses", metadata={"a": 1}, only_unset=True)
        assert ("Roses", {"a": 1}) == (first.title, first.metadata)
        again = await store.update_session(
            "s", title="Lilies", metadata={"b": 1}, user_id="bob", only_unset=True
        )
        assert first == again == await store.get_session("s")
        assert "Lilies" == (await store.update_session("s", title="Lilies")).title

    async def test_rename_need_not_move_a_session_to_the_top(self, store: AsyncRepository) -> None:
        """Without a touch the time of the last change stays, and the order of lists; the revision grows."""
        await store.create_session("old")
        await store.create_session("new")
        before = await store.get_session("old")
        renamed = await store.update_session("old", title="Roses", touch=False)
        assert (before.updated_at, before.revision + 1) == (renamed.updated_at, renamed.revision)
        assert renamed == await store.get_session("old")
        assert ["new", "old"] == [session.session_id for session in (await store.list_sessions()).items]
        await store.update_session("old", title="Lilies")
        assert ["old", "new"] == [session.session_id for session in (await store.list_sessions()).items]
