"""The contract of histories: a session of any repository, with the names that LangChain uses."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from chatstore.errors import NotSupported
from chatstore.history import BaseChatMessageHistory, ChatMessageHistory
from chatstore.messages import AIMessage, HumanMessage
from chatstore.repository import Repository
from chatstore.testing.driver import ContractPart, inner
from chatstore.testing.samples import contents, numbered, say, says

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository


def workers() -> int:
    """Count the threads that repositories run in."""
    return sum(thread.name.startswith("chatstore") for thread in threading.enumerate())


class HistoryContract(ContractPart):
    """What holds for histories over this repository."""

    def history(
        self, store: AsyncRepository, session_id: str = "s", last: int | None = None
    ) -> ChatMessageHistory:
        """Return a history that can be used from synchronous code, or skip."""
        repository = inner(store)
        if not isinstance(repository, Repository):
            pytest.skip("an asynchronous repository has no synchronous history")
        return repository.history(session_id, last=last)

    async def test_the_story_of_the_page(self, store: AsyncRepository) -> None:
        """What the user and the model say is there, in order, with LangChain's repr."""
        history = self.history(store)
        history.add_user_message("Hello!")
        history.add_ai_message("Hello there! How can I assist you today?")

        assert [
            HumanMessage(content="Hello!"),
            AIMessage(content="Hello there! How can I assist you today?"),
        ] == history.messages
        assert (
            "[HumanMessage(content='Hello!', additional_kwargs={}, example=False), "
            "AIMessage(content='Hello there! How can I assist you today?', additional_kwargs={}, example=False)]"
        ) == repr(history.messages)
        assert ["Hello!", "Hello there! How can I assist you today?"] == contents(
            await store.get_messages("s")
        )

    async def test_many_histories_share_one_twin(self, store: AsyncRepository) -> None:
        """However many histories of a repository are awaited, they use the threads of one; the last one ends them."""
        before = workers()
        histories = [self.history(store, f"h{number}") for number in range(6)]
        await histories[0].aadd_messages(says("a"))
        one = workers()
        for history in histories[1:]:
            await history.aadd_messages(says("a"))
        assert one == workers()

        for history in histories[:-1]:
            await history.aclose()
        await histories[-1].aadd_messages(says("b"))
        assert ["a", "b"] == contents(await histories[-1].aget_messages())[-2:]

        await histories[-1].aclose()
        assert before == workers()

    async def test_every_way_to_add(self, store: AsyncRepository) -> None:
        """Texts and messages, one or several."""
        history = self.history(store)
        history.add_user_message(say("a"))
        history.add_ai_message(AIMessage(content="b"))
        history.add_message(say("c"))
        history.add_messages(iter(says("d", "e")))
        history.add_messages([])

        assert ["a", "b", "c", "d", "e"] == contents(history.messages)
        assert ["human", "ai", "human", "human", "human"] == [message.type for message in history.messages]
        assert "Human: a\nAI: b\nHuman: c\nHuman: d\nHuman: e" == str(history)

    async def test_last_limits_what_is_read(self, store: AsyncRepository) -> None:
        """``last`` limits `messages`, and nothing that is stored."""
        await store.add_messages("s", numbered(5))

        assert ["message 4", "message 5"] == contents(self.history(store, last=2).messages)
        assert [] == self.history(store, last=0).messages
        assert 5 == len(self.history(store).messages)

    async def test_clear(self, store: AsyncRepository) -> None:
        """`clear` empties the session and keeps it."""
        await store.create_session("s", title="kept")
        history = self.history(store)
        history.add_user_message("x")
        history.clear()

        assert [] == history.messages
        assert "kept" == (await store.get_session("s")).title

    async def test_messages_can_be_set(self, store: AsyncRepository) -> None:
        """Assigning to `messages` replaces them all."""
        history = self.history(store)
        history.add_user_message("old")
        history.messages = says("new", "newer")

        assert ["new", "newer"] == contents(history.messages)

    async def test_histories_of_one_session_are_one(self, store: AsyncRepository) -> None:
        """Two histories of one session see the same; two sessions do not."""
        one, two, other = self.history(store), self.history(store), self.history(store, "t")
        one.add_user_message("x")

        assert ["x"] == contents(two.messages)
        assert [] == other.messages
        assert isinstance(one, BaseChatMessageHistory)

    async def test_awaited(self, store: AsyncRepository) -> None:
        """The same history can be awaited: adding, reading and clearing, over either kind of repository."""
        self.need("twin")
        async with inner(store).history("s", last=2) as history:
            await history.aadd_messages(says("a", "b"))
            await history.aadd_messages([say("c")])

            assert ["b", "c"] == contents(await history.aget_messages())
            assert ["a", "b", "c"] == contents(await store.get_messages("s"))
            await history.aclear()
            assert [] == await history.aget_messages()

    async def test_both_ways_of_one_history(self, store: AsyncRepository) -> None:
        """What is added by one way is read by the other."""
        self.need("twin")
        async with self.history(store) as history:
            history.add_user_message("a")
            await history.aadd_messages(says("b"))

            assert ["a", "b"] == contents(history.messages) == contents(await history.aget_messages())

    async def test_closing_a_history_leaves_its_repository_open(self, store: AsyncRepository) -> None:
        """A history that was made over a repository never closes it, in either way of closing."""
        self.need("twin")
        await store.add_messages("s", says("kept"))
        for _ in range(2):
            async with inner(store).history("s") as history:
                assert ["kept"] == contents(await history.aget_messages())
            with inner(store).history("s"):
                pass

        assert ["kept"] == contents(await store.get_messages("s"))

    async def test_an_asynchronous_repository_is_awaited(self, store: AsyncRepository) -> None:
        """Over an asynchronous repository the synchronous names raise `NotSupported`, and store nothing."""
        repository = inner(store)
        if isinstance(repository, Repository):
            pytest.skip("a synchronous repository has a synchronous history")
        history = repository.history("s")
        for call in (lambda: history.messages, history.clear, lambda: history.add_user_message("x")):
            with pytest.raises(NotSupported):
                call()

        assert 0 == await store.count_messages("s")

    async def test_making_a_history_does_nothing(self, store: AsyncRepository) -> None:
        """A history alone reads and writes nothing, and its repr tells no content."""
        await store.add_messages("t", says("secret"))
        history = inner(store).history("s")

        assert ["t"] == [found.session_id for found in (await store.list_sessions()).items]
        assert "secret" not in repr(inner(store).history("t")) + repr(history)
