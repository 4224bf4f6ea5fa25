"""Threads that carry out blocking calls for a loop: a cancelled call ends at once, and never runs later."""

from __future__ import annotations

import asyncio
from threading import Event

from chatstore.threads import _Workers


def test_a_call_cancelled_before_it_began_is_cancelled() -> None:
    """What waits behind another call ends with CancelledError, and never runs."""

    async def turn() -> list[object]:
        workers, go, ran = _Workers(), Event(), list[object]()
        first = asyncio.create_task(workers.run(go.wait, write=True))
        second = asyncio.create_task(workers.run(lambda: ran.append("ran"), write=True))
        await asyncio.sleep(0)
        second.cancel()
        ended = await asyncio.gather(second, return_exceptions=True)
        go.set()
        await first
        workers.close()
        return [type(ended[0]), *ran]

    assert [asyncio.CancelledError] == asyncio.run(turn())
