"""Read the fenced blocks of a page of documentation, and run them in order.

Knows what each kind of block means; knows nothing of which pages there are, nor of pytest.

    ```python   runs in the page's one namespace, `await` allowed; a block that begins with `# name.py` is
                written to that file and can be imported (a `settings.py` sets Django up); it does nothing to
                later blocks unless they import it
    ```sh       runs in the page's folder, in bash, with this checkout's `chatstore` on PATH; exports last
    ```sql      runs on the sample conversations, in SQLite, PostgreSQL and MariaDB, and is rolled back
    ```json ```toml   must parse
    ```diff     is what to change in a program of the reader's: it is not run, and a page may begin with it
    ```text     is what the block before it prints, `…` standing for anything

`<!-- not run: reason -->` on the line before a fence excuses one block. `<!-- only: postgresql -->` runs an
SQL block on that database alone. `<!-- needs: langchain -->` as a page's first line says that it runs where
that framework is installed, by `tests/integrations/langchain/test_pages.py` or `tests/doors/every/test_pages.py`.

A URL like `postgresql://app:secret@localhost/app` (or mysql:, mariadb:) stands for a fresh database of the tests,
`redis://localhost:6379` for a Redis server of the page's own, one like `dynamodb://eu-central-1/chat` for a table that
is not made yet, `cosmosdb://:key@my-account.documents.azure.com` and a connection string for an account without a
database.
"""

from __future__ import annotations

import ast
import codeop
import contextlib
import json
import os
import re
import sys
import tempfile
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from tests import cosmos, dynamo, redis_servers, servers
from tests.snippet_hosts import Interpreter, Shell, query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^(?P<indent>[ ]*)(?P<mark>`{3,}|~{3,})[ ]*(?P<language>[\w+-]*)")
COMMENT = re.compile(r"^\s*<!--\s*(?P<word>not run|only):\s*(?P<rest>.*?)\s*-->\s*$")
ADDRESS = re.compile(
    r"\b(?P<scheme>(?P<family>postgres(?:ql)?|mysql|mariadb)(?:\+\w+)?)://[^\s\"'`/@]*@localhost(?::\d+)?/(?P<name>\w+)"
)
REDIS = re.compile(r"\bredis://localhost:6379\b")
TABLE = re.compile(r"\bdynamodb://[\w-]+/(?P<name>[\w.-]+)(?:\?endpoint_url=[^\s\"'`]+)?")
COSMOS = re.compile(
    r"cosmosdb://(?::[^@\s]*@)?my-account\.documents\.azure\.com"
    r"|(?P<text>AccountEndpoint=https://my-account\.[^;]*;AccountKey=[^;]*)"
)
DATABASES = ("sqlite", "postgres", "mariadb")
SHOWS_OUTPUT = {"python", "sh", "sql"}


class Wrong(AssertionError):
    """A block of the documentation that does not do what the page says; names page and line."""


class Block(NamedTuple):
    """One fenced block: where it stands, in what language, and whether a comment excuses or restricts it."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None
    only: str | None = None

    def wrong(self, why: str) -> Wrong:
        """Say that this block is wrong."""
        return Wrong(f"{self.page.name}:{self.line}: {self.language or 'a'} block: {why}")


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of *page*, in order; Wrong for a fence that is never closed."""
    lines, found, at = page.read_text(encoding="utf-8").splitlines(), [], 0
    while at < len(lines):
        if not (fence := FENCE.match(lines[at])):
            at += 1
            continue
        start, inner = at + 1, at + 1
        while inner < len(lines) and lines[inner].strip() != fence["mark"]:
            inner += 1
        words = comment(lines[at - 1]) if at else {}
        text = textwrap.dedent("\n".join(lines[start:inner]) + "\n")
        block = Block(page, start, fence["language"], text, words.get("not run"), words.get("only"))
        if inner == len(lines):
            raise block.wrong("it is never closed")
        if block.not_run == "":
            raise block.wrong("it is not run; say why: <!-- not run: reason -->")
        found.append(block)
        at = inner + 1
    return found


