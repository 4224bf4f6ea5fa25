"""Every fenced block of README.md and docs/ runs, every command is documented, every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from tests import servers
from tests.doors.frameworks import FRAMEWORKS
from tests.snippets import (
    DATABASES,
    ROOT,
    Page,
    Wrong,
    awaits,
    blocks,
    install_line,
    needs,
    pages,
    untypable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^(`{3,}).*?^\1|^ {4}[^\n]*", re.DOTALL | re.MULTILINE)  # what is code is no link
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)#\s]+)[^)]*\)")


def run(page: Path) -> Page:
    """Run all blocks of *page*."""
    with Page() as running:
        running.run(blocks(page))
    return running


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_does_what_the_page_says(
    page: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each block runs, or says why it is not run; those are listed at the end of the test run."""
    running = run(page)

    for block in running.not_run:
        record_property("not run", f"{page.relative_to(ROOT)}:{block.line}: {block.not_run}")


def test_every_page_runs_somewhere() -> None:
    """A page that needs a framework is run by that framework's suite, which exists."""
    frameworks = {framework for page in PAGES if (framework := needs(page))}

    assert set(PAGES) == {page for framework in (None, *frameworks) for page in pages(framework)}
    assert "langchain" in frameworks
    suite = ROOT / "tests" / "integrations" / "langchain" / "test_pages.py"
    assert 'pages("langchain")' in suite.read_text(encoding="utf-8")
    assert {"langchain", *FRAMEWORKS} >= frameworks


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a file of the project names one that exists."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = [found["target"] for found in LINK.finditer(prose)]
    inner = [target for target in targets if "://" not in target and not target.startswith("mailto:")]

    assert [] == [target for target in inner if not (page.parent / target).exists()]


@pytest.mark.parametrize(
    "page",
    [*sorted((ROOT / "docs").glob("tutorial*.md")), *sorted((ROOT / "docs" / "how-to").glob("*.md"))],
    ids=lambda page: page.stem,
)
def test_a_page_to_follow_begins_with_what_to_install(page: Path) -> None:
    """The first block is a `pip install` of this checkout; tests/packaging runs it in an empty environment."""
    words = shlex.split(install_line(page))

    assert ["pip", "install"] == words[:2]
    assert re.fullmatch(r"\.(\[[a-z0-9,-]+\])?", words[2])


@pytest.mark.parametrize("text", ["no block", "'''python\nimport chatstore\n'''\n'''sh\npip install .\n'''"])
def test_a_page_that_does_not_say_what_to_install_is_found(text: str, tmp_path: Path) -> None:
    """Without a block, or with another one before it, the page is wrong."""
    with pytest.raises(Wrong, match="say what the page needs"):
        install_line(planted(tmp_path, text))


#: Pages to follow import public names only. Who writes a backend builds on what the backends share.
FOLLOWED = [
    page
    for page in PAGES
    if page.parent.name != "reference" and page.name not in ("architecture.md", "new-backend.md")
]


def private_imports(page: Path) -> list[str]:
    """Return the imports of *page* that reach into the backends."""
    inner = (
        r"^\s*(?:from chatstore\.backends|from chatstore import .*\bbackends\b|import chatstore\.backends).*"
    )
    return [found[0].strip() for found in re.finditer(inner, page.read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.stem)
def test_a_page_to_follow_imports_public_names(page: Path) -> None:
    """What stands below `chatstore.backends` may move: pages take names from public modules."""
    assert [] == private_imports(page)


@pytest.mark.parametrize(
    "line",
    [
        "from chatstore.backends.sql.migrations import upgrade",
        "    from chatstore import backends",
        "import chatstore.backends.redis",
    ],
)
def test_an_import_from_the_backends_is_found(line: str, tmp_path: Path) -> None:
    """In every way that Python has, and inside a function too."""
    assert [line.strip()] == private_imports(planted(tmp_path, f"'''python\nimport chatstore\n{line}\n'''\n"))


def lost_files(page: Path) -> list[str]:
    """Return the files and folders of the project that *page* names and that are not there."""
    named = re.findall(r"`((?:chatstore|tests|docs|alembic)/[\w./-]*)`", page.read_text(encoding="utf-8"))
    return [name for name in named if not (ROOT / name).exists()]


def test_the_page_for_contributors_names_files_that_are_there() -> None:
    """Where a change belongs is told by files, which move now and then."""
    assert [] == lost_files(ROOT / "docs/contribute.md")


def test_a_file_that_moved_is_found(tmp_path: Path) -> None:
    """A name that leads nowhere is found beside those that lead somewhere."""
    page = planted(tmp_path, "`chatstore/codec.py`, `chatstore/core.py`, `tests/sql/`, `tests/nosql/`")

    assert ["chatstore/core.py", "tests/nosql/"] == lost_files(page)


def test_the_readme_begins_with_the_two_commands() -> None:
    """The first two commands are those that .ci/run takes from there, the demo and the tests, after a first look."""
    found = blocks(ROOT / "README.md")
    look = found[0]
    demo, tests = [block for block in found if block.language == "sh"][:2]

    assert look.language == "python"
    assert look.line < 15
    assert "chatstore demo" in demo.text
    assert "pytest" in tests.text


def commands(group: click.Command, path: str) -> Iterator[str]:
    """Name every command below *group*."""
    if not isinstance(group, click.Group):
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}"
        yield from commands(command, f"{path} {name}")


