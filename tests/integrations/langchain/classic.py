"""LangChain's chains and memories, from wherever the installed release keeps them, and models without a network."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel

_PACKAGE = "langchain_classic" if importlib.util.find_spec("langchain_classic") else "langchain"
memories: Any = importlib.import_module(f"{_PACKAGE}.memory")
chains: Any = importlib.import_module(f"{_PACKAGE}.chains")

ANSWER = "Hello there! How can I assist you today?"


class WordModel(FakeListLLM):
    """A model with prepared answers, whose tokens are words."""

    def get_num_tokens_from_messages(self, messages: Any, *_: Any, **__: Any) -> int:
        """Count the words."""
        return sum(len(str(message.content).split()) for message in messages)


class ToolModel(GenericFakeChatModel):
    """A chat model with prepared answers that takes tools and does not mind them."""

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        """Ignore them."""
        return self


def conversation(
    history: Any, answers: list[str] | None = None, kind: str = "ConversationBufferMemory", **options: Any
) -> Any:
    """Return the page's chain over *history*."""
    model = WordModel(responses=answers or [ANSWER])
    if kind in {
        "ConversationTokenBufferMemory",
        "ConversationSummaryMemory",
        "ConversationSummaryBufferMemory",
    }:
        options["llm"] = WordModel(responses=["a summary"])
    return chains.ConversationChain(llm=model, memory=getattr(memories, kind)(chat_memory=history, **options))
