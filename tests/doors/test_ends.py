"""The doors at both ends of the versions that they state, in environments of their own.

What is installed in them is decided here, from the extras and `frameworks.py`, and nowhere else. The tests proper are
in the folders beside this file; where a framework is installed they run by path as any others:
`pytest tests/doors/openai_agents`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests import environments, servers
from tests.doors.frameworks import EVERY, FRAMEWORKS, HERE, extra_of

if TYPE_CHECKING:
    from collections.abc import Callable

ENDS = ("newest", pytest.param("lowest", marks=pytest.mark.whole))
SUMMARY = re.compile(r"^(?:\d+ \w+, )*(?P<passed>\d+) passed(?P<rest>[^\n]*) in ", re.MULTILINE)


def requirements(end: str) -> list[str]:
    """Return what the environment of *end* holds: chatstore's own needs, every framework, what their tests need."""
    stated = [one for name in FRAMEWORKS for one in environments.extra_requirements(extra_of(name))]
    beside = [one for framework in FRAMEWORKS.values() for one in framework.beside]
    # The server's own packages are those that agents' SDKs need, too, and in later versions than it needs itself.
    shared = environments.extra_requirements("serve")
    chosen = [one if end == "newest" or one in shared else environments.lowest(one) for one in stated]
    matrix = environments.extra_requirements("langchain")
    return [*environments.TOOLS, *environments.core(), *chosen, *beside, *matrix]


def test_every_folder_is_a_framework() -> None:
    """Law: no door's tests are left out: each folder here has its framework, and each framework a folder."""
    folders = {path.parent.name for path in HERE.glob("*/test_*.py")}

    assert {*FRAMEWORKS, EVERY} == folders


@pytest.mark.timeout(2_000)
@pytest.mark.parametrize("end", ENDS)
def test_the_doors_work_there(end: str, record_property: Callable[[str, object], None]) -> None:
    """Law: all tests of all doors pass there, and none is skipped."""
    for kind in servers.KINDS:
        servers.obtain(kind)  # the run below finds it in its environment
    python = environments.python(f"doors-{end}", requirements(end))
    suites = [f"tests/doors/{name}" for name in (*FRAMEWORKS, EVERY)]
    pytest_ = ["-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider", *suites]
    run = environments.run(python, *pytest_, timeout=1_800)

    summary = SUMMARY.search(run.stdout)
    assert 0 == run.returncode, run.stdout[-10_000:] + run.stderr[-2_000:]
    assert summary, run.stdout[-2_000:]
    assert "skipped" not in summary["rest"]
    record_property("doors", f"{end}: {summary['passed']} passed")


@pytest.mark.timeout(600)
def test_the_server_works_at_the_lowest_end() -> None:
    """Law: the Conversations API passes its own tests with the oldest versions of what its extra brings."""
    own = list(map(environments.lowest, environments.extra_requirements("serve")))
    beside = ["httpx", *environments.extra_requirements("fastapi")]
    needed = [*environments.TOOLS, *environments.core(), *own, *beside]
    python = environments.python("serve-lowest", needed)
    pytest_ = ["-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider", "tests/contrib/test_conversations.py"]
    run = environments.run(python, *pytest_, timeout=500)

    assert 0 == run.returncode, run.stdout[-10_000:] + run.stderr[-2_000:]


@pytest.mark.parametrize("requirement", ["openai-agents", "openai-agents<1"])
def test_a_range_without_a_lower_end_is_found(requirement: str) -> None:
    """Law: an extra that does not say from which version it works cannot be tested, and is refused by name."""
    with pytest.raises(ValueError, match="has no lower bound"):
        environments.lowest(requirement)
