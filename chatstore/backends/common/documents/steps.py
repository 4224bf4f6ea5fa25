"""What a store of documents must be able to do, one class a step, and how each step may fail.

`DocumentsCore` yields these, and `Pause`; a repository carries them out, blocking or awaiting, and raises `Lost` or
`Failed` (both of these are of `chatstore.driving`): a `Commit` that is *ambiguous* may have been done
all the same. Reads are strongly consistent and go
to the end of all pages. This module knows what each step promises; it refuses to know how a service does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from chatstore.backends.common.documents.header import Header
    from chatstore.codec import Row
    from chatstore.messages import Capabilities, Durability


class Look(NamedTuple):
    """Return the `Header` of a session, None if there is none."""

    session_id: str


class Read(NamedTuple):
    """Return a list of rows of *generation* at positions above *after* up to *last*.

    At most *limit* (None: all), the oldest first; with *newest* the newest, the newest first.
    """

    session_id: str
    generation: str
    after: int
    last: int
    limit: int | None
    newest: bool


class Count(NamedTuple):
    """Return how many rows `Read` would return without a limit."""

    session_id: str
    generation: str
    after: int
    last: int


class Known(NamedTuple):
    """Return pairs of generation and row for those of *message_ids* that are in any of *generations*, in any order."""

    session_id: str
    generations: tuple[str, ...]
    message_ids: Sequence[str]


class Commit(NamedTuple):
    """Put *after* in the place of *before*, and change rows with it, all or nothing.

    On condition that the stored header still has the token (or etag) of *before*; None: that there is none. *after*
    None deletes it. *added* rows go into the open part of *after*; neither their position nor their id may be there
    yet, in that generation. *put* and *removed* are pairs of generation and row: rows whose body is replaced, rows
    that go, together with their id. Returns *after* as stored. Raises `Lost` where a condition does not hold.
    """

    session_id: str
    before: Header | None
    after: Header | None
    added: Sequence[Row] = ()
    put: Sequence[tuple[str, Row]] = ()
    removed: Sequence[tuple[str, Row]] = ()


class Stage(NamedTuple):
    """Write *rows*, any number, into a generation that nothing reaches yet; what is there is overwritten."""

    session_id: str
    generation: str
    rows: Sequence[Row]
    sweep_at: datetime | None


class Sweep(NamedTuple):
    """Delete every item of *generation* at positions above *above*, with its id; none of them is reachable."""

    session_id: str
    generation: str
    above: int


class Listing(NamedTuple):
    """Return one page of headers as `Listed`: those of an owner (None: any), those without a session only for anybody.

    With *until* nothing newer is wanted. *token* is that of the page before. A store may return too many: all are
    checked again.
    """

    tenant_id: str | None
    user_id: str | None
    until: datetime | None
    token: Any = None


class Listed(NamedTuple):
    """A page of session ids and headers, read consistently; *token* None at the end.

    Where pages come newest first, *reached* is how far this one goes: what follows was not touched after that.
    """

    headers: Sequence[tuple[str, Header]]
    token: Any
    reached: datetime | None


class Lost(Exception):
    """A condition of a `Commit` did not hold; nothing was written.

    *header* is the one that stands there now, where the service says so (None: it must be looked at); *taken* is false
    only where it is certain that no id or position was in the way.
    """

    def __init__(self, header: Header | None = None, *, taken: bool = True) -> None:
        """Keep what the service said."""
        super().__init__("another writer was faster")
        self.header, self.taken = header, taken


class Limits(NamedTuple):
    """How much a service takes: *messages* and *size* (bytes) of one commit, bytes of one message and one header."""

    messages: int
    size: int
    message: int
    header: int


class Store(Protocol):
    """What `DocumentsCore` asks of a store beside the steps; none of it waits."""

    @property
    def limits(self) -> Limits:
        """How much one commit and one item take."""

    @property
    def capabilities(self) -> Capabilities:
        """What the backend cannot do."""

    def size(self, session_id: str, row: Row) -> int:
        """Return the bytes that the items of *row* take, as the service counts."""

    def header_size(self, session_id: str, header: Header) -> int:
        """Return the bytes that *header* takes."""

    def durability(self) -> Durability:
        """Say what an acknowledged write survives."""
