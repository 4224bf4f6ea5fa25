"""Which backend a URL or an object means, and how another package brings one: by metadata alone."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from chatstore import connect, connect_async, schemes
from chatstore.errors import ChatstoreError, Invalid, MissingDependency, NotSupported
from chatstore.messages import HumanMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODULE = """
from chatstore.backend import Backend
from chatstore.backends.memory.repository import MemoryRepository

class Client:
    pass

opened = []

def open_(target, schema):
    opened.append((target, schema))
    return MemoryRepository()

BACKEND = Backend(open=open_, clients=(__name__,))
"""


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put a package with an entry point on the path, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(distribution: str, scheme: str, module: str, source: str, value: str = "BACKEND") -> None:
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        about = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{schemes.GROUP}]\n{scheme} = {module}:{value}\n")

    yield put
    schemes._brought.cache_clear()
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_another_package_brings_a_scheme(bring: Callable[..., None]) -> None:
    """Its URLs and its objects are opened by it, blocking and (in threads) awaited; the schema goes with them."""
    bring("chatstore-outside", "outside", "outside_one", MODULE)

    connect("outside://somewhere", schema="chat").close()
    connect("outside+tls://somewhere").close()
    import outside_one  # type: ignore[import-not-found]

    connect(outside_one.Client()).close()

    async def talk() -> Any:
        async with connect_async("outside://somewhere") as repository:
            await repository.add_messages("s", [HumanMessage("Hello!")])
            return await repository.count_messages("s")

    assert 1 == asyncio.run(talk())
    assert ("outside://somewhere", "chat") == outside_one.opened[0]
    assert 4 == len(outside_one.opened)
    assert "outside" == schemes.schemes()[-1]


def test_it_is_loaded_at_its_first_use(bring: Callable[..., None]) -> None:
    """A package that breaks when it is imported harms nobody who does not use it."""
    bring("chatstore-outside", "outside", "outside_two", "raise RuntimeError('imported')\n")

    connect("memory:").close()
    assert "outside" in schemes.schemes()


@pytest.mark.parametrize(
    ("source", "value", "why"),
    [
        ("import no_such_library\n", "BACKEND", "ModuleNotFoundError"),
        ("raise RuntimeError('hunter2')\n", "BACKEND", "RuntimeError"),
        (MODULE, "NOTHING", "AttributeError"),
        (MODULE, "Client", "not a chatstore.backend.Backend"),
    ],
)
def test_a_broken_one_says_whose_it_is(source: str, value: str, why: str, bring: Callable[..., None]) -> None:
    """The error names the package and what to do, and keeps the package's own error as its cause."""
    bring("chatstore-outside", "outside", "outside_three", source, value)

    for made in (connect, connect_async):
        with pytest.raises(MissingDependency, match=re.escape("chatstore-outside 1.0")) as caught:
            made("outside:x")
        assert why in str(caught.value)
        assert "pip uninstall" in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_two_packages_with_one_scheme_are_both_named(bring: Callable[..., None]) -> None:
    """Neither wins by chance."""
    bring("chatstore-outside", "outside", "outside_four", MODULE)
    bring("chatstore-beside", "outside", "outside_five", MODULE)

    with pytest.raises(Invalid, match=r"chatstore-beside 1\.0 and chatstore-outside 1\.0"):
        connect("outside:x")


@pytest.mark.parametrize("scheme", sorted(schemes.BACKENDS))
def test_what_is_ours_cannot_be_replaced(scheme: str, bring: Callable[..., None]) -> None:
    """A package that claims a scheme of ours is not even loaded."""
    bring("chatstore-outside", scheme, "outside_six", "raise AssertionError('it was loaded')\n")

    before = schemes.backend_of(f"{scheme}:x")

    assert before is schemes._ours(schemes.BACKENDS[scheme])
    assert len(schemes.BACKENDS) == len(schemes.schemes())


def test_other_dialects_are_sqlalchemys() -> None:
    """A scheme that nobody brings goes to SQL, whose packages have entry points of their own."""
    assert schemes.backend_of("oracle://host/db") is schemes.backend_of("sqlite+aiosqlite:///x.db")
    with pytest.raises(
        ChatstoreError,
        match=r"no package and no SQLAlchemy dialect is installed for .nosuch.: .*sqlite:, .*redis:",
    ):
        connect("nosuch://host/db").count_messages("s")


@pytest.mark.parametrize("scheme", sorted(schemes.BACKENDS))
def test_a_record_denies_what_its_repository_denies(scheme: str, tmp_path: Path) -> None:
    """Errors that name who can do more ask the records; these say the same as `capabilities`."""
    urls = {
        "sqlite": "sqlite://",
        "memory": "memory:",
        "file": f"file:{tmp_path}/chats",
        "dynamodb": "dynamodb://eu-central-1/chat",
        "cosmosdb": "cosmosdb://:a2V5@nowhere.invalid/chat/chat",
    }
    url = urls.get(scheme, f"{scheme}://nowhere.invalid/0")
    with connect(url) as repository:
        assert schemes.backend_of(url).denied == repository.capabilities.denied


def test_who_can_search_is_named_by_the_one_that_cannot() -> None:
    """The list is made of the records, so that it has Redis in it and none that cannot."""
    with connect("dynamodb://eu-central-1/chat") as repository, pytest.raises(NotSupported) as caught:
        repository.search("oil")

    named = re.findall(r"([a-z]+):", str(caught.value).partition("(")[2])
    assert sorted(schemes.BACKENDS.keys() - {"dynamodb", "cosmosdb"}) == sorted(named)
