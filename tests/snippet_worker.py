"""Run as a process: execute Python snippets one after another in one namespace, told as lines of JSON.

A job has `source`, `page`, `line` and `module`: with a module named, that one is imported from the current
folder; else the source runs, `await` allowed. The answer has `output` and `fault`, the traceback as text.
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
from typing import Any


def execute(job: dict[str, Any], page: types.ModuleType, runner: asyncio.Runner) -> None:
    """Do one job; whatever it raises is for the caller."""
    if job["module"]:
        sys.modules.pop(job["module"], None)
        importlib.invalidate_caches()
        importlib.import_module(job["module"])
        if job["module"].endswith(".settings"):
            set_up_django(job["module"])
        return
    source = "\n" * job["line"] + job["source"]
    code = compile(source, job["page"], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, vars(page))  # noqa: S307 - running what the page says is the purpose
    if inspect.isawaitable(result):
        runner.run(awaited(result))


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
