"""The contract of `usage` and `purge`: what is summed, and what goes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.arguments import USAGE_KEYS, utcnow
from chatstore.errors import Invalid, SessionNotFound
from chatstore.messages import AIMessage, PurgeReport, UsageRow
from chatstore.testing.driver import ContractPart
from chatstore.testing.loading import record
from chatstore.testing.samples import FUTURE, PAST, numbered, says

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.messages import MessageRecord

MIDNIGHT = datetime(2024, 3, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
LAST_DAY, FIRST_DAY = date(2024, 2, 29), date(2024, 3, 1)


def answer(position: int, at: datetime, model: str | None, tokens: tuple[Any, Any] | None) -> MessageRecord:
    """Return the record of a model's answer that cost *tokens* (in and out)."""
    message = AIMessage(content="x")
    if model is not None:
        message.response_metadata = {"model_name": model}
    if tokens is not None:
        message.usage_metadata = {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": 0}
    return record(position, message=message, created_at=at)


async def costly(store: AsyncRepository) -> None:
    """Make two sessions of two users, on both sides of midnight, with two models and without."""
    await store.create_session("a", tenant_id="t", user_id="u")
    await store.create_session("b", user_id="v")
    await store.load_records(
        "a",
        [
            answer(1, MIDNIGHT - TICK, "small", (1, 10)),
            answer(2, MIDNIGHT, "small", (2, 20)),
            answer(3, MIDNIGHT + TICK, "large", (4, 40)),
            answer(4, MIDNIGHT + timedelta(hours=23), None, None),
        ],
    )
    await store.load_records(
        "b", [answer(1, MIDNIGHT, "large", (8, None)), answer(2, MIDNIGHT, "large", ("many", 2**40))]
    )


def row(messages: int, input_tokens: int, output_tokens: int, **keys: Any) -> UsageRow:
    """Return what `usage` should say of one group."""
    return UsageRow(**keys, messages=messages, input_tokens=input_tokens, output_tokens=output_tokens)


class UsageContract(ContractPart):
    """What holds for sums of messages and tokens."""

    async def test_by_day_and_model(self, store: AsyncRepository) -> None:
        """Days are UTC days, None comes last, and rows come in the order of their keys."""
        await costly(store)
        expected = [
            row(1, 1, 10, day=LAST_DAY, model="small"),
            row(3, 12, 40, day=FIRST_DAY, model="large"),
            row(1, 2, 20, day=FIRST_DAY, model="small"),
            row(1, 0, 0, day=FIRST_DAY),
        ]

        assert expected == await store.usage()
        assert expected == await store.usage(by=("day", "model"))
        assert sorted(
            expected, key=lambda found: (found.model is None, found.model, found.day)
        ) == await store.usage(by=["model", "day"])

    async def test_by_everything_else(self, store: AsyncRepository) -> None:
        """Each key alone, none at all and all together: what is not grouped by is None."""
        await costly(store)

        assert [row(6, 15, 70)] == await store.usage(by=())
        assert [row(1, 1, 10, day=LAST_DAY), row(5, 14, 60, day=FIRST_DAY)] == await store.usage(by=("day",))
        assert [row(4, 7, 70, user_id="u"), row(2, 8, 0, user_id="v")] == await store.usage(by=("user_id",))
        assert [row(4, 7, 70, tenant_id="t"), row(2, 8, 0)] == await store.usage(by=("tenant_id",))
        assert [row(4, 7, 70, session_id="a"), row(2, 8, 0, session_id="b")] == await store.usage(
            by=("session_id",)
        )
        assert 5 == len(await store.usage(by=USAGE_KEYS))

    @pytest.mark.parametrize("size", [2, 3])
    async def test_every_combination_sums_to_the_same(self, store: AsyncRepository, size: int) -> None:
        """However it is grouped, the whole is the whole, each group comes once, and the rows are in order."""
        await costly(store)
        for by in permutations(USAGE_KEYS, size):
            rows = await store.usage(by=by)
            keys = [
                tuple((getattr(found, key) is None, getattr(found, key) or "") for key in by)
                for found in rows
            ]
            assert (6, 15, 70) == tuple(
                sum(getattr(found, name) for found in rows)
                for name in ("messages", "input_tokens", "output_tokens")
            )
            assert sorted(set(keys), key=repr) == sorted(keys, key=repr)
            assert [key[0] for key in sorted(keys, key=lambda key: key[0])] == [key[0] for key in keys]

    async def test_filters_of_usage(self, store: AsyncRepository) -> None:
        """Owner and time narrow the sums; ``since`` is inclusive, ``until`` exclusive; a scope counts its own."""
        await costly(store)

        assert [row(4, 7, 70)] == await store.usage(by=(), user_id="u")
        assert [row(4, 7, 70)] == await store.usage(by=(), tenant_id="t", user_id="u")
        assert [] == await store.usage(by=(), tenant_id="t", user_id="v")
        assert [row(5, 14, 60)] == await store.usage(by=(), since=MIDNIGHT)
        assert [row(1, 1, 10)] == await store.usage(by=(), until=MIDNIGHT)
        assert [row(3, 10, 20)] == await store.usage(by=(), since=MIDNIGHT, until=MIDNIGHT + TICK)
        assert [row(2, 8, 0)] == await store.scope(user_id="v").usage(by=())

    async def test_copies_of_a_fork_are_no_usage(self, store: AsyncRepository) -> None:
        """No model was called for what a fork copied, from a fork neither; what is said in it afterwards counts."""
        await costly(store)
        before = await store.usage(by=("session_id", "model"))
        await store.fork_session("a", "f")
        await store.fork_session("a", "g", through=2)
        await store.fork_session("g", "h", through=1)
        await store.fork_session("f", "i", through=0)

        assert before == await store.usage(by=("session_id", "model"))
        assert [row(6, 15, 70)] == await store.usage(by=())

        for fork, place in {"f": 5, "g": 3, "h": 2, "i": 1}.items():
            await store.load_records(fork, [answer(place, MIDNIGHT + TICK, "tiny", (100, 1000))])
        await store.fork_session("h", "j")

        assert [row(4, 400, 4000)] == [
            found._replace(model=None) for found in await store.usage(by=("model",)) if found.model == "tiny"
        ]
        assert {"a": 4, "b": 2, "f": 1, "g": 1, "h": 1, "i": 1} == {
            found.session_id: found.messages for found in await store.usage(by=("session_id",))
        }
        assert [row(5, 404, 4040)] == await store.usage(
            by=(), since=MIDNIGHT + TICK, until=MIDNIGHT + 2 * TICK, user_id="u"
        )

    async def test_a_copy_stays_a_copy(self, store: AsyncRepository) -> None:
        """Whatever becomes of the source, or of the copy: usage is what is stored of each session's own messages."""
        await costly(store)
        await store.fork_session("a", "f")
        await store.fork_session("a", "g", through=3)

        await store.update_message("f", 2, AIMessage(content="edited"))
        await store.delete_message("f", 1)
        assert [row(6, 15, 70)] == await store.usage(by=())

        await store.truncate("a", after=2)
        assert [row(4, 11, 30)] == await store.usage(by=())

        await store.delete_session("a")
        assert [row(2, 8, 0, session_id="b")] == await store.usage(by=("session_id",))

        await store.replace_messages("g", numbered(2))
        assert [row(2, 8, 0, session_id="b"), row(2, 0, 0, session_id="g")] == await store.usage(
            by=("session_id",)
        )

    async def test_loaded_records_are_usage(self, store: AsyncRepository) -> None:
        """Records that were loaded from elsewhere are no copies of a fork: they count where they are."""
        await costly(store)
        await store.load_records("c", [found async for found in store.iter_records("b")])

        assert {"a": 7, "b": 8, "c": 8} == {
            found.session_id: found.input_tokens for found in await store.usage(by=("session_id",))
        }

    async def test_nothing_to_sum(self, store: AsyncRepository) -> None:
        """Without messages there are no rows."""
        await store.create_session("s")

        assert [] == await store.usage()
        assert [] == await store.usage(by=())

    @pytest.mark.parametrize(
        "wrong",
        [
            {"by": "day"}, {"by": ("week",)}, {"by": ("day", "day")}, {"by": ("day; DROP TABLE x",)}, {"user_id": ""},
            {"tenant_id": 5}, {"since": datetime(2024, 1, 1)}, {"until": "2024"},  # noqa: DTZ001
        ],
        ids=repr,
    )  # fmt: skip
    async def test_bad_filters_of_usage_are_refused(
        self, store: AsyncRepository, wrong: dict[str, Any]
    ) -> None:
        """An unknown key, the same one twice or a wrong value raises `Invalid`."""
        with pytest.raises(Invalid):
            await store.usage(**wrong)


class PurgeContract(ContractPart):
    """What holds for `purge`."""

    @staticmethod
    async def _sessions(store: AsyncRepository) -> datetime:
        """Make sessions: old ones (o…) and new ones (n…), archived (.a), expired (.x) or both; return when new began."""
        for age in "on":
            if age == "n":
                border = utcnow()
            for state in ("", "a", "x", "ax"):
                await store.add_messages(age + state, numbered(2))
                if "a" in state:
                    await store.update_session(age + state, archived=True)
                if "x" in state:
                    await store.update_session(age + state, expires_at=PAST)
        return border

    @pytest.mark.parametrize(
        ("conditions", "gone"),
        [
            ({}, "ox oax nx nax"),
            ({"expired_only": True}, "ox oax nx nax"),
            ({"archived_only": True}, "oa oax na nax"),
            ({"updated_before": "border"}, "o oa ox oax"),
            ({"updated_before": "border", "archived_only": True}, "oa oax"),
            ({"updated_before": "border", "expired_only": True}, "ox oax"),
            ({"updated_before": "border", "expired_only": False}, "o oa ox oax"),
            ({"archived_only": True, "expired_only": True}, "oax nax"),
            ({"archived_only": True, "expired_only": True, "updated_before": "border"}, "oax"),
        ],
        ids=repr,
    )
    async def test_conditions_join_with_and(
        self, store: AsyncRepository, conditions: dict[str, Any], gone: str
    ) -> None:
        """What goes meets every condition; without one, only expired sessions go; a dry run counts the same."""
        border = await self._sessions(store)
        given: dict[str, Any] = {
            name: border if value == "border" else value for name, value in conditions.items()
        }
        count = len(gone.split())

        dry = await store.purge(**given, dry_run=True)
        wet = await store.purge(**given)

        assert PurgeReport(count, 2 * count, dry_run=True) == dry
        assert PurgeReport(count, 2 * count, dry_run=False) == wet
        assert PurgeReport(0, 0) == await store.purge(**given)
        everyone = {age + state for age in "on" for state in ("", "a", "x", "ax")}
        left = {found.session_id for found in (await store.list_sessions(archived=None)).items}
        assert {name for name in everyone - set(gone.split()) if "x" not in name} == left
        rest = await store.purge(updated_before=FUTURE, dry_run=True)
        assert (8 - count, 2 * (8 - count)) == (rest.sessions, rest.messages)

    async def test_a_dry_run_deletes_nothing(self, store: AsyncRepository) -> None:
        """``dry_run`` only counts."""
        await store.add_messages("s", says("x"))
        before = await store.get_session("s")

        assert PurgeReport(1, 1, dry_run=True) == await store.purge(updated_before=FUTURE, dry_run=True)

        assert before == await store.get_session("s")
        assert 1 == await store.count_messages("s")

    async def test_updated_before_is_exclusive(self, store: AsyncRepository) -> None:
        """A session that changed at that very microsecond stays."""
        await store.add_messages("s", says("x"))
        moment = (await store.get_session("s")).updated_at

        assert 0 == (await store.purge(updated_before=moment)).sessions
        assert 1 == (await store.purge(updated_before=moment + TICK)).sessions
        with pytest.raises(SessionNotFound):
            await store.get_session("s")

    async def test_many_sessions_go(self, store: AsyncRepository) -> None:
        """A purge has no limit."""
        for number in range(60):
            await store.add_messages(f"s{number}", says("x"))

        assert PurgeReport(60, 60) == await store.purge(updated_before=FUTURE)
        assert [] == (await store.list_sessions()).items

    @pytest.mark.parametrize(
        "wrong",
        [{"expired_only": False}, {"updated_before": datetime(2024, 1, 1)}, {"updated_before": "2024"}],  # noqa: DTZ001
        ids=repr,
    )
    async def test_bad_conditions_are_refused(self, store: AsyncRepository, wrong: dict[str, Any]) -> None:
        """A naive time, or no condition at all spelled out, raises `Invalid` and deletes nothing."""
        await store.add_messages("s", says("x"))

        with pytest.raises(Invalid):
            await store.purge(**wrong)

        assert 1 == await store.count_messages("s")
