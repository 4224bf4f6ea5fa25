"""``python -m chatstore`` is the ``chatstore`` command."""

from chatstore.cli import main

if __name__ == "__main__":
    main()
