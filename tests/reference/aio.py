"""Write `chatstore/aio.py`: the methods of `chatstore.repository.Repository`, awaited.

Knows what differs when a method is awaited: ``async``, ``await`` before the repository's own methods, and the names of
iterators and of what ``with`` calls. Everything else, docstrings and comments included, stays as it is.
"""

from __future__ import annotations

import ast
import inspect
import re

from chatstore import repository

HEAD = '''"""`AsyncRepository`: what `chatstore.repository.Repository` is, awaited.

Written by ``python -m tests.reference`` from ``chatstore/repository.py``. Change that file, then run the command.
"""

from __future__ import annotations

'''
CLASS = '''

class AsyncRepository(Facade):
    """Sessions with their messages: every method of `Repository`, awaited.

    Every method may raise `StorageUnavailable` (the storage did not answer or stayed busy), `SchemaError`
    (the database needs `chatstore upgrade`) and, for bad arguments, `Invalid`; bad input changes nothing stored. A call
    that is cancelled is stored whole or not at all.
    """

'''
#: What only the synchronous side has: it makes the other one.
SYNCHRONOUS = {
    "_asynchronous", "_awaiting", "_copied", "_leave_thread", "_lend_twin", "_release_twin", "_twins", "_writes_beside",
}  # fmt: skip
NAMES = {
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "Iterator": "AsyncIterator",
    "StreamingAnswer": "AsyncStreamingAnswer",
}
#: What is called and gives what is awaited then.
CALLED = {"begin_answer"}
#: Functions that wait.
WAITING = {"sleep"}
#: Where the awaited counterparts of some names are.
MODULES = {"sleep": "asyncio", "StreamingAnswer": "chatstore.aio_answers"}


def page() -> str:
    """Return the module."""
    source = inspect.getsource(repository)
    tree = ast.parse(source)
    shared = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Repository")
    body = awaited(source, shared)
    return HEAD + imports(tree, body) + CLASS + body


def awaited(source: str, shared: ast.ClassDef) -> str:
    """Return the body of the class *shared* after its docstring, with every method awaited."""
    methods = [node for node in shared.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    dropped = {
        number
        for node in methods
        if node.name in SYNCHRONOUS
        for number in range(begin(node), (node.end_lineno or 0) + 2)
    }
    lines = source.splitlines(keepends=True)
    first = shared.body[0].end_lineno or 0
    kept = [
        line
        for number, line in enumerate(lines[first : shared.end_lineno], first + 1)
        if number not in dropped
    ]
    names = "|".join(node.name for node in methods if node.name not in SYNCHRONOUS)
    text = "".join(kept).lstrip("\n")
    text = re.sub(rf"^    def (?!{'|'.join(CALLED)})", "    async def ", text, flags=re.MULTILINE)
    text = re.sub(rf"^( +)({'|'.join(WAITING)})\(", r"\1await \2(", text, flags=re.MULTILINE)
    text = re.sub(rf"\bself\.({names})\(", r"await self.\1(", text)
    text = re.sub(
        r"^( +)yield from (\w+)$", r"\1for record in \2:\n\1    yield record", text, flags=re.MULTILINE
    )
    return re.sub(rf"\b({'|'.join(NAMES)})\b", lambda found: NAMES[found[0]], text)


def begin(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the first line of a method, decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def imports(tree: ast.Module, body: str) -> str:
    """Return those imports of `chatstore.repository` that *body* needs."""
    runtime = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    checking = next(node for node in tree.body if isinstance(node, ast.If)).body
    runtime.append(ast.ImportFrom("chatstore.repository", [ast.alias("Facade")], 0))
    lines = [line for node in runtime for line in needed(node, f"{body} Facade() TYPE_CHECKING")]
    typed = [line for node in checking for line in needed(node, body)]
    return "\n".join([*lines, "", "if TYPE_CHECKING:", *(f"    {line}" for line in typed), ""])


def needed(node: ast.stmt, body: str) -> list[str]:
    """Return *node* as an import of those of its names that stand in the code of *body*."""
    if not isinstance(node, ast.ImportFrom) or node.module == "__future__":
        return []
    used: dict[str | None, list[str]] = {}
    for alias in node.names:
        name = NAMES.get(alias.name, alias.name)
        if re.search(rf"(?<![`\w]){name}\b", body):
            used.setdefault(MODULES.get(alias.name, node.module), []).append(name)
    return [f"from {module} import {', '.join(names)}" for module, names in used.items()]
