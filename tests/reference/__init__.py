"""The pages of docs/reference that are written from the code: `python -m tests.reference` writes them anew.

Knows which pages there are. `api`, `errors` and `schema` write one each, and know nothing of files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference import api, errors, schema
from tests.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = ROOT / "docs" / "reference"
PAGES: dict[str, Callable[[], str]] = {"api.md": api.page, "errors.md": errors.page, "schema.md": schema.page}


def write() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
