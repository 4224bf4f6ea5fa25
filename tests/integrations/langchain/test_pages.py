"""The pages that need LangChain do what they say, as `tests/test_docs.py` proves of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.snippets import ROOT, Page, blocks, pages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", pages("langchain"), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_does_what_the_page_says(page: Path) -> None:
    """Law: each block runs, and prints what the page says; none but the one that installs packages is excused."""
    with Page() as running:
        running.run(blocks(page))

    assert {"installs packages"} >= {block.not_run for block in running.not_run}
    assert len(running.not_run) <= 1
    assert running.ran > 3
