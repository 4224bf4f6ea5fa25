"""How a reader is found by its name: each is a module, loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chatstore.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_module(what: str, modules: Mapping[str, str], name: str) -> Any:
    """Return the module that *modules* has under *name*; *what* is the word for it in errors.

    Raises `Invalid` with the names there are.
    """
    if name not in modules:
        msg = f"there is no {what} {name!r}: use one of {', '.join(modules)}"
        raise Invalid(msg)
    return import_module(modules[name])
