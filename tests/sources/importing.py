"""An import as the tests of sources make it: all of a plant, into a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.incoming.loading import Loader, Tally
from chatstore.sources import read

if TYPE_CHECKING:
    from chatstore.repository import Repository


def moved(
    plant: Any, repository: Repository, session: str | None = None, **options: Any
) -> tuple[Tally, list[Any]]:
    """Read all of *plant* into *repository*; return the counts, and what was left out."""
    left: list[Any] = []
    loader = Loader(
        repository, plant.kind, say=lambda what, place, why: left.append((what, place, why)), **options
    )
    for found in read(plant.kind, plant.source, session=session, options=plant.options):
        loader.follow(found)
    return loader.tally, left
