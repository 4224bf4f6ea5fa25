"""What `connect` and the command line know of a backend: a record of it, and what makes a place for sessions.

A package has one `Backend` for each kind of place, and says under which URLs it is found (`chatstore.schemes`). This
module knows what is asked; it refuses to know who answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chatstore.aio import AsyncRepository
    from chatstore.errors import SchemaError
    from chatstore.repository import Repository

#: What stands before the host of a URL: a user, and a password that is nobody's business.
_PASSWORD: Final = re.compile(r"(?<=://)([^/@:]*:)?.*@")


def without_password(url: str) -> str:
    """Return *url* with stars in the place of the password before its host."""
    return _PASSWORD.sub(r"\1***@", url)


def nowhere(url: str) -> Path | None:  # noqa: ARG001 - the answer for servers
    """Return the file or folder of a place that has none."""
    return None


def never(url: str) -> bool:  # noqa: ARG001 - the answer for what lasts
    """Tell that a place outlives the process."""
    return False


class Open(Protocol):
    """Makes a repository of a URL or of an object that was passed to `connect`, without any I/O."""

    def __call__(self, target: Any, *, schema: str | None) -> Repository:
        """Return the repository; *schema* is for databases that have such. Raises `Invalid`, `MissingDependency`."""


class OpenAsync(Protocol):
    """The same for `connect_async`."""

    def __call__(self, target: Any, *, schema: str | None) -> AsyncRepository:
        """Return the asynchronous repository."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A backend as `connect` and the command line see it.

    *open* makes its repositories, *open_async* the asynchronous ones; without it those of *open* work in threads.
    *clients* names the packages whose objects *open* takes in the place of a URL: the first part of where their class
    is defined, or more of it. *show* returns a URL without what is secret in it, *path* the file or folder that a URL
    names (None for a server), *in_process* tells whether what is stored ends with the process. *provisioner*
    makes what ``chatstore upgrade`` and its siblings work with; None where nothing must be made before the first use.
    *denied* is that of its `Capabilities`, for errors that say which backends can do more. *is_sql* is for the
    package's own databases.
    """

    open: Open
    open_async: OpenAsync | None = None
    clients: tuple[str, ...] = ()
    show: Callable[[str], str] = without_password
    path: Callable[[str], Path | None] = nowhere
    in_process: Callable[[str], bool] = never
    provisioner: Callable[[str, str | None], Provisioner] | None = None
    denied: frozenset[str] = frozenset()
    is_sql: bool = False


# ------------------------------------------------------------------------------------------------ a place is made


class Moved(NamedTuple):
    """Where a place was, and where it is now: revisions; None is before the first one."""

    before: str | None
    after: str | None


class Checked(NamedTuple):
    """At which revision a place is, how it differs (a line each), and the error that says what to do, if any."""

    revision: str | None
    differences: list[str]
    fault: SchemaError | None


class Held(NamedTuple):
    """How many sessions and messages there are."""

    sessions: int
    messages: int


class Provisioner(Protocol):
    """Makes the place that a URL names (tables, a container), compares it, and takes it away."""

    @property
    def head(self) -> str:
        """The revision that this release works on."""

    @property
    def single(self) -> bool:
        """Tell whether there is one revision only, so that an upgrade goes to head and a downgrade to base."""

    def current(self) -> str | None:
        """Return the revision that is there, None if nothing is, or not all of it. Creates nothing."""

    def check(self) -> Checked:
        """Compare what is there with what this release expects."""

    def held(self) -> Held:
        """Count what a downgrade to base would lose."""

    def upgrade(self, revision: str) -> Moved:
        """Make what is missing and wait until it is there; what is there already stays."""

    def refuse_unreachable(self, revision: str, before: str | None) -> None:
        """Raise `SchemaError` where no downgrade leads from *before* to *revision*."""

    def downgrade(self, revision: str) -> Moved:
        """Go back to *revision*; base takes everything away, with every conversation in it."""

    def script(self, revision: str) -> str | None:
        """Return the SQL of an upgrade without connecting to anything; None where there is no SQL."""

    def close(self) -> None:
        """Close the connections."""


#: After every session there can be: a purge up to then, as a dry run, counts them all in one pass.
_EVER: Final = datetime.max.replace(tzinfo=UTC)


def held_by(repository: Repository) -> Held:
    """Count what *repository* holds, in one pass."""
    found = repository.purge(updated_before=_EVER, dry_run=True)
    return Held(found.sessions, found.messages)
