"""Which backend a URL or an object means: ours, a line for each scheme, and those that other packages bring.

Another package says in its metadata, by an entry point of the group ``chatstore.backends``, which scheme it brings and
where its `Backend` is; what is ours cannot be replaced. Everything is loaded at its first use. This module refuses to
know what a backend does.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from chatstore.errors import Invalid, MissingDependency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.metadata import EntryPoint

    from chatstore.backend import Backend

#: The group of the entry points: a name is a scheme, without the colon.
GROUP: Final = "chatstore.backends"
_SQL: Final = "chatstore.backends.sql.backend:BACKEND"
#: By scheme, where the record is; objects are offered to the records in this order. SQLAlchemy's other dialects are
#: found by not being here.
BACKENDS: Final = {
    "sqlite": _SQL,
    "postgresql": _SQL,
    "postgres": _SQL,
    "mysql": _SQL,
    "mariadb": _SQL,
    "redis": "chatstore.backends.redis.backend:BACKEND",
    "rediss": "chatstore.backends.redis.backend:BACKEND",
    "cosmosdb": "chatstore.backends.cosmosdb.backend:BACKEND",
    "dynamodb": "chatstore.backends.dynamodb.backend:BACKEND",
    "file": "chatstore.backends.file.backend:BACKEND",
    "memory": "chatstore.backends.memory.backend:BACKEND",
}


def backend_of(target: Any) -> Backend:
    """Return the backend of *target*: a URL, by its scheme, or an object, by the package that its class is of.

    What nobody knows is SQLAlchemy's, which has dialects from many packages. Raises `MissingDependency` for a package
    that brings the scheme and cannot be loaded, `Invalid` where two bring it.
    """
    if not isinstance(target, str):
        return _backend_of_client(target)
    scheme = target.partition(":")[0]
    for name in dict.fromkeys((scheme, scheme.partition("+")[0])):
        if name in BACKENDS:
            return _ours(BACKENDS[name])
        if name and (brought := _brought(name)):
            return brought
    return _ours(_SQL)


def schemes() -> list[str]:
    """Return the schemes that URLs can begin with here: ours, then those of other packages."""
    return [*BACKENDS, *sorted({entry.name for entry in _entry_points()} - BACKENDS.keys())]


def schemes_where(fit: Callable[[Backend], bool]) -> str:
    """Name the schemes of ours whose backends *fit*, for the error of one that does not."""
    return ", ".join(f"{scheme}:" for scheme, place in BACKENDS.items() if fit(_ours(place)))


def unknown(scheme: str) -> Invalid:
    """Make the error for a URL that nobody here knows."""
    known = ", ".join(f"{one}:" for one in schemes())
    return Invalid(
        f"no package and no SQLAlchemy dialect is installed for {scheme!r}: begin the URL with {known}, or install the "
        "package that brings it"
    )


def _ours(place: str) -> Backend:
    module, _, name = place.partition(":")
    found: Backend = getattr(import_module(module), name)
    return found


def _backend_of_client(target: Any) -> Backend:
    modules = [f"{base.__module__}." for base in type(target).__mro__]
    for backend in _all():
        if any(module.startswith(f"{package}.") for module in modules for package in backend.clients):
            return backend
    return _ours(_SQL)


def _all() -> Iterator[Backend]:
    yield from map(_ours, dict.fromkeys(BACKENDS.values()))
    for name in schemes()[len(BACKENDS) :]:
        if brought := _brought(name):
            yield brought


# ------------------------------------------------------------------------------------------------ other packages


def _entry_points() -> Iterator[EntryPoint]:
    from importlib.metadata import entry_points

    yield from entry_points(group=GROUP)


@cache
def _brought(scheme: str) -> Backend | None:
    """Return the backend that another package brings for *scheme*, None if none does."""
    found = [entry for entry in _entry_points() if entry.name == scheme]
    if not found:
        return None
    if len(found) > 1:
        packages = sorted(_package(entry) for entry in found)
        raise Invalid(
            f"{' and '.join(packages)} both bring a backend for {scheme}: URLs: keep one of them, and remove the "
            f"other with {sys.executable} -m pip uninstall"
        )
    return _loaded(found[0])


def _loaded(entry: EntryPoint) -> Backend:
    from chatstore.backend import Backend

    try:
        loaded = entry.load()
    except Exception as error:
        raise _broken(entry, f"does not load ({type(error).__name__})") from error
    if not isinstance(loaded, Backend):
        raise _broken(entry, f"is a {type(loaded).__name__}, not a chatstore.backend.Backend")
    return loaded


def _broken(entry: EntryPoint, why: str) -> MissingDependency:
    return MissingDependency(
        f"the backend for {entry.name}: URLs, which {_package(entry)} brings as {entry.value!r}, {why}: install "
        f"another version of that package, or remove it with {sys.executable} -m pip uninstall"
    )


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package without a name"
