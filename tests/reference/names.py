"""The table in chatstore/__init__.py that says where each public name is defined.

It is written from the imports that type checkers read in the same file, so that a new public name is one line there.
"""

from __future__ import annotations

import ast
import re

from tests.snippets import ROOT

_TABLE = re.compile(r"(?<=^_HOMES = \{\n).*?(?=^\}\n)", re.MULTILINE | re.DOTALL)


def page() -> str:
    """Return the module with its table made anew."""
    return with_table((ROOT / "chatstore" / "__init__.py").read_text(encoding="utf-8"))


def with_table(source: str) -> str:
    """Return *source* with the table that its imports below TYPE_CHECKING make."""
    (checked,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    lines = [
        f'    "{alias.name}": "{(node.module or "").removeprefix("chatstore.")}",\n'
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    return _TABLE.sub("".join(lines), source)
