"""What the SDK hears from its command, without the command: a transport that sends lines of a transcript."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from claude_agent_sdk import ClaudeAgentOptions, Transport, query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SESSION = "5a8e2b06-9f5d-4a53-8f0b-0d8f3e7f2c11"


class Cli(Transport):
    """What the SDK hears from its command: lines of a transcript, and the result that ends a turn."""

    def __init__(self, project: str, frames: list[list[Any]]) -> None:
        """Send the lines in *frames*, of a transcript of *project*."""
        self.project = project
        self.frames = frames
        self.asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def connect(self) -> None:
        """Do nothing: nobody is there."""

    async def write(self, data: str) -> None:
        """Take what the SDK says."""
        await self.asked.put(json.loads(data))

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Answer the handshake, then send everything."""
        while (asked := await self.asked.get())["type"] != "control_request":
            pass
        done = {"subtype": "success", "request_id": asked["request_id"], "response": {}}
        yield {"type": "control_response", "response": done}
        root = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "projects" / self.project / f"{SESSION}.jsonl"
        for entries in self.frames:
            yield {"type": "transcript_mirror", "filePath": str(root), "entries": entries}
            await asyncio.sleep(0)
        yield {
            "type": "result",
            "subtype": "success",
            "duration_ms": 1,
            "duration_api_ms": 1,
            "is_error": False,
            "num_turns": 1,
            "session_id": SESSION,
        }

    async def close(self) -> None:
        """Do nothing."""

    def is_ready(self) -> bool:
        """Say yes."""
        return True

    async def end_input(self) -> None:
        """Do nothing."""


async def converse(
    store: Any, project: str, frames: list[list[Any]], flush: Literal["eager", "batched"]
) -> list[Any]:
    """Let the SDK run a turn whose lines come in *frames*."""
    options = ClaudeAgentOptions(session_store=store, session_store_flush=flush)
    return [message async for message in query(prompt="Hi", options=options, transport=Cli(project, frames))]
