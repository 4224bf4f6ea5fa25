"""The contract of `list_sessions`: order, filters, pages and cursors."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.errors import Invalid, InvalidCursor
from chatstore.records import SESSION_ORDERS
from chatstore.testing.driver import ContractPart
from chatstore.testing.samples import says

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.messages import ChatSession

MALFORMED: list[Any] = [
    "", "x", "é", "AAAA", "null", "W10", "e30", "%", "' OR 1=1 --", "a" * 10_000, "=" * 8, 5, b"W10", ["x"],
    base64.urlsafe_b64encode(b"[1,2,3,4]").decode(), base64.urlsafe_b64encode(b'[1,"",1e400,"s"]').decode(),
    base64.urlsafe_b64encode(b'[1,"",99999999999999999999999,"s"]').decode(),
    base64.urlsafe_b64encode(b'[1,"",NaN,"s"]').decode(), base64.urlsafe_b64encode(b"[" * 100_000).decode(),
]  # fmt: skip
#: Keys and values that must be compared, never interpreted.
LITERALS = [
    "plain", "a.b", "$.a", "$", "a[0]", "*", "%", "_", "'", '"', "\\", "' OR '1'='1", '") OR 1=1 --', "a b", "key",
    "KEY", "\xe9", "e\u0301", "", "null", "true", "1", "{}", "[]", "🙂", "a\nb", ":x", "%(x)s", "?", "->>", "#>",
]  # fmt: skip


async def every_page(store: AsyncRepository, limit: int, **filters: Any) -> list[list[str]]:
    """Return the session ids of all pages."""
    pages, cursor = [], None
    while True:
        page = await store.list_sessions(limit=limit, cursor=cursor, **filters)
        pages.append(names(page.items))
        cursor = page.next_cursor
        if cursor is None:
            return pages


def names(sessions: list[ChatSession]) -> list[str]:
    """Return the ids of *sessions*."""
    return [session.session_id for session in sessions]


class ListingContract(ContractPart):
    """What holds for lists of sessions."""

    async def test_an_empty_store_lists_nothing(self, store: AsyncRepository) -> None:
        """Without sessions the page is empty and the last."""
        page = await store.list_sessions()

        assert ([], None) == (page.items, page.next_cursor)

    async def test_newest_first(self, store: AsyncRepository) -> None:
        """The session that changed last comes first; every kind of change counts."""
        for name in "abcd":
            await store.create_session(name)
        assert ["d", "c", "b", "a"] == names((await store.list_sessions()).items)

        await store.add_messages("a", says("x"))
        await store.update_session("c", title="t")
        listed = (await store.list_sessions()).items

        assert ["c", "a", "d", "b"] == names(listed)
        assert [await store.get_session(name) for name in "cadb"] == listed

    async def test_reading_touches_nothing(self, store: AsyncRepository) -> None:
        """Reads and changes that change nothing leave the order alone."""
        await store.add_messages("a", says("x"))
        await store.create_session("b")
        await store.get_records("a")
        await store.add_messages("a", [])
        await store.truncate("a", after=5)
        await store.update_session("a", archived=False)

        assert ["b", "a"] == names((await store.list_sessions()).items)

    async def test_archived_sessions(self, store: AsyncRepository) -> None:
        """Archived sessions are left out unless asked for: True shows only them, None both."""
        for name in "abc":
            await store.create_session(name)
        await store.update_session("b", archived=True)

        assert ["c", "a"] == names((await store.list_sessions()).items)
        assert ["c", "a"] == names((await store.list_sessions(archived=False)).items)
        assert ["b"] == names((await store.list_sessions(archived=True)).items)
        assert ["b", "c", "a"] == names((await store.list_sessions(archived=None)).items)

    async def test_owners(self, store: AsyncRepository) -> None:
        """``tenant_id`` and ``user_id`` keep the sessions of exactly that owner; None means any."""
        owners = {
            "a": ("t1", "u1"),
            "b": ("t1", "u2"),
            "c": ("t2", "u1"),
            "d": (None, "u1"),
            "e": (None, None),
            "f": ("T1", "U1"),
        }
        for name, (tenant, user) in owners.items():
            await store.create_session(name, tenant_id=tenant, user_id=user)

        async def listed(**owner: Any) -> str:
            return "".join(sorted(names((await store.list_sessions(**owner)).items)))

        assert "abcdef" == await listed()
        assert "ab" == await listed(tenant_id="t1")
        assert "acd" == await listed(user_id="u1")
        assert "a" == await listed(tenant_id="t1", user_id="u1")
        assert "f" == await listed(user_id="U1")
        assert "" == await listed(user_id="nobody")

    async def test_metadata_compares_top_level_values(self, store: AsyncRepository) -> None:
        """``metadata=`` keeps sessions whose top-level keys all equal these; types count, a missing key is not null."""
        await store.create_session("text", metadata={"k": "1", "x": "y"})
        await store.create_session("number", metadata={"k": 1, "x": "y"})
        await store.create_session("true", metadata={"k": True})
        await store.create_session("null", metadata={"k": None})
        await store.create_session("nested", metadata={"k": {"k": "1"}, "n": {"x": "y"}})
        await store.create_session("half", metadata={"k": 0.5})
        await store.create_session("empty")

        async def listed(**wanted: Any) -> list[str]:
            return sorted(names((await store.list_sessions(metadata=wanted)).items))

        assert ["text"] == await listed(k="1")
        assert ["number"] == await listed(k=1)
        assert ["true"] == await listed(k=True)
        assert ["null"] == await listed(k=None)
        assert ["half"] == await listed(k=0.5)
        assert [] == await listed(k=False)
        assert [] == await listed(k=2)
        assert ["number", "text"] == await listed(x="y")
        assert ["text"] == await listed(x="y", k="1")
        assert [] == await listed(x="y", k=True)
        assert 7 == len(await listed())

    async def test_metadata_filters_are_literal(self, store: AsyncRepository) -> None:
        """No key and no value of a metadata filter is ever syntax: each finds only what equals it."""
        for number, text in enumerate(LITERALS):
            await store.create_session(f"s{number}", metadata={text: text})

        for number, text in enumerate(LITERALS):
            assert [f"s{number}"] == names((await store.list_sessions(metadata={text: text})).items), text
            assert [] == (await store.list_sessions(metadata={text: f"{text}x"})).items, text

    async def test_updated_since_is_inclusive(self, store: AsyncRepository) -> None:
        """``updated_since`` keeps what changed at that very microsecond, and nothing before it."""
        for name in "abc":
            await store.create_session(name)
        moment = (await store.get_session("b")).updated_at

        assert {"c", "b"} <= set(names((await store.list_sessions(updated_since=moment)).items))
        later = await store.list_sessions(updated_since=moment + timedelta(microseconds=1))
        assert "b" not in names(later.items)

    @pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 1000])
    async def test_pages_hold_everything_once(self, store: AsyncRepository, limit: int) -> None:
        """Following ``next_cursor`` gives every session once, in order; the last page has no cursor, full or not."""
        for number in range(6):
            await store.create_session(f"s{number}", user_id="u", metadata={"k": number % 2})
        await store.update_session("s0", title="touched")
        whole = names((await store.list_sessions()).items)

        pages = await every_page(store, limit)
        odd = await every_page(store, limit, user_id="u", metadata={"k": 1})

        assert whole == [name for page in pages for name in page]
        assert [limit] * (len(pages) - 1) == [len(page) for page in pages[:-1]]
        assert all(pages)
        assert ["s5", "s3", "s1"] == [name for page in odd for name in page]

    async def test_cursors_stand_on_keys_not_on_counts(self, store: AsyncRepository) -> None:
        """What is deleted, made or touched while paging makes no session come twice or be skipped."""
        for number in range(9):
            await store.create_session(f"s{number}")
        first = await store.list_sessions(limit=3)
        assert ["s8", "s7", "s6"] == names(first.items)

        await store.delete_session("s6")
        await store.delete_session("s8")
        await store.create_session("new")
        await store.add_messages("s5", says("moves to the front"))
        second = await store.list_sessions(limit=3, cursor=first.next_cursor)
        await store.delete_session("s2")
        third = await store.list_sessions(limit=3, cursor=second.next_cursor)

        assert ["s4", "s3", "s2"] == names(second.items)
        assert (["s1", "s0"], None) == (names(third.items), third.next_cursor)

    async def test_a_cursor_is_for_its_filters_only(self, store: AsyncRepository) -> None:
        """A cursor made for other filters or another scope raises `InvalidCursor`; another ``limit`` is fine."""
        for number in range(4):
            await store.create_session(f"s{number}", user_id="u", tenant_id="t", metadata={"k": 1})
        cursor = (await store.list_sessions(limit=2)).next_cursor
        assert cursor is not None
        since = (await store.get_session("s0")).created_at
        others: list[dict[str, Any]] = [
            {"user_id": "u"}, {"tenant_id": "t"}, {"archived": None}, {"archived": True}, {"metadata": {"k": 1}},
            {"updated_since": since},
        ]  # fmt: skip

        for filters in others:
            with pytest.raises(InvalidCursor):
                await store.list_sessions(cursor=cursor, **filters)
        for scoped in (
            store.scope(user_id="u"),
            store.scope(tenant_id="t"),
            store.scope(tenant_id="t", user_id="u"),
        ):
            with pytest.raises(InvalidCursor):
                await scoped.list_sessions(cursor=cursor)
            mine = (await scoped.list_sessions(limit=2)).next_cursor
            with pytest.raises(InvalidCursor):
                await store.list_sessions(cursor=mine)
        assert ["s1"] == names((await store.list_sessions(cursor=cursor, limit=1)).items)

    async def test_a_cursor_of_one_metadata_filter_is_not_anothers(self, store: AsyncRepository) -> None:
        """Filters that look alike (1, True, "1") have cursors of their own."""
        for number in range(2):
            await store.create_session(f"s{number}", metadata={"k": 1})
        cursor = (await store.list_sessions(metadata={"k": 1}, limit=1)).next_cursor

        for other in (True, "1", None, 2):
            with pytest.raises(InvalidCursor):
                await store.list_sessions(metadata={"k": other}, cursor=cursor)

    @pytest.mark.parametrize("cursor", MALFORMED, ids=lambda value: repr(value)[:24])
    async def test_a_malformed_cursor_is_refused(self, store: AsyncRepository, cursor: Any) -> None:
        """Whatever `list_sessions` did not hand out raises `InvalidCursor`, and nothing else."""
        await store.create_session("s")

        with pytest.raises(InvalidCursor):
            await store.list_sessions(cursor=cursor)

    async def test_forks_of_a_session_are_listed(self, store: AsyncRepository) -> None:
        """The siblings that came of one session are found by it, a page at a time, and only in their scope."""
        await store.create_session("s", user_id="ada")
        await store.create_session("other")
        for number in range(3):
            await store.fork_session("s", f"fork {number}")
        await store.fork_session("other", "another")
        first = await store.list_sessions(forked_from="s", limit=2)
        rest = await store.list_sessions(forked_from="s", limit=2, cursor=first.next_cursor)
        assert ["fork 2", "fork 1", "fork 0"] == names(first.items + rest.items)
        assert None is rest.next_cursor
        assert 3 == len((await store.scope(user_id="ada").list_sessions(forked_from="s")).items)
        assert [] == (await store.scope(user_id="bob").list_sessions(forked_from="s")).items
        with pytest.raises(InvalidCursor):
            await store.list_sessions(cursor=first.next_cursor)

    async def test_limits(self, store: AsyncRepository) -> None:
        """1,000 is the most; the default is 50."""
        for number in range(52):
            await store.create_session(f"s{number}")

        assert 50 == len((await store.list_sessions()).items)
        assert 52 == len((await store.list_sessions(limit=1000)).items)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"limit": 1001}, {"limit": 0}, {"forked_from": ""}, {"limit": -1}, {"limit": True}, {"limit": "5"}, {"limit": 2.0}, {"limit": None},
            {"archived": "no"}, {"archived": 2}, {"user_id": ""}, {"tenant_id": 5}, {"metadata": "k"},
            {"metadata": {"k": [1]}}, {"metadata": {"k": {"a": 1}}}, {"metadata": {"k": float("nan")}},
            {"metadata": {5: 1}}, {"updated_since": datetime(2030, 1, 1)}, {"updated_since": 5},  # noqa: DTZ001
        ],
        ids=repr,
    )  # fmt: skip
    async def test_bad_filters_of_a_list_are_refused(
        self, store: AsyncRepository, wrong: dict[str, Any]
    ) -> None:
        """A filter that cannot be meant raises `Invalid`; none is ignored."""
        with pytest.raises(Invalid):
            await store.list_sessions(**wrong)


class ListingOrderContract(ContractPart):
    """The orders of `list_sessions`."""

    @pytest.mark.parametrize("limit", [1, 3, 100])
    @pytest.mark.parametrize("order", SESSION_ORDERS)
    async def test_sessions_come_in_every_order(self, store: AsyncRepository, order: Any, limit: int) -> None:
        """By the time of the last change or of creation, and then by id, either way, on every page; a scope's alone."""
        for number, name in enumerate(("b", "a", "d", "c", "é", "A")):
            await store.create_session(name, user_id="ada" if number % 2 else "bob")
        for name in "cab":
            await store.update_session(name, title="changed")
        await store.update_session("d", metadata={"x": 1}, touch=False)
        everyone = (await store.list_sessions()).items
        name = order.removeprefix("-")
        everyone.sort(key=lambda one: (getattr(one, name), one.session_id), reverse=order.startswith("-"))

        pages = await every_page(store, limit, order=order)
        assert [one.session_id for one in everyone] == [one for page in pages for one in page]
        theirs = await every_page(store.scope(user_id="ada"), limit, order=order)
        assert [one.session_id for one in everyone if one.user_id == "ada"] == [
            one for page in theirs for one in page
        ]
        only = await every_page(store, limit, order=order, metadata={"x": 1})
        assert ["d"] == [one for page in only for one in page]

    async def test_a_cursor_is_for_its_order(self, store: AsyncRepository) -> None:
        """A cursor goes on in the order it was made for, and in no other; no other word is an order."""
        for name in "abc":
            await store.create_session(name)
        cursor = (await store.list_sessions(limit=1, order="created_at")).next_cursor

        assert ["b"] == names((await store.list_sessions(limit=1, order="created_at", cursor=cursor)).items)
        for order in ("-created_at", "updated_at", "-updated_at"):
            with pytest.raises(InvalidCursor):
                await store.list_sessions(limit=1, order=order, cursor=cursor)
        strange: list[Any] = ["", "title", "+updated_at", None, 1]
        for bad in strange:
            with pytest.raises(Invalid):
                await store.list_sessions(order=bad)
