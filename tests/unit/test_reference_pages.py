"""What is written from the code, pages and the asynchronous repository, says what the code says now."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, inspect

import chatstore
from chatstore import errors
from chatstore.backends.sql.migrations import upgrade
from chatstore.repository import Repository
from tests.reference import FILES, aio, api, examples, schema
from tests.reference import errors as errors_page
from tests.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable


def headings(page: str) -> set[str]:
    """Return the names that the headings of a page give."""
    return set(re.findall(r"^#+ (?:View )?`([\w.]+)`$", page, re.MULTILINE))


@pytest.mark.parametrize(("name", "page"), FILES.items())
def test_the_file_is_current(name: str, page: Callable[[], str]) -> None:
    """What is committed is what the code writes; if it is not: python -m tests.reference."""
    assert page().splitlines() == (ROOT / name).read_text(encoding="utf-8").splitlines()


def test_every_public_name_is_described() -> None:
    """The page has a heading for each name of the package and for each method of a repository."""
    elsewhere = {"__version__", *(name for name, home in chatstore._HOMES.items() if home == "errors")}
    public = set(chatstore.__all__) - elsewhere  # errors have a page of their own
    methods = {name for name in dir(Repository) if not name.startswith("_")}

    assert set() == (public | methods) - headings(api.page())


def test_every_method_is_shown_in_use() -> None:
    """Each public method of a repository has an example, and no example is of something that is gone."""
    methods = {name for name in dir(Repository) if not name.startswith("_")}

    assert set() == methods - set(examples.EXAMPLES)
    assert set() == set(examples.EXAMPLES) - headings(api.page())


def test_every_error_is_described() -> None:
    """The page of errors has a heading for each class of the tree, and no other."""
    classes = (one for one in vars(errors).values() if isinstance(one, type))
    tree = {one.__name__ for one in classes if issubclass(one, errors.ChatstoreError)}

    assert tree == headings(errors_page.page())


def test_the_views_have_the_columns_that_the_page_names(sqlite_url: str) -> None:
    """Not every database keeps comments of a view: the columns that are described are those of a migrated one."""
    upgrade(sqlite_url)
    engine = create_engine(sqlite_url)
    inspector = inspect(engine)
    found = {
        view: [one["name"] for one in inspector.get_columns(view)] for view in inspector.get_view_names()
    }
    engine.dispose()

    assert found == {view: list(columns) for view, (_, columns) in schema.VIEWS.items()}


PLANTED = '''
class Repository(Facade):
    """Words."""

    def get(self, key: str) -> str:
        """Return what `get` returns."""
        return self._run(self._core.get, key)

    def walk(self) -> Iterator[str]:
        """Yield it all."""
        part = [self.get("a")]
        yield from part

    @abstractmethod
    def _run(self, operation, /, *args):
        """Run it."""

    @abstractmethod
    def _asynchronous(self) -> AsyncRepository:
        """Return the twin."""

    # what `with` calls

    def __enter__(self) -> Self:
        return self
'''
AWAITED = '''    async def get(self, key: str) -> str:
        """Return what `get` returns."""
        return await self._run(self._core.get, key)

    async def walk(self) -> AsyncIterator[str]:
        """Yield it all."""
        part = [await self.get("a")]
        for record in part:
            yield record

    @abstractmethod
    async def _run(self, operation, /, *args):
        """Run it."""

    # what `with` calls

    async def __aenter__(self) -> Self:
        return self
'''


def test_the_methods_of_a_class_are_awaited() -> None:
    """Each method becomes a coroutine that awaits the class's own methods; words and comments stay."""
    (shared,) = ast.parse(PLANTED).body
    assert isinstance(shared, ast.ClassDef)
    assert aio.awaited(PLANTED, shared) == AWAITED