def comment(line: str) -> dict[str, str]:
    """Read the comment that stands before a fence."""
    found = COMMENT.match(line)
    return {found["word"]: found["rest"]} if found else {}


def needs(page: Path) -> str | None:
    """Return the framework in whose environment *page* runs; None for a page that runs everywhere."""
    first = page.read_text(encoding="utf-8").partition("\n")[0]
    found = re.fullmatch(r"<!-- needs: (\w+) -->", first)
    return found[1] if found else None


def pages(framework: str | None = None) -> list[Path]:
    """Return the README and the pages below docs/ that need *framework*."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if needs(page) == framework]


def install_line(page: Path) -> str:
    """Return the command that *page* begins with, which installs what its other blocks need; Wrong without one."""
    first = next((block for block in blocks(page) if block.language != "diff"), None)
    if first is None or first.language != "sh" or not first.text.startswith("pip install "):
        why = "the first one is no `pip install`: say what the page needs"
        raise (first or Block(page, 1, "", "")).wrong(why)
    return first.text.strip()


def awaits(text: str) -> bool:
    """Tell whether *text*, of a Python block, awaits outside of a function: no program can be written so."""
    try:
        compile(text, "<block>", "exec")
    except SyntaxError:
        return True
    return False


def untypable(text: str) -> str | None:
    """Return what `python -m asyncio` says of *text* that is pasted into it; None if it takes all of it.

    A blank line ends a block there, and nothing else does.
    """
    compiler, typed = codeop.CommandCompiler(), ""
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for line in [*text.splitlines(), ""]:
        typed = f"{typed}\n{line}" if typed else line
        try:
            if compiler(typed, "<block>") is not None:
                typed = ""
        except SyntaxError as error:
            return f"{line.strip()!r}: {error.msg}"
    return f"it does not end: {typed!r}" if typed else None


def agrees(expected: str, actual: str) -> bool:
    """Tell whether *actual* is what was *expected*, `…` standing for any text."""

    def trimmed(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip().splitlines())

    pattern = ".*".join(re.escape(piece) for piece in trimmed(expected).split("…"))
    return re.fullmatch(pattern, trimmed(actual), re.DOTALL) is not None


class Page:
    """The run of one page: its folder, its namespace, its databases; ends with the context that it is."""

    def __init__(
        self, samples: Callable[[str], contextlib.AbstractContextManager[str]] | None = None
    ) -> None:
        """Start with an empty folder and nothing running; *samples* gives the database of the SQL blocks."""
        self._stack = contextlib.ExitStack()
        self._samples = samples or sample_conversations
        self._urls: dict[tuple[str, str], str] = {}
        self.not_run: list[Block] = []
        self.ran = 0

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="chatstore-docs-")))
        # The page's processes start now, before it is known whether they will talk to an emulator.
        dynamo.lend_credentials(os.environ.get(servers.ENVIRONMENT["dynamodb"], "endpoint_url"))
        self.shell = Shell(self.folder, ROOT)
        self.interpreter = self._stack.enter_context(Interpreter(self.folder, self.shell.environment))
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def run(self, found: list[Block]) -> None:
        """Run the blocks *found*, in order; Wrong for the first one that is."""
        printed: Printed | None = None
        for block in found:
            if block.not_run:
                self.not_run.append(block)
                printed = None
                continue
            if block.language == "text":
                self.compare(block, printed)
                printed = None
            else:
                printed = self.run_one(block)
            self.ran += 1

    def run_one(self, block: Block) -> Printed | None:
        """Run one block; return what it printed where a text block may follow."""
        text = self.with_databases(block.text)
        match block.language:
            case "python":
                printed = self.interpreter.run(text, block.page, block.line)
            case "sh":
                printed = self.shell.run(text)
            case "sql":
                return Printed([self.sql(block, kind) for kind in self.kinds(block)], table=True)
            case "json" | "toml":
                parse(block)
                return None
            case "diff":
                return None
            case other:
                raise block.wrong(f"nothing here runs {other!r}; write <!-- not run: reason --> before it")
        if printed.fault:
            raise block.wrong(printed.fault)
        return Printed([printed.output])

    def with_databases(self, text: str) -> str:
        """Replace the addresses of *text* by databases of the tests, one for each name on a page."""

        def fresh(found: re.Match[str]) -> str:
            kind = "postgres" if found["family"].startswith("postgres") else "mariadb"
            key = kind, found["name"]
            if key not in self._urls:
                self._urls[key] = self._stack.enter_context(servers.fresh_database(kind))
            return f"{found['scheme']}://{self._urls[key].partition('://')[2]}"

        def unmade(found: re.Match[str]) -> str:
            key = "dynamodb", found["name"]
            if key not in self._urls:
                self._urls[key] = self._stack.enter_context(servers.unmade_table())
            return self._urls[key]

        def account(found: re.Match[str]) -> str:
            key = "cosmosdb", "my-account"
            if key not in self._urls:
                self._urls[key] = self._stack.enter_context(cosmos.account()).base
            return cosmos.connection_string(self._urls[key]) if found["text"] else self._urls[key]

        def own(_: re.Match[str]) -> str:
            key = "redis", "own"
            if key not in self._urls:
                self._urls[key] = self._stack.enter_context(redis_servers.started(*redis_servers.QUIET))
            return self._urls[key]

        return REDIS.sub(own, COSMOS.sub(account, TABLE.sub(unmade, ADDRESS.sub(fresh, text))))

    def kinds(self, block: Block) -> list[str]:
        """Name the databases that an SQL block runs on."""
        if block.only is None:
            return list(DATABASES)
        kind = servers.ALIASES.get(block.only, block.only)
        if kind not in DATABASES:
            raise block.wrong(f"<!-- only: {block.only} --> names none of {', '.join(DATABASES)}")
        return [kind]

    def sql(self, block: Block, kind: str) -> str:
        """Run an SQL block on the sample conversations in one kind of database; return its table."""
        key = kind, "sample conversations"
        if key not in self._urls:
            self._urls[key] = self._stack.enter_context(self._samples(kind))
        printed = query(self._urls[key], block.text)
        if printed.fault:
            raise block.wrong(f"{kind}: {printed.fault}")
        return printed.output

    def compare(self, block: Block, printed: Printed | None) -> None:
        """Hold a text block against what was printed before it."""
        if printed is None:
            raise block.wrong(
                "no block that prints stands before it; write <!-- not run: reason --> before it"
            )
        for actual in printed.outputs:
            expected = cells(block.text) if printed.table else block.text
            if not agrees(expected, cells(actual) if printed.table else actual):
                raise block.wrong(f"expected\n{block.text}\nbut it is\n{actual}")


class Printed(NamedTuple):
    """What a block printed, once for each place it ran in; *table* if it is a table of SQL rows."""

    outputs: list[str]
    table: bool = False


def parse(block: Block) -> None:
    """Read a JSON or TOML block; Wrong if it is none."""
    try:
        (json.loads if block.language == "json" else tomllib.loads)(block.text)
    except ValueError as error:
        raise block.wrong(str(error)) from None


def cells(table: str) -> str:
    """Bring a table into one form: cells without their padding, no rule between head and rows."""
    lines = [line for line in table.strip().splitlines() if line.strip("-+| ")]
    return "\n".join(" | ".join(cell.strip() for cell in line.strip("| ").split("|")) for line in lines)


@contextlib.contextmanager
def sample_conversations(kind: str) -> Iterator[str]:
    """Give the URL of a database of *kind* that holds the sample conversations of `chatstore demo`."""
    from chatstore.cli.samples import store
    from chatstore.connect import connect

    with servers.migrated_url(kind) as url:
        with connect(url) as repository:
            store(repository)
            repository.search("anything")  # which brings the search index up to date
        yield url


def block_number(page: Path, language: str, number: int) -> str:
    """Return the text of the *number*th block of *language* on *page*, counted from 1."""
    return [block.text for block in blocks(page) if block.language == language][number - 1]


if __name__ == "__main__":
    sys.stdout.write(block_number(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
