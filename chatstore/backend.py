"""`Backend`: what `connect` and the command line know of a backend.

A package has one record for each kind of place, and says under which URLs it is found (`chatstore.schemes`). This
module knows what is asked; it refuses to know who answers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chatstore.aio import AsyncRepository
    from chatstore.provisioning import Provisioner
    from chatstore.repository import Repository

#: What stands before the host of a URL: a user, and a password that is nobody's business.
_PASSWORD: Final = re.compile(r"(?<=://)([^/@:]*:)?.*@")


def without_password(url: str) -> str:
    """Return *url* with stars in the place of the password before its host."""
    return _PASSWORD.sub(r"\1***@", url)


def nowhere(url: str) -> Path | None:  # noqa: ARG001 - the answer for servers
    """Return None: there is no file and no folder."""
    return None


def never(url: str) -> bool:  # noqa: ARG001 - the answer for what lasts
    """Return False: what is stored outlives the process."""
    return False


class Backend(NamedTuple):
    """A backend as `connect` and the command line see it; *open* is all that must be given.

    *open* makes the repository of a URL, or of an object that was passed in, without any I/O; its second argument is
    the database schema, for backends that have such. It raises `Invalid` or `MissingDependency`. *open_async* makes the
    asynchronous one; without it, that of *open* works in threads. *clients* names the packages whose objects *open*
    takes: the first part of where their class is defined, or more of it. *show* returns a URL without what is secret
    in it, *path* the file or folder that a URL names (None for a server); *in_process* tells whether what is stored
    ends with the process. *provisioner* takes the same as *open* and makes what ``chatstore upgrade`` works with; None
    where nothing must be made before the first use. *denied* is that of the `Capabilities`, for errors that say which
    backends can do more. *is_sql* is for databases with chatstore's own tables.
    """

    open: Callable[[Any, str | None], Repository]
    open_async: Callable[[Any, str | None], AsyncRepository] | None = None
    clients: tuple[str, ...] = ()
    show: Callable[[str], str] = without_password
    path: Callable[[str], Path | None] = nowhere
    in_process: Callable[[str], bool] = never
    provisioner: Callable[[str, str | None], Provisioner] | None = None
    denied: frozenset[str] = frozenset()
    is_sql: bool = False
