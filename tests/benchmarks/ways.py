"""How far a message goes through the code, and how much code there is: counted, and the same on every machine."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import chatstore
from chatstore import HumanMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_PACKAGE = Path(chatstore.__file__).parent
#: What stands on the core: contract suite, doors of frameworks, and the viewer.
_ON_TOP = frozenset({"testing", "integrations", "contrib", "viewer"})
#: Lines that the rest was to have at most, set before search, streaming, states and sources were in it.
MOST_LINES = 22_000


class Way(NamedTuple):
    """Calls of the package's own functions, files they are in, and moves from one file to another."""

    calls: int
    files: int
    moves: int


#: What each may be at most, by the scheme of the URL: an append of one message, and a reading of the newest three.
LIMITS = {
    "memory": (Way(25, 8, 15), None),
    "sqlite": (Way(60, 11, 24), Way(30, 10, 16)),
    "file": (Way(70, 14, 36), None),
}


def url_of(kind: str, folder: Path) -> str:
    """Return the URL of a new store of *kind* in *folder*."""
    return {"memory": "memory:", "sqlite": f"sqlite:///{folder}/chat.db", "file": f"file:{folder}/chats"}[
        kind
    ]


def ways(url: str) -> tuple[Way, Way]:
    """Return the ways of an append and of a reading, in a session that is there, of a repository that was used."""
    message = HumanMessage("d")
    with chatstore.connect(url) as repository:
        repository.add_messages("session", [HumanMessage(text) for text in "abc"])

        def append() -> None:
            repository.add_messages("session", [message])

        def read() -> None:
            repository.get_messages("session", last=3)

        append()
        read()
        return _way(append), _way(read)


def _way(call: Callable[[], None]) -> Way:
    files: list[str] = []

    def seen(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(str(_PACKAGE)):
            files.append(name)

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        call()
    finally:
        sys.setprofile(before)
    moves = sum(one != another for one, another in pairwise(files))
    return Way(len(files), len(set(files)), moves)


def lines() -> int:
    """Return how many lines the package has without what stands on the core."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in _modules())


def _modules() -> Iterator[Path]:
    for path in _PACKAGE.rglob("*.py"):
        if path.relative_to(_PACKAGE).parts[0] not in _ON_TOP:
            yield path
