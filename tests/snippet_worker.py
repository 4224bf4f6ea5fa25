"""Run as a process: execute Python snippets one after another in one namespace, told as lines of JSON.

A job has `source`, `page`, `line` and `module`: with a module named, that one is imported from the current
folder, to see that it can be, and taken back; else the source runs, `await` allowed. The answer has `output` and
`fault`, the traceback as text.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import json
import os
import sys
import traceback
import types
from pathlib import Path
from typing import Any


def execute(job: dict[str, Any], page: types.ModuleType, runner: asyncio.Runner) -> None:
    """Do one job; whatever it raises is for the caller."""
    if job["module"]:
        sys.modules.pop(job["module"], None)
        importlib.invalidate_caches()
        before = set(sys.modules)
        importlib.import_module(job["module"])
        if job["module"].endswith(".settings"):
            set_up_django(job["module"])
        elif "DJANGO_SETTINGS_MODULE" not in os.environ:  # which imports what a project has, and does so once
            forget(set(sys.modules) - before)
        return
    source = "\n" * job["line"] + job["source"]
    code = compile(source, job["page"], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, vars(page))  # noqa: S307 - running what the page says is the purpose
    if inspect.isawaitable(result):
        runner.run(awaited(result))


def forget(names: set[str]) -> None:
    """Take the page's own modules among *names* back: for a reader, a file does nothing until something imports it."""
    for name in names:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(Path.cwd()):
            del sys.modules[name]


def set_up_django(settings: str) -> None:
    """Do what Django does before it imports an application."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = settings
    django.setup()


async def awaited(result: Any) -> None:
    """Wait for *result*."""
    await result


def main() -> None:
    """Answer each line of standard input; what a snippet prints is in the answer, its processes' is not."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path.insert(0, "")
    page = sys.modules["snippet"] = types.ModuleType("snippet")
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            output, fault = io.StringIO(), ""
            with contextlib.redirect_stdout(output):
                try:
                    execute(json.loads(line), page, runner)
                except BaseException:  # noqa: BLE001 - SystemExit too is an outcome of a snippet
                    fault = traceback.format_exc(limit=-4)
            answers.write(json.dumps({"output": output.getvalue(), "fault": fault}) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
