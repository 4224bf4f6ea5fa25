"""The frameworks whose doors are tested here: what each is imported as, and what its tests need beside it.

A door's tests lie in a folder that is named like its module in `chatstore.integrations`, or like the command that opens
it; its extra has the same name with hyphens. `every` holds what is tested of all of them alike, by the `driver.py` in
each folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

HERE: Final = Path(__file__).parent
EVERY: Final = "every"


class Framework(NamedTuple):
    """What a framework is imported as, and what its tests need beside its extra."""

    module: str
    beside: tuple[str, ...] = ()


#: By the folder of the tests, which is the door's module.
FRAMEWORKS: Final = {
    "agent_framework": Framework("agent_framework", ("agent-framework-ag-ui",)),
    "ag2": Framework("ag2.history"),
    "chatkit": Framework("chatkit.store"),
    "claude_agent": Framework("claude_agent_sdk"),
    "openai_agents": Framework("agents", ("cryptography", "greenlet")),
    "serve": Framework("openai", ("openai-agents", "httpx")),
    "google_adk": Framework("google.adk", ("greenlet",)),
    "llama_index": Framework("llama_index.core", ("greenlet",)),
    "pydantic_ai": Framework("pydantic_ai", ("ag-ui-protocol", "httpx", "starlette")),
    "strands": Framework("strands.session"),
}


def is_here(name: str) -> bool:
    """Tell whether the framework of the door *name* is installed."""
    try:
        return importlib.util.find_spec(FRAMEWORKS[name].module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def quietly(name: str) -> None:
    """Import the framework of the door *name*, and let it warn of itself: our tests make every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(FRAMEWORKS[name].module)


def extra_of(name: str) -> str:
    """Return the name of the extra that brings the framework of the door *name*."""
    return name.replace("_", "-")


def at_once(driver: Any) -> Callable[[str], list[Any]]:
    """Return what makes the items that a framework stores by one call: a turn, where *driver* says nothing else."""
    made: Callable[[str], list[Any]] = getattr(driver, "at_once", driver.turn)
    return made
