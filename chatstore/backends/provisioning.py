"""What ``chatstore upgrade`` needs of a storage: from where to where it moved, and of a service its tables.

This module knows what is asked; a service without SQL has a module ``provisioning``, whose ``provisioner_for(url)``
answers.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Moved(NamedTuple):
    """Where a storage was, and where it is now: revisions; None is before the first one."""

    before: str | None
    after: str | None


class Provisioner(Protocol):
    """What keeps the sessions: a table, a container."""

    @property
    def head(self) -> str:
        """The revision that this release works on."""

    def current(self) -> str | None:
        """Return the revision that is there, None if nothing is, or not all of it."""

    def upgrade(self) -> Moved:
        """Make what is missing and wait until it is there; what is there already stays."""

    def downgrade(self) -> Moved:
        """Take everything away, with every conversation in it."""

    def differences(self) -> list[str]:
        """Say in a line each what is not as this release expects it."""

    def close(self) -> None:
        """Close the connections."""
