"""The pages of the doors do what they say, as `tests/test_docs.py` proves of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doors.frameworks import FRAMEWORKS, is_here
from tests.snippets import ROOT, Page, blocks, pages

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [page for name in FRAMEWORKS if is_here(name) for page in pages(name)]
#: Lines that the first program of a page may have, and that its change of the framework's own example may add.
LONGEST_PROGRAM, LONGEST_CHANGE = 30, 3


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_does_what_the_page_says(page: Path) -> None:
    """Law: each block runs, and prints what the page says; none but the one that installs packages is excused."""
    with Page() as running:
        running.run(blocks(page))

    assert ["installs packages"] == [block.not_run for block in running.not_run]
    assert running.ran


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_begins_with_little_to_do(page: Path) -> None:
    """Law: at the top stands a change of at most three lines, below it a whole program of at most thirty."""
    change, install, program = blocks(page)[:3]
    added = [line for line in change.text.splitlines() if line.startswith("+")]

    assert ("diff", "sh", "python") == (change.language, install.language, program.language)
    assert len(added) <= LONGEST_CHANGE
    assert [] == [line for line in added if " import " in line and line[1:] not in program.text]
    assert len(program.text.strip().splitlines()) <= LONGEST_PROGRAM


def test_every_framework_has_a_page() -> None:
    """Law: none of the doors is without one."""
    assert [] == [name for name in FRAMEWORKS if not pages(name)]
