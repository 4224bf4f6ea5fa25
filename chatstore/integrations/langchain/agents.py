"""`HistoryMiddleware`: the conversations of `langchain.agents.create_agent` in a repository.

This module knows an agent's hooks; what is stored and what is seeded is decided in
`chatstore.integrations.langchain.state`. It needs the package langchain, 1.0 or later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NotRequired

from chatstore.errors import Invalid, MissingDependency
from chatstore.extras import pip_install
from chatstore.integrations.langchain.history import ChatMessageHistory
from chatstore.integrations.langchain.state import loud, named, seeded, upserted
from chatstore.repository import Repository, check_repository

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState
    from langchain.agents.middleware.types import PrivateStateAttr
    from langgraph.config import get_config
    from langgraph.graph.message import REMOVE_ALL_MESSAGES
except ImportError as error:
    msg = f"agents need LangChain 1.0 or later: {pip_install('langchain>=1')}"
    raise MissingDependency(msg) from error

from langchain_core.messages import RemoveMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from chatstore.aio import AsyncRepository
    from chatstore.integrations.langchain.state import Step


class HistoryState(AgentState):
    """The state of an agent, and what of it is stored: a digest for each message id."""

    chatstore_saved: NotRequired[Annotated[dict[str, str], PrivateStateAttr]]  # type: ignore[valid-type]


class HistoryMiddleware(AgentMiddleware):
    """Keep an agent's conversation in a session, message by message, as it happens.

    At the beginning of a run the session's messages come before the input, in an order that models accept, unless the
    agent's checkpointer remembers the conversation already. Before and after every call of the model new messages are
    appended by their ids, and those that changed are updated: what other middleware refuses or redacts before the
    model is asked is not stored as it was. What the agent forgets (by summarisation, say) the session keeps; summaries
    are not stored. Repeating a run whose input has ids stores nothing twice.
    """

    state_schema = HistoryState

    def __init__(
        self,
        history: Repository | AsyncRepository | Callable[[Any], ChatMessageHistory],
        *,
        last: int | None = None,
        omits: bool = False,
    ) -> None:
        """Keep conversations in a repository, each in the session named like the run's ``thread_id``.

        Or pass a function from the runtime to a `ChatMessageHistory`, for other session ids and for scopes. *last*
        limits the seed to the newest that many messages. Over an `AsyncRepository` the agent is called with
        ``ainvoke`` and ``astream`` only. *omits* leaves out what JSON cannot say, in the artifact of somebody else's
        tool for example, which is an error of the run otherwise.
        """
        super().__init__()
        self._last, self._omits = last, omits
        self._open: Callable[[Any], ChatMessageHistory] = (
            history if callable(history) else _by_thread(check_repository(history))
        )

    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Seed the state."""
        history = self._open(runtime)
        return history._do(self._begun(history.session_id, state))

    async def abefore_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """As `before_agent`."""
        history = self._open(runtime)
        return await history._ado(self._begun(history.session_id, state))

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Store the input and what tools answered: as all other middleware left it, just before the model sees it."""
        history = self._open(request.runtime)
        history._do(self._stored(history.session_id, request.state))
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """As `wrap_model_call`."""
        history = self._open(request.runtime)
        await history._ado(self._stored(history.session_id, request.state))
        return await handler(request)

    def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Store what the model answered."""
        history = self._open(runtime)
        return history._do(self._stored(history.session_id, state))

    async def aafter_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """As `after_model`."""
        history = self._open(runtime)
        return await history._ado(self._stored(history.session_id, state))

    def after_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Store what other middleware made of it."""
        return self.after_model(state, runtime)

    async def aafter_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """As `after_agent`."""
        return await self.aafter_model(state, runtime)

    def _begun(self, session_id: str, state: Any) -> Generator[Step, Any, dict[str, Any] | None]:
        given = [named(message) for message in state["messages"]]
        update: dict[str, Any] = {}
        messages = given
        if "chatstore_saved" not in state:  # else the checkpointer's memory of an earlier run goes on
            messages, saved = yield from seeded(session_id, given, self._last, omits=self._omits)
            update["chatstore_saved"] = saved
        if messages != state["messages"]:
            update["messages"] = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *messages]
        return update or None

    def _stored(self, session_id: str, state: Any) -> Generator[Step, Any, dict[str, Any] | None]:
        saved = state.get("chatstore_saved") or {}
        with loud(session_id, len(state["messages"])):
            now_saved = yield from upserted(session_id, state["messages"], saved, omits=self._omits)
        return None if now_saved == saved else {"chatstore_saved": now_saved}


def _by_thread(store: Repository | AsyncRepository) -> Callable[[Any], ChatMessageHistory]:
    """Return the function that opens the session of a run's thread."""

    def opened(_: Any) -> ChatMessageHistory:
        thread = get_config().get("configurable", {}).get("thread_id")
        if thread is None:
            msg = (
                "the run names no session: pass config={'configurable': {'thread_id': …}}, or a function to "
                "HistoryMiddleware"
            )
            raise Invalid(msg)
        return ChatMessageHistory(store, str(thread))

    return opened
