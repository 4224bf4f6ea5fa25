"""What ``chatstore upgrade`` and its siblings work with: who makes the place that a URL names, and takes it away.

This module knows what is asked, and what follows where a place has one revision only; it refuses to know any place.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from chatstore.errors import SchemaError, SchemaMissing, SchemaOutdated

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from chatstore.repository import Repository


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

    def upgrade(self, revision: str, *, wait: float | None = None) -> Moved:
        """Make what is missing and wait until it is there; what is there already stays.

        *wait* is for how many seconds others are waited for who migrate too or hold locks; None for the usual time.
        """

    def refuse_unreachable(self, revision: str, before: str | None) -> None:
        """Raise `SchemaError` where no downgrade leads from *before* to *revision*."""

    def downgrade(self, revision: str, *, wait: float | None = None) -> Moved:
        """Go back to *revision*, waiting as `upgrade` does; base takes everything away, every conversation too."""

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


class OneRevision:
    """A provisioner whose upgrade makes the place and whose downgrade takes it away."""

    single = True

    def current(self) -> str | None:
        """Return the revision if the place is there, None if not, or not all of it."""
        raise NotImplementedError

    def make(self) -> Moved:
        """Make what is missing and wait until it is there."""
        raise NotImplementedError

    def remove(self) -> Moved:
        """Take the place away, with every conversation in it."""
        raise NotImplementedError

    def differences(self) -> list[str]:
        """Say in a line each what is not as this release expects it."""
        raise NotImplementedError

    def repository(self) -> AbstractContextManager[Repository]:
        """Lend a repository in this place."""
        raise NotImplementedError

    def upgrade(self, revision: str = "head", *, wait: float | None = None) -> Moved:  # noqa: ARG002 - there is one
        """Make what is missing."""
        return self.make()

    def downgrade(self, revision: str = "base", *, wait: float | None = None) -> Moved:  # noqa: ARG002
        """Take everything away."""
        return self.remove()

    def refuse_unreachable(self, revision: str, before: str | None) -> None:
        """Do nothing: base can be reached from everywhere."""

    def script(self, revision: str) -> str | None:  # noqa: ARG002 - there is no SQL
        """Return None: there is no SQL."""
        return None

    def check(self) -> Checked:
        """Compare what is there with what this release expects."""
        found, differences = self.current(), self.differences()
        if found is None:
            missing = "the service has no chatstore tables, or not all of them: run chatstore upgrade on it"
            return Checked(None, differences, SchemaMissing(missing))
        if differences:
            changed = "something else changed the tables: undo that, or run chatstore upgrade"
            return Checked(found, differences, SchemaOutdated(changed))
        return Checked(found, differences, None)

    def held(self) -> Held:
        """Count what a downgrade would lose."""
        with self.repository() as repository:
            return held_by(repository)
