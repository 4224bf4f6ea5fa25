"""Places with one revision: a table or a container is there as it should be, or it is not.

This module knows what follows from that for a `chatstore.backend.Provisioner`; it refuses to know any service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatstore.backend import Checked, Held, held_by
from chatstore.errors import SchemaMissing, SchemaOutdated

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from chatstore.backend import Moved
    from chatstore.repository import Repository


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

    def upgrade(self, revision: str = "head") -> Moved:  # noqa: ARG002 - there is one
        return self.make()

    def downgrade(self, revision: str = "base") -> Moved:  # noqa: ARG002
        return self.remove()

    def refuse_unreachable(self, revision: str, before: str | None) -> None:
        """Do nothing: base can be reached from everywhere."""

    def script(self, revision: str) -> str | None:  # noqa: ARG002 - there is no SQL
        return None

    def check(self) -> Checked:
        found, differences = self.current(), self.differences()
        if found is None:
            missing = "the service has no chatstore tables, or not all of them: run chatstore upgrade on it"
            return Checked(None, differences, SchemaMissing(missing))
        if differences:
            changed = "something else changed the tables: undo that, or run chatstore upgrade"
            return Checked(found, differences, SchemaOutdated(changed))
        return Checked(found, differences, None)

    def held(self) -> Held:
        with self.repository() as repository:
            return held_by(repository)
