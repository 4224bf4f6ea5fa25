"""How much of an application is there because of chats."""

from __future__ import annotations

import ast
from typing import Any


def glue(source: str) -> list[str]:
    """Return the lines of an application that are there because of chats: whole statements that name them."""
    lines, found = source.splitlines(), dict[int, str]()
    for node in ast.parse(source).body:
        names = {name for one in ast.walk(node) for name in words(one)}
        if any("chat" in name.lower() for name in names):
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(one.lineno for one in decorators)])
            for number in range(first, (node.end_lineno or first) + 1):
                if lines[number - 1].strip():
                    found[number] = lines[number - 1]
    return list(found.values())


def words(node: ast.AST) -> set[str]:
    """Return the names in one node of a syntax tree, with those of modules and of paths."""
    values: tuple[Any, ...] = tuple(
        getattr(node, name, None) for name in ("id", "attr", "name", "module", "arg")
    )
    if isinstance(node, ast.Constant):
        values = (node.value,)
    return {value for value in values if isinstance(value, str)}
