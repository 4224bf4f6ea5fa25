"""The contract of what a session holds: ids, metadata and times come back equal, or are refused before anything is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.errors import Invalid, InvalidSessionId
from chatstore.testing.driver import ContractPart, collected, offered
from chatstore.testing.samples import BAD_IDS, FUTURE, HOSTILE_IDS, NOT_TEXT, say, says
from chatstore.testing.sessions import FULL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.aio import AsyncRepository
    from chatstore.messages import ChatSession

AHEAD = [
    FUTURE,
    datetime(2124, 10, 27, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]
METADATA: list[dict[str, Any]] = [
    {},
    {"text": "", "null": None, "yes": True, "no": False, "list": [], "object": {}},
    {
        "numbers": [0, -1, 2**31, 2**53, 2**53 + 1, 2**63, 2**64, 10**30],
        "floats": [0.1, 1.5, -2.5e-7, 1e16, 1e23, 5e-324],
    },
    {"unicode": "שלום 🙂 \xe9 e\u0301", "quotes": "'\"\\`", "percent": "%s %(x)s :x ?", "line": "a\nb\tc"},
    {"escaped": "\\u0000 \\ud800 \\\\u0000", "\\u0000": 1},
    {"a.b": 1, "$": 2, "a[0]": 3, "key with 'quotes\"": 4, "\xe9": 5, "e\u0301": 6, "": 7, "A": 8, "a": 9},
]


class SessionValueContract(ContractPart):
    """What holds for the values of a session."""

    @pytest.mark.parametrize("number", range(len(METADATA)))
    async def test_metadata_comes_back_equal(self, store: AsyncRepository, number: int) -> None:
        """A session's metadata comes back equal: any JSON object, numbers of any size included."""
        await store.create_session("s", metadata=METADATA[number])
        assert METADATA[number] == (await store.get_session("s")).metadata

        await store.update_session("s", metadata={"other": 1})
        assert METADATA[number] == (await store.update_session("s", metadata=METADATA[number])).metadata
        assert METADATA[number] == (await store.get_session("s")).metadata

    @pytest.mark.parametrize("moment", AHEAD, ids=str)
    async def test_an_expiry_comes_back_equal(self, store: AsyncRepository, moment: datetime) -> None:
        """A moment comes back to the microsecond, in UTC, whatever its offset was."""
        made = await store.create_session("s", expires_at=moment)
        read = (await store.get_session("s")).expires_at

        assert moment == made.expires_at == read
        assert read is not None
        assert UTC == read.tzinfo

    async def test_hostile_ids_are_all_different(self, store: AsyncRepository) -> None:
        """Ids are equal only byte for byte: case, accents, width, normal form and syntax make other sessions."""
        for name in HOSTILE_IDS:
            await store.add_messages(name, says(name))

        assert HOSTILE_IDS == [(await store.get_messages(name))[0].content for name in HOSTILE_IDS]
        assert [1] * len(HOSTILE_IDS) == [await store.count_messages(name) for name in HOSTILE_IDS]
        assert sorted(HOSTILE_IDS) == sorted(
            item.session_id for item in (await store.list_sessions(limit=1000)).items
        )

        await store.delete_session("A")
        assert (1, 0) == (await store.count_messages("a"), await store.count_messages("A"))

    @pytest.mark.parametrize("what", [*BAD_IDS, *map(repr, NOT_TEXT)])
    async def test_bad_ids_are_refused_everywhere(self, store: AsyncRepository, what: str) -> None:
        """An id that cannot be a session's raises `InvalidSessionId` in every method, and nothing is written."""
        bad: Any = BAD_IDS.get(what, next((value for value in NOT_TEXT if repr(value) == what), ""))
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "create_session": lambda: store.create_session(bad),
            "get_session": lambda: store.get_session(bad),
            "update_session": lambda: store.update_session(bad),
            "delete_session": lambda: store.delete_session(bad),
            "fork_session source": lambda: store.fork_session(bad, "t"),
            "fork_session target": lambda: store.fork_session("s", bad),
            "load_records": lambda: store.load_records(bad, []),
            "add_messages": lambda: store.add_messages(bad, says("x")),
            "add_messages none": lambda: store.add_messages(bad, []),
            "get_messages": lambda: store.get_messages(bad),
            "get_records": lambda: store.get_records(bad),
            "get_message": lambda: store.get_message(bad, 1),
            "update_message": lambda: store.update_message(bad, 1, say("x")),
            "delete_message": lambda: store.delete_message(bad, 1),
            "pop_message": lambda: store.pop_message(bad),
            "count_messages": lambda: store.count_messages(bad),
            "truncate": lambda: store.truncate(bad, after=0),
            "clear": lambda: store.clear(bad),
            "replace_messages": lambda: store.replace_messages(bad, says("x")),
            "iter_records": lambda: collected(store.iter_records(bad)),
        }
        for call in offered(store, calls).values():
            with pytest.raises(InvalidSessionId):
                await call()

        assert [] == (await store.list_sessions()).items

    @pytest.mark.parametrize(
        "wrong",
        [
            {"tenant_id": ""}, {"user_id": " a"}, {"user_id": "a\x00"}, {"tenant_id": 5}, {"user_id": "x" * 256},
            {"title": "nul \x00"}, {"title": "lone \ud800"}, {"title": 5}, {"metadata": {"v": float("nan")}},
            {"metadata": ["x"]}, {"metadata": {1: 2}}, {"metadata": {"v": "\x00"}}, {"metadata": {"\udfff": 1}},
            {"metadata": {"v": b"x"}}, {"expires_at": datetime(2030, 1, 1)}, {"expires_at": "2030-01-01"},  # noqa: DTZ001
            {"expires_at": 5},
        ],
        ids=repr,
    )  # fmt: skip
    async def test_bad_session_data_is_refused(self, store: AsyncRepository, wrong: dict[str, Any]) -> None:
        """What a session cannot hold raises `Invalid` in create and update, and nothing is written."""
        with pytest.raises(Invalid):
            await store.create_session("s", **wrong)
        assert [] == (await store.list_sessions()).items

        made: ChatSession = await store.create_session("s", **FULL)
        with pytest.raises(Invalid):
            await store.update_session("s", **{"title": "unwritten", **wrong})
        assert made == await store.get_session("s")

    @pytest.mark.parametrize(
        "wrong", [{"archived": None}, {"archived": 1}, {"expected_revision": -1}], ids=repr
    )
    async def test_bad_updates_are_refused(self, store: AsyncRepository, wrong: dict[str, Any]) -> None:
        """``archived`` is a bool and a revision a natural number; anything else is `Invalid`."""
        made = await store.create_session("s")

        with pytest.raises(Invalid):
            await store.update_session("s", title="unwritten", **wrong)

        assert made == await store.get_session("s")
