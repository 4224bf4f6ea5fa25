"""Who may import whom: the table of docs/explanation/architecture.md, kept by reading the source.

Imports below `if TYPE_CHECKING` are free. All others count, in functions too and as `import_module("…")`.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chatstore import schemes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
LAYERS = {
    "errors": 0,
    "extras": 0,
    "forks": 0,
    "deadlines": 0,
    "ids": 0,
    "strictjson": 0,
    "records": 0,
    "messages": 0,
    "wire": 0,
    "codec": 0,
    "arguments": 0,
    "paging": 0,
    "contract": 1,
    "driving": 1,
    "backend": 1,
    "provisioning": 1,
    "schemes": 1,
    "failures": 0,
    "overlaps": 0,
    "words": 0,
    "repository": 1,
    "walking": 1,
    "aio": 1,
    "answers": 1,
    "aio_answers": 1,
    "threads": 1,
    "history": 1,
    "backends": 2,
    "connect": 3,
    "histories": 3,
    "incoming": 3,
    "migrations": 3,
    "models": 3,
    "formats": 4,
    "sources": 4,
    "integrations": 4,
    "cli": 5,
    "viewer": 5,
    "contrib": 5,
    "__main__": 5,
}
VALUES, CONTRACT, CONNECT, ADAPTERS, TOP = 0, 1, 3, 4, 5
#: By their folders or modules; what else lies in `backends` is shared by them.
BACKENDS = {place.partition(":")[0].split(".")[2] for place in schemes.BACKENDS.values()}
ALEMBIC_MODULES = ("chatstore.backends.sql.migration", "chatstore.backends.sql.search_objects")
_DOOR = "a public module that only passes names on: who imports it wants them"
ALLOWED = {
    ("chatstore.migrations", "chatstore.backends.sql.migration_host"): _DOOR,
    ("chatstore.migrations", "chatstore.backends.sql.migrations"): _DOOR,
    ("chatstore.models", "chatstore.backends.sql.models"): _DOOR,
    ("chatstore", "chatstore.connect"): "the module has the function's name, and must not hide it",
    (
        "chatstore.history",
        "chatstore.backends.memory.repository",
    ): "a history without arguments has a store of its own",
}
DRIVERS = {
    "aiomysql",
    "aiosqlite",
    "asyncmy",
    "asyncpg",
    "azure",
    "boto3",
    "botocore",
    "psycopg",
    "psycopg2",
    "psycopg_pool",
    "pymysql",
    "redis",
}


class Import(NamedTuple):
    """One import: of what module, and whether it runs when its own module is imported."""

    target: str
    at_import: bool


class Module(NamedTuple):
    """A module by its dotted name, and what it imports."""

    name: str
    imports: list[Import]

    @property
    def part(self) -> str:
        """The piece of chatstore it belongs to: `chatstore.backends.sql.core` is of `backends`."""
        return f"{self.name}.".split(".")[1]


def is_type_checking(node: ast.AST) -> bool:
    """Tell whether *node* is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def walk(node: ast.AST, *, at_import: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Give every node that can run below *node*, and whether it runs at import time."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            for otherwise in getattr(child, "orelse", ()):
                yield otherwise, at_import
                yield from walk(otherwise, at_import=at_import)
            continue
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield child, at_import
        yield from walk(child, at_import=at_import and not later)


def targets(node: ast.AST, package: str, known: set[str]) -> Iterator[str]:
    """Name the modules that *node* imports; names that are no modules stand for the module they come from."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.rsplit(".", node.level - 1)[0] if node.level else ""
        base = ".".join(filter(None, (above, node.module)))
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in known else base
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in {"import_module", "__import__"} and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)


def read(sources: Mapping[str, str]) -> list[Module]:
    """Read *sources*, path below the checkout to text, into modules."""
    names = {path: path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in sources}
    known = set(names.values())
    modules = []
    for path, text in sources.items():
        name = names[path]
        package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        found = [
            Import(target, at_import)
            for node, at_import in walk(ast.parse(text, path))
            for target in targets(node, package, known)
        ]
        modules.append(Module(name, found))
    return modules


def faults(sources: Mapping[str, str]) -> list[str]:
    """Name every import that the table forbids."""
    found = [
        f"{module.name} imports {imported.target}: {why}"
        for module in read(sources)
        for imported in module.imports
        if (why := inside(module, imported) or outside(module, imported))
    ]
    found += [f"{module.name} has no layer" for module in read(sources) if not placed(module)]
    return found + divided_drivers(sources)


def placed(module: Module) -> bool:
    """Tell whether *module* has a place in the table."""
    return module.name.startswith("alembic") or module.part in {"", "testing", *LAYERS}


def inside(module: Module, imported: Import) -> str | None:
    """Say what is wrong with an import of chatstore's own."""
    if imported.target.split(".")[0] != "chatstore" or (module.name, imported.target) in ALLOWED:
        return None
    part = f"{imported.target}.".split(".")[1]
    if module.name.startswith("alembic"):
        fine, why = imported.target.startswith("chatstore.backends.sql"), "migrations know backends/sql only"
    elif module.name == "chatstore":
        fine, why = not imported.at_import, "the package loads its names lazily"
    elif module.part == "testing":
        fine = part == "testing" or LAYERS.get(part, TOP) <= CONTRACT
        why = "the contract suite sees layers 0 and 1"
    else:
        return upward(module, part) or sideways(module, imported, part)
    return None if fine else why


def upward(module: Module, part: str) -> str | None:
    """Say what is wrong with the direction of an import of the piece *part*."""
    mine = LAYERS.get(module.part, TOP)
    if part == "testing":
        return "the contract suite is for tests"
    if not part and mine < TOP:
        return "take a name from the module that defines it"
    if LAYERS.get(part, VALUES) > mine:
        return "it points up"
    return None


def sideways(module: Module, imported: Import, part: str) -> str | None:
    """Say what is wrong with an import that points down or sideways."""
    mine = LAYERS.get(module.part, TOP)
    if mine == CONNECT and part == "backends" and imported.at_import:
        return "name backends at call time"
    if (
        mine == ADAPTERS
        and part != module.part
        and (part == "backends" or LAYERS.get(part, VALUES) >= ADAPTERS)
    ):
        return "adapters know layers 0, 1 and connect"
    if mine == ADAPTERS and part == "histories" and module.part != "integrations":
        return "adapters know layers 0, 1 and connect"
    if module.part == part == "backends":
        own, other = (f"{name}...".split(".")[2] for name in (module.name, imported.target))
        if other in BACKENDS and other != own:
            return "backends do not know each other"
    return None


def outside(module: Module, imported: Import) -> str | None:
    """Say what is wrong with an import of somebody else's."""
    package = imported.target.split(".")[0]
    revision, layer = module.name.startswith("alembic"), LAYERS.get(module.part, TOP)
    if package == "chatstore":
        return None
    if package == "alembic":
        allowed = revision or module.name.startswith(ALEMBIC_MODULES)
        return None if allowed else "only backends/sql/migrations and alembic/ import alembic"
    if module.part == "sources" and package not in sys.stdlib_module_names:
        return foreign_client(module, imported, package)
    if package == "sqlalchemy" and layer < TOP and not module.name.startswith("chatstore.backends.sql"):
        return "only backends/sql imports sqlalchemy"
    if package in DRIVERS and not module.name.startswith("chatstore.backends."):
        return "only backends import drivers"
    plain = package in {*sys.stdlib_module_names, "pydantic", "pydantic_core"}
    fine = plain or layer not in {VALUES, CONTRACT}
    return None if fine else "values and contract need the standard library and pydantic only"


def foreign_client(module: Module, imported: Import, package: str) -> str | None:
    """Say what is wrong with an import of a source: each has one client, at call time; one reads SQL."""
    if imported.at_import:
        return "sources import their clients at call time"
    if package == "sqlalchemy" and module.name != "chatstore.sources.message_store":
        return "only backends/sql and sources/message_store import sqlalchemy"
    return None if package in {*DRIVERS, "sqlalchemy"} else "it is no client of a source"


def divided_drivers(sources: Mapping[str, str]) -> list[str]:
    """Name every driver that more than one module imports; foreign layouts have clients of their own."""
    users: dict[str, set[str]] = {}
    for module in read(sources):
        for imported in module.imports:
            if module.part != "sources" and (package := imported.target.split(".")[0]) in DRIVERS:
                users.setdefault(package, set()).add(module.name)
    return [
        f"{driver} is imported by {', '.join(sorted(who))}" for driver, who in users.items() if len(who) > 1
    ]


def checkout() -> dict[str, str]:
    """Read the project's own source."""
    paths = [*(ROOT / "chatstore").rglob("*.py"), *(ROOT / "alembic").rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}
