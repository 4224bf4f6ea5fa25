"""The ``chatstore`` command.

`main` is the whole of it: a click group, or, where the extra is not installed, a function that says so. One
module holds the commands of one subject; heavy libraries are imported by the command that needs them.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import click

    main: click.Group
elif find_spec("click") and find_spec("rich"):
    from chatstore.cli.app import main
else:

    def main() -> NoReturn:
        """Say what is missing."""
        from chatstore.extras import not_installed

        sys.stderr.write(f"chatstore: {not_installed('the command line', 'cli')}\n")
        sys.exit(1)
