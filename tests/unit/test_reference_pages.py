"""The pages of docs/reference that are written from the code say what the code says now."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, inspect

import chatstore
from chatstore import errors
from chatstore.backends.sql.migrations import upgrade
from chatstore.repository import Repository
from tests.reference import FOLDER, PAGES, schema

if TYPE_CHECKING:
    from collections.abc import Callable


def headings(page: str) -> set[str]:
    """Return the names that the headings of a page give."""
    return set(re.findall(r"^#+ (?:View )?`([\w.]+)`$", page, re.MULTILINE))


@pytest.mark.parametrize(("name", "page"), PAGES.items())
def test_the_page_is_current(name: str, page: Callable[[], str]) -> None:
    """What is committed is what the code writes; if it is not: python -m tests.reference."""
    assert page().splitlines() == (FOLDER / name).read_text(encoding="utf-8").splitlines()


def test_every_public_name_is_described() -> None:
    """The page has a heading for each name of the package and for each method of a repository."""
    public = {name for name in chatstore.__all__ if name not in {"__version__", "ChatstoreError"}}
    methods = {name for name in dir(Repository) if not name.startswith("_")}

    assert set() == (public | methods) - headings(PAGES["api.md"]())


def test_every_error_is_described() -> None:
    """The page of errors has a heading for each class of the tree, and no other."""
    classes = (one for one in vars(errors).values() if isinstance(one, type))
    tree = {one.__name__ for one in classes if issubclass(one, errors.ChatstoreError)}

    assert tree == headings(PAGES["errors.md"]())


def test_the_views_have_the_columns_that_the_page_names(sqlite_url: str) -> None:
    """Views have no comments to write the page from: their columns are compared with a migrated database."""
    upgrade(sqlite_url)
    engine = create_engine(sqlite_url)
    inspector = inspect(engine)
    found = {
        view: [one["name"] for one in inspector.get_columns(view)] for view in inspector.get_view_names()
    }
    engine.dispose()

    assert found == {view: list(columns) for view, (_, columns) in schema.VIEWS.items()}
