"""Answers that stream on bad days: storage that is away, too small or closed, tasks that end, handles that are lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from chatstore import HumanMessage, answers, connect, connect_async
from chatstore.contract import WriteAnswer
from chatstore.errors import Invalid, MessageTooLarge, NotSupported, StorageError, StorageUnavailable
from tests.forked import in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chatstore.answers import StreamingAnswer
    from chatstore.repository import Repository

QUESTION = HumanMessage("Where to?")


class Trouble:
    """Stands in the place of an operation that writes answers, and raises on demand."""

    def __init__(self, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand in front of the operation of *repository*."""
        self.error: Exception | None = None
        self.too_long: int | None = None
        self.seen: list[Any] = []
        core = repository._core
        monkeypatch.setattr(core, "update_message", self._over(core.update_message), raising=False)

    def _over(self, operation: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def write(call: Any) -> Any:
            assert isinstance(call, WriteAnswer)
            self.seen.append(call.draft)
            if self.error is not None:
                raise self.error
            if self.too_long is not None and len(call.draft.content) > self.too_long:
                raise MessageTooLarge(
                    "too long: shorten it", limit=self.too_long, size=len(call.draft.content)
                )
            return operation(call)

        return write


def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_storage_that_is_away_for_a_while_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream goes on; what came meanwhile is stored as soon as it can be."""
    repository = connect("memory:")
    trouble = Trouble(repository, monkeypatch)
    with repository.begin_answer("s", [QUESTION]) as answer:
        trouble.error = StorageUnavailable("away: try again")
        answer.append("To ")
        until(lambda: len(trouble.seen) >= 2)
        answer.append("the ")
        trouble.error = None
        until(lambda: repository.get_messages("s", last=1)[0].text == "To the ")
        answer.append("sea.")
    assert "To the sea." == repository.get_messages("s", last=1)[0].text


def test_end_that_cannot_be_stored_is_an_error_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """`finish` raises what went wrong; called again when the storage is back, it stores all of it."""
    repository = connect("memory:")
    trouble = Trouble(repository, monkeypatch)
    answer = repository.begin_answer("s", [QUESTION])
    answer.append("To the sea.")
    trouble.error = StorageUnavailable("away: try again")
    with pytest.raises(StorageUnavailable):
        answer.finish(finish_reason="stop")
    assert ("streaming", "To the sea.") == (answer.state, answer.text)
    trouble.error = None
    assert ("complete", "stop") == answer.finish(finish_reason="stop")[6:]


def test_error_of_the_block_is_not_hidden_by_that_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What left the block goes on, with a note that the end is not stored."""
    repository = connect("memory:")
    trouble = Trouble(repository, monkeypatch)
    answer = repository.begin_answer("s", [QUESTION])
    answer.append("To the sea.")
    trouble.error = StorageUnavailable("away: try again")
    with pytest.raises(KeyError) as caught, answer:
        raise KeyError
    assert [f"the end of the streamed answer {answer.message_id!r} is not stored (StorageUnavailable)"] == (
        caught.value.__notes__
    )


def test_storage_that_refuses_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot pass (a database that is read-only now) is raised at the next word, as it is."""
    repository = connect("memory:")
    trouble = Trouble(repository, monkeypatch)
    trouble.error = StorageError("read-only: make it writable")
    answer = repository.begin_answer("s")
    answer.append("To ")
    until(lambda: answer.state == "incomplete")
    with pytest.raises(StorageError, match="read-only"), answer:
        answer.append("the ")
    assert 1 == len(trouble.seen)


def test_answer_that_gets_too_long_keeps_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fitted stays, and is marked; the caller is told by the storage's own error."""
    repository = connect("memory:")
    trouble = Trouble(repository, monkeypatch)
    trouble.too_long = 10
    answer = repository.begin_answer("s")
    answer.append("To ")
    until(lambda: repository.get_messages("s")[0].text == "To ")
    answer.append("the sea, and on.")
    until(lambda: answer.state == "incomplete")
    with pytest.raises(MessageTooLarge), answer:
        answer.append("more")
    record = repository.get_records("s")[0]
    assert ("To ", "incomplete", "error") == (record.message.text, record.state, record.finish_reason)


def test_writer_without_news_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that thinks for long does not look like a dead process."""
    monkeypatch.setattr(answers, "HEARTBEAT_SECONDS", 0.1)
    repository = connect("memory:")
    with repository.begin_answer("s") as answer:
        first = repository.get_message("s", 1).updated_at
        until(lambda: repository.get_message("s", 1).updated_at != first)
        assert "" == answer.text


def test_answer_that_nobody_holds_ends() -> None:
    """Whoever forgets an answer leaves its text, marked, and no thread."""
    repository = connect("memory:")
    answer = repository.begin_answer("s")
    answer.append("To the")
    thread = answer._thread
    assert thread is not None
    del answer
    gc.collect()
    thread.join(20)
    record = repository.get_records("s")[0]
    assert ("To the", "incomplete", "dropped") == (record.message.text, record.state, record.finish_reason)


def test_nothing_streams_inside_a_callers_transaction(tmp_path: Path) -> None:
    """A transaction ends when its owner likes, not when an answer does."""
    from sqlalchemy import create_engine

    url = f"sqlite:///{tmp_path}/chat.db"
    with connect(url) as repository:
        repository.count_messages("s")
        engine = create_engine(url)
        with (
            engine.connect() as connection,
            pytest.raises(NotSupported, match="begin it on the repository itself"),
        ):
            repository.using(connection).begin_answer("s", [QUESTION])
        engine.dispose()
        assert 0 == repository.count_messages("s")


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("scheme", ["memory", "sqlite", "file"])
def test_cancelled_task_leaves_its_text(scheme: str, times: int, tmp_path: Path) -> None:
    """However often a task is cancelled, the last write is done, and then the task is cancelled."""
    url = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/chat.db", "file": f"file:{tmp_path}/chats"}

    async def main() -> None:
        async with connect_async(url[scheme]) as repository:
            began = asyncio.Event()

            async def chat() -> None:
                async with repository.begin_answer("s", [QUESTION]) as answer:
                    answer.append("To the")
                    began.set()
                    await asyncio.sleep(60)

            task = asyncio.create_task(chat())
            await began.wait()
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
            record = await repository.get_message("s", 2)
            assert ("To the", "incomplete", "cancelled") == (
                record.message.text,
                record.state,
                record.finish_reason,
            )

    asyncio.run(main())


@pytest.mark.parametrize("delay", range(12))
def test_task_cancelled_while_it_begins_leaves_nothing_streaming(delay: int, tmp_path: Path) -> None:
    """Question and placeholder are stored or not; what is stored is not left streaming."""

    async def main() -> None:
        async with connect_async(f"sqlite:///{tmp_path}/chat.db") as repository:
            await repository.count_messages("s")

            async def begin() -> None:
                await repository.begin_answer("s", [QUESTION])
                await asyncio.sleep(60)

            task = asyncio.create_task(begin())
            await asyncio.sleep(delay / 2000)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            gc.collect()
            end = time.monotonic() + 20
            while any(record.state == "streaming" for record in await repository.get_records("s")):
                assert time.monotonic() < end
                await asyncio.sleep(0.02)
            assert await repository.count_messages("s") in {0, 2}

    asyncio.run(main())


def test_loop_that_stops_leaves_no_answer_unmarked(tmp_path: Path) -> None:
    """`asyncio.run` cancels every task at its end, the writer's, too: the text is stored all the same."""
    held: list[object] = []  # a task that nobody holds may be collected

    async def main() -> None:
        repository = connect_async(f"sqlite:///{tmp_path}/chat.db")
        began = asyncio.Event()

        async def chat() -> None:
            async with repository.begin_answer("s", [QUESTION]) as answer:
                answer.append("To the")
                began.set()
                await asyncio.sleep(60)

        held.append(asyncio.create_task(chat()))
        await began.wait()

    asyncio.run(main())
    with connect(f"sqlite:///{tmp_path}/chat.db") as repository:
        record = repository.get_message("s", 2)
    assert ("To the", "incomplete", "cancelled") == (record.message.text, record.state, record.finish_reason)


# ------------------------------------------------------------------------------------------------ forks


@pytest.mark.parametrize("leaves", ["as planned", "by an exception", "by letting go"])
@pytest.mark.parametrize("url", ["sqlite", "file"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_end_the_answer(url: str, leaves: str, tmp_path: Path) -> None:
    """Its copy stores nothing and says so; the parent goes on, and what it appends before and after is stored."""
    with connect(f"sqlite:///{tmp_path}/a.db" if url == "sqlite" else f"file:{tmp_path}/a") as repository:
        handles = [repository.begin_answer("s", [QUESTION])]
        handles[0].append("To ")

        def leave() -> str:
            answer = handles.pop()
            if leaves != "by letting go":
                with contextlib.suppress(SystemExit), answer:
                    if leaves == "by an exception":
                        raise SystemExit
            del answer
            gc.collect()
            return "left"

        assert "left" == in_child(leave)
        for word, given in {"append": ["x"], "stop": ["x"], "finish": []}.items():
            said = in_child(partial(_refused, handles[0], word, *given))
            assert "belongs to the process that began it" in said
        handles[0].append("the sea.")
        assert "complete" == handles[0].finish(finish_reason="stop").state
        assert "To the sea." == repository.get_messages("s", last=1)[0].text


def _refused(answer: StreamingAnswer, word: str, *given: str) -> str:
    with pytest.raises(Invalid) as refused:
        getattr(answer, word)(*given)
    return str(refused.value)
