"""What the tests of the LangChain adapter share: every place, and the framework's own warnings out of the way.

Where langchain-core is not installed nothing is collected here: `tests/integrations/test_langchain_ends.py` makes the
environments, at both ends of the supported versions, and runs this folder in each.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import chatstore
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator


def _major(package: str) -> int | None:
    try:
        return int(version(package).partition(".")[0])
    except PackageNotFoundError:
        return None


HERE = Path(__file__).parent
LANGCHAIN = _major("langchain")
#: Agents, and the pages, are written for LangChain 1; the rest runs at both ends.
NEEDS_1 = ["test_agents.py", "test_openai.py", "test_pages.py", "test_reference.py", "test_turns.py"]
if importlib.util.find_spec("langchain_core") is None:
    collect_ignore_glob = ["*.py"]
else:
    collect_ignore_glob = [] if LANGCHAIN and LANGCHAIN >= 1 else NEEDS_1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let LangChain say that its own classes are deprecated; every other warning stays an error."""
    for item in items:
        if item.path.parent == HERE:
            for kind in ("LangChainDeprecationWarning", "LangChainPendingDeprecationWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::langchain_core._api.deprecation.{kind}"))


PLACES = ("memory", "file", "sqlite", "postgres", "mariadb")


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Give an empty repository of every kind."""
    if request.param in ("memory", "file"):
        with chatstore.connect("memory:" if request.param == "memory" else f"file:{tmp_path}/chats") as made:
            yield made
        return
    with servers.migrated_url(request.param) as url, chatstore.connect(url) as made:
        yield made


@pytest.fixture
def memory() -> Iterator[Any]:
    """Give an empty repository in memory."""
    with chatstore.connect("memory:") as made:
        yield made