def undocumented(names: list[str], page: str) -> list[str]:
    """Return the commands that have no heading on *page*."""
    headings = [line for line in page.splitlines() if line.startswith("#")]
    return [name for name in names if not any(re.search(rf"{name}\b(?! \w)", line) for line in headings)]


def test_every_command_is_in_the_reference() -> None:
    """docs/reference/cli.md has a heading for each command of `chatstore`."""
    from chatstore import cli

    names = list(commands(cli.main, "chatstore"))

    assert {"chatstore demo", "chatstore upgrade", "chatstore index drop"} <= set(names)
    assert undocumented(names, (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")) == []


def test_a_command_without_a_heading_is_found() -> None:
    """A command that is only mentioned, or only a group's name, is not documented."""
    page = "# chatstore index\n\n`chatstore index drop` …\n\n## `chatstore show`\n"

    assert ["chatstore index drop"] == undocumented(["chatstore index drop", "chatstore show"], page)


def planted(folder: Path, text: str) -> Path:
    """Write a page; `'''` stands for a fence."""
    page = folder / "page.md"
    page.write_text(text.replace("'''", "```"), encoding="utf-8")
    return page


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("'''python\n1 / 0\n'''", r"page.md:1: (?s:.*)ZeroDivisionError"),
        ("\n'''python\nx = 1\n\nasync def f():\n    raise KeyError('k')\nawait f()\n'''", "line 6, in f"),
        ("'''python\nprint(1)\n'''\n'''text\n2\n'''", "page.md:4: text block: expected"),
        ("'''python\nexit(0)\n'''", "SystemExit"),
        ("'''python\nimport os; os._exit(0)\n'''", "the interpreter ended"),
        ("'''python\n# app.py\nimport no_such_thing\n'''", "no_such_thing"),
        ("'''sh\ntrue\nfalse\ntrue\n'''", "it ended with 1"),
        ("'''sh\necho $UNSET\n'''", "UNSET"),
        ("'''sh\necho a\n'''\n'''text\nb\n'''", "expected"),
        ("'''json\n{'a': 1}\n'''", "page.md:1: json block"),
        ("'''toml\na = \n'''", "page.md:1: toml block"),
        ("'''console\n$ ls\n'''", "nothing here runs 'console'"),
        ("'''\nls\n'''", "nothing here runs ''"),
        ("'''text\na drawing\n'''", "no block that prints stands before it"),
        ("'''json\n1\n'''\n'''text\n1\n'''", "no block that prints stands before it"),
        ("<!-- not run: -->\n'''sh\nfalse\n'''", "say why"),
        ("<!-- not run: no -->\n\n'''sh\nfalse\n'''", "it ended with 1"),
        ("'''sh\ntrue\n", "never closed"),
        ("<!-- only: oracle -->\n'''sql\nSELECT 1\n'''", "oracle"),
    ],
)
def test_a_planted_wrong_block_is_found(text: str, fault: str, tmp_path: Path) -> None:
    """Each kind of wrong block fails its page, by page, line and reason."""
    with pytest.raises(Wrong, match=fault):
        run(planted(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("SELECT 1 FROM nowhere;", "nowhere"),
        ("SELECT session_id FROM chatstore_messages;\n'''\n'''text\nsession_id\nsomething else", "expected"),
        ("SELECT 1 AS one;\n'''\n'''text\ntwo\n1", "expected"),
    ],
)
@pytest.mark.parametrize("only", DATABASES)
def test_a_planted_wrong_query_is_found(only: str, text: str, fault: str, tmp_path: Path) -> None:
    """An SQL block that fails, or whose rows or column names are others, fails its page on every database."""
    page = planted(tmp_path, f"<!-- only: {only} -->\n'''sql\n{text}\n'''\n")

    with Page(servers.migrated_url) as running, pytest.raises(Wrong, match=fault):
        running.run(blocks(page))


SOUND = """
'''python
import asyncio
from pathlib import Path
answer = 41
'''
Words between.
'''python
await asyncio.sleep(0)
print(answer + 1, Path("made").exists(), "and then")
'''
which prints
'''text
42 False …
'''
'''sh
export KEPT="from before"
touch made
'''
- in a list
  '''sh
  ls
  echo "$KEPT, $(command -v chatstore)"
  '''
  '''text
  made
  from before, …/chatstore
  '''
'''python
# shop/goods.py
price = 5
'''
'''python
# app.py
from shop.goods import price
'''
'''python
from app import price
assert price == 5
assert Path("made").exists()
'''
<!-- not run: it would never end -->
'''sh
sleep infinity
'''
'''json
{"a": ["…"]}
'''
'''toml
[a]
b = 1
'''
"""


