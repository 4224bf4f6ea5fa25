"""A memory block of LlamaIndex that recalls what was said, and what all its models over a repository have in common.

This module knows how such a model is copied and dumped, and which words of a question are looked for.
"""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn, Self

from llama_index.core.base.llms.types import ChatMessage, ContentBlock, TextBlock
from llama_index.core.memory import BaseMemoryBlock
from pydantic import BaseModel, Field, PrivateAttr

from chatstore.aio import AsyncRepository
from chatstore.integrations.llama_messages import ROLES
from chatstore.repository import Repository, check_repository
from chatstore.threads import ThreadedRepository

#: Words that are looked for, and messages that are looked at for each.
_WORDS: Final = 10
_HITS: Final = 50


class Over(BaseModel):
    """A model over a repository, which is no field of it: no dump has it, nor the address and password in it."""

    _store: Any = PrivateAttr()

    def __init__(self, repository: Any, **fields: Any) -> None:
        super().__init__(**fields)
        self._store = check_repository(repository)

    @classmethod
    def class_name(cls) -> str:
        """Return the class's name, as the framework asks its components for it."""
        return cls.__name__

    def __deepcopy__(self, memo: Any = None) -> Self:
        return self.model_copy()  # over the same repository

    def __getstate__(self) -> NoReturn:
        name = type(self).__name__
        msg = f"{name} is not pickled, since its repository is not: make it anew, {name}(repository)"
        raise TypeError(msg)


class Awaited(Over):
    """The same, awaited; a synchronous repository works in threads: the framework's loops end with a single call."""

    _store: AsyncRepository = PrivateAttr()

    def __init__(self, repository: Repository | AsyncRepository, **fields: Any) -> None:
        """Work on *repository*, which may be a scope; nothing is read or written yet."""
        if isinstance(repository, Repository):
            repository = ThreadedRepository(repository)
        super().__init__(repository, **fields)


class ChatstoreMemoryBlock(Awaited, BaseMemoryBlock[list[ContentBlock]]):
    """What was said and is no longer in the active messages, found by full text: nothing has to be added to it.

    It looks in the memory's own session; with *across_sessions*, in all that the repository sees: pass a scope then.
    """

    name: str = Field(default="Recalled", description="The name of the memory block.")
    limit: int = Field(default=5, ge=0, description="How many messages it gives at most.")
    across_sessions: bool = Field(
        default=False, description="Whether it looks in other sessions of the repository, too."
    )

    async def _aget(
        self, messages: list[ChatMessage] | None = None, session_id: str | None = None, **_: Any
    ) -> list[ContentBlock]:
        """Return what says most of the words of the newest question; a word that few messages say counts more."""
        asked = next(
            (one.content for one in reversed(messages or []) if one.role == "user" and one.content), ""
        )
        if not self.across_sessions and session_id is None:
            return []
        known = {one.content for one in messages or []}
        found: dict[tuple[str, str], tuple[float, Any]] = {}
        words = dict.fromkeys(re.findall(r"\w+", asked.casefold()))
        for word in sorted(words, key=len, reverse=True)[:_WORDS]:
            within = None if self.across_sessions else session_id
            hits = await self._store.search(word, session_id=within, limit=_HITS, order="newest")
            for hit in hits:
                at = (hit.session_id, hit.message_id)
                found[at] = (found.get(at, (0.0, hit))[0] + 1 / len(hits), hit)
        best = sorted(found.values(), key=lambda one: (one[0], one[1].created_at), reverse=True)
        chosen = [hit for _, hit in best if hit.content not in known][: self.limit]
        return [TextBlock(text=f"{ROLES.get(hit.type, hit.type)}: {hit.content}") for hit in chosen]

    async def _aput(self, messages: list[ChatMessage]) -> None:
        """Do nothing: what is stored is found as it is."""

    async def atruncate(
        self, content: list[ContentBlock], tokens_to_truncate: int
    ) -> list[ContentBlock] | None:
        """Leave out the messages that say least of it, until about *tokens_to_truncate* are saved."""
        spare = 4 * tokens_to_truncate  # characters
        while content and spare > 0:
            *content, last = content
            spare -= len(last.text)
        return content or None
