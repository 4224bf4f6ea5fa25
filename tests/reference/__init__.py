"""What `python -m tests.reference` writes from the code: pages of docs/reference, `chatstore/aio.py`, a table.

Knows which files there are. `aio`, `api`, `errors`, `names` and `schema` write one each, and know nothing of files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference import aio, api, errors, names, schema
from tests.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

FILES: dict[str, Callable[[], str]] = {
    "chatstore/__init__.py": names.page,
    "chatstore/aio.py": aio.page,
    "docs/reference/api.md": api.page,
    "docs/reference/errors.md": errors.page,
    "docs/reference/schema.md": schema.page,
}


def write() -> None:
    """Write every file."""
    for name, page in FILES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")
