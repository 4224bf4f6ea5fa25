"""What docs/how-to/operate.md says of other parts is so."""

from __future__ import annotations

import re

import pytest

from tests.operate.clusters import PAGE
from tests.snippets import ROOT


def rows(heading: str) -> list[str]:
    """Return the first column of the table below a heading of the page."""
    below = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line.split("|")[1].strip() for line in below.splitlines() if line.startswith("|")][2:]


def spoken(words: str) -> bool:
    """Tell whether some string of the package has these words."""
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "chatstore").rglob("*.py"))
    return any(words in re.sub(r'"\s+f?"', "", text) for text in sources)


@pytest.mark.parametrize("words", rows("What doctor says"))
def test_what_doctor_is_said_to_say_it_says(words: str) -> None:
    """Each line of the table quotes the package."""
    assert spoken(words)


def test_words_that_nobody_says_would_be_found() -> None:
    """The table has lines, and an invented one is told from them."""
    assert len(rows("What doctor says")) > 8
    assert not spoken("the moon is not as this release expects it")
