"""Cancelled asynchronous appends: stored whole or not at all, and nothing stays checked out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import chatstore
from chatstore import HumanMessage
from tests.reliability.campaign import Campaign
from tests.reliability.places import place

BATCH = 5


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb", "file", "redis"])
def test_a_cancelled_append_is_whole_or_nothing(kind: str) -> None:
    """100 cancellations at random moments: batches are whole or absent, the pool is empty, the store works on."""
    campaign = Campaign(f"cancelled appends, {kind}", 100)
    with place(kind) as url:
        whole, absent = asyncio.run(_cancel(campaign, url))
    campaign.report(whole=whole, absent=absent)


async def _cancel(campaign: Campaign, url: str) -> tuple[int, int]:
    repository: Any = chatstore.connect_async(url)
    whole = absent = 0
    async with repository:
        await repository.count_messages("s")
        for number in campaign.rounds():
            batch = [HumanMessage(f"{number} {step}", id=f"b{number}-{step}") for step in range(BATCH)]
            task = asyncio.create_task(repository.add_messages("s", batch))
            await _moment(campaign, url)  # the moment of the cancellation is what varies
            task.cancel()
            finished = await asyncio.gather(task, return_exceptions=True)
            campaign.done += isinstance(finished[0], asyncio.CancelledError)
            stored = [record.message_id for record in await repository.get_records("s")]
            mine = [name for name in stored if name.startswith(f"b{number}-")]
            assert mine in ([], [message.id for message in batch])
            whole, absent = whole + bool(mine), absent + (not mine)
            assert _checked_out(repository) == 0
    return whole, absent


async def _moment(campaign: Campaign, url: str) -> None:
    """Let some time pass; Redis is done before the loop's clock ticks, so its turns are counted there."""
    if url.startswith("redis"):
        for _ in range(campaign.random.randrange(12)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(campaign.random.uniform(0, 0.002))


def _checked_out(repository: Any) -> int:
    lease = getattr(repository, "_lease", None)
    if lease is None:
        inner = repository._inner
        lease = getattr(inner, "_lease", None)
        return 0 if lease is None else int(lease.lend(inner._user).engine.pool.checkedout())
    lent = lease.lend_awaiting(repository._user)
    if hasattr(lent, "connection_pool"):
        return len(lent.connection_pool._in_use_connections)
    return int(lent.engine.pool.checkedout())