def test_a_sound_page_passes(tmp_path: Path) -> None:
    """Namespace, folder, exports and files last through a page; output is compared; an excuse is kept."""
    running = run(planted(tmp_path, SOUND))

    assert ["it would never end"] == [block.not_run for block in running.not_run]
    assert running.ran == 11


UNUSED = """
'''python
# table.py
routes = []
'''
'''python
# watch.py
from table import routes
routes.append("watch")
'''
'''python
from table import routes
print(routes)
'''
'''text
ROUTES
'''
"""


def test_a_file_that_nothing_imports_does_nothing(tmp_path: Path) -> None:
    """A page whose reader must import a file says so: that the file is on the page is not enough."""
    run(planted(tmp_path, UNUSED.replace("ROUTES", "[]")))
    with pytest.raises(Wrong, match="expected"):
        run(planted(tmp_path, UNUSED.replace("ROUTES", "['watch']")))


#: The reference shows calls, each of which stands by itself.
TYPED = [page for page in PAGES if page.parent.name != "reference"]


def cannot_be_typed(page: Path) -> list[str]:
    """Return what hinders a reader from typing the blocks of *page* that await outside of a function."""
    text = page.read_text(encoding="utf-8")
    found = [block for block in blocks(page) if block.language == "python" and awaits(block.text)]
    wrong = [f"{block.line}: {why}" for block in found if (why := untypable(block.text))]
    first = text.splitlines()[: found[0].line - 1] if found else []
    return wrong if not found or "`python -m asyncio`" in "\n".join(first) else ["says not into what", *wrong]


@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.stem)
def test_what_awaits_can_be_typed(page: Path) -> None:
    """A block with `await` outside of a function is an error in a file: the page says into what to type it."""
    assert [] == cannot_be_typed(page)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("'''python\nawait f()\n'''", ["says not into what"]),
        (
            "`python -m asyncio`\n'''python\nasync with f():\n    g()\n\n    h()\n'''",
            ["2: 'h()': unexpected indent"],
        ),
        ("`python -m asyncio`\n'''python\nasync with f():\n    g()\nh()\n'''", ["2: 'h()': invalid syntax"]),
        ("'''python\nawait f()\n'''\n`python -m asyncio`", ["says not into what"]),
        ("`python -m asyncio`\n'''python\nasync with f():\n    g()\n\nawait h()\n'''", []),
        ("'''python\nasync def f():\n    await g()\n\n    await h()\nasyncio.run(f())\n'''", []),
    ],
)
def test_a_block_that_cannot_be_typed_is_found(text: str, wrong: list[str], tmp_path: Path) -> None:
    """Without a word of where to type it, with a blank line inside of a block, or without one behind it."""
    assert wrong == cannot_be_typed(planted(tmp_path, text))


QUERIES = """
'''sql
CREATE TABLE gone (a integer, b varchar(9));
INSERT INTO gone VALUES (1, 'x%'), (2, NULL);
SELECT a, b, avg(a * 1.50) AS mean FROM gone WHERE b LIKE '%' OR b IS NULL GROUP BY a, b ORDER BY a;
'''
'''text
a | b  | mean
--+----+-----
1 | x% | 1.5
2 |    | …
'''
"""


@pytest.mark.parametrize("kind", DATABASES)
def test_a_table_reads_the_same_on_every_database(kind: str, tmp_path: Path) -> None:
    """Numbers, nulls, per cents look alike; padding and rules do not count; `…` is any cell."""
    page = planted(tmp_path, f"<!-- only: {kind} -->{QUERIES}")

    with Page(servers.fresh_database) as running:
        running.run(blocks(page))

    assert running.ran == 2


def test_the_urls_of_a_page_are_fresh_databases(tmp_path: Path) -> None:
    """The same name is the same database throughout a page, another name another, and the driver stays."""
    text = "'''python\nimport re\nurls = []\n'''\n"
    for address in ("postgresql://app:secret@localhost/app", "postgresql+asyncpg://app@localhost:5432/app"):
        text += f"'''python\nurls.append('{address}')\n'''\n"
    text += "'''python\nurls.append('postgres://a:b@localhost/other')\nprint(*urls, sep='\\n')\n'''\n"
    text += "'''text\npostgresql://…/chatstore_test_…\npostgresql+asyncpg://…\npostgres://…\n'''\n"
    text += "'''python\none, two, three = (url.partition('://')[2] for url in urls)\n"
    text += "assert one == two != three\nassert 'secret' not in one\n'''\n"

    assert run(planted(tmp_path, text)).ran == 6
