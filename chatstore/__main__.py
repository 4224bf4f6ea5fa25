"""``python -m chatstore`` is the ``chatstore`` command."""

from __future__ import annotations

from chatstore.cli import main

if __name__ == "__main__":
    main()
