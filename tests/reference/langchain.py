"""The page of LangChain's adapter, from its docstrings: `python -m tests.reference.langchain`, where LangChain is.

Knows in which order a reader wants the names; how a name is described is in `api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatstore.integrations import langchain
from tests.reference.api import _class, _code, _functions, _listed, _text, signature
from tests.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "reference" / "langchain.md"
INTRODUCTION = """\
# LangChain

<!-- written by `python -m tests.reference.langchain` from the docstrings -->

`chatstore.integrations.langchain` (extra `langchain`), with langchain-core from 0.3 to the current 1.x. How to use
it: [tutorial](../tutorial-langchain.md), [runnables](../how-to/langchain-runnables.md),
[agents](../how-to/langchain-agents.md), [moving over](../how-to/langchain-moving.md). Errors are
[chatstore's](errors.md). The options of `ChatMessageHistory` (`last`, `pinned`, `prunes`, `omits`) are those of
every history here."""
NAMED = (
    "FileChatMessageHistory", "SQLChatMessageHistory", "PostgresChatMessageHistory", "RedisChatMessageHistory",
    "DynamoDBChatMessageHistory", "CosmosDBChatMessageHistory",
)  # fmt: skip


def page() -> str:
    """Return the page."""
    return "\n\n".join(part.strip("\n") for part in _parts()) + "\n"


def _parts() -> Iterator[str]:
    yield INTRODUCTION
    yield "## Histories"
    yield from _class(langchain.ChatMessageHistory)
    yield from _listed(langchain.ChatMessageHistory)
    for name in NAMED:
        yield from _class(getattr(langchain, name))
    yield "## Agents and graphs"
    middleware = langchain.HistoryMiddleware
    yield "### `HistoryMiddleware`"
    yield _code(signature("HistoryMiddleware", middleware.__init__, bound=True, returns=False))
    yield _text(middleware)
    yield _text(middleware.__init__)
    yield from _functions(langchain, ("import_checkpoints", "aimport_checkpoints"))
    yield "## Messages"
    yield from _functions(langchain, ("to_langchain", "from_langchain", "sendable"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
