"""`RedisCore`: all operations of the contract, put together from sessions, messages and listing."""

from __future__ import annotations

from chatstore.backends.redis.layout import Keys
from chatstore.backends.redis.listing import Listing
from chatstore.backends.redis.messages import Messages
from chatstore.backends.redis.server import Server
from chatstore.backends.redis.session_lists import SessionLists
from chatstore.backends.redis.sessions import Sessions
from chatstore.records import Capabilities

_NOTES = (
    "search scans every message",
    "search, usage and purge read one session after another, not all of them at one moment",
)
_APART = "on a cluster, the order of a session list follows a change a moment later"


class RedisCore:
    """The operations of the contract on Redis.

    They are generators that yield steps (`attempts`), which the repositories carry out. A change is one script,
    however much it changes.
    """

    def __init__(self, prefix: str, *, apart: bool, ttl: int | None, guarded: bool) -> None:
        """Name the keys by *prefix*.

        *apart*: the lists stand in other slots than the sessions (a cluster). *ttl*: seconds after which a session
        expires that is not written to. *guarded*: the client repeats commands by itself.
        """
        keys = Keys(prefix)
        lists = SessionLists(keys, apart=apart)
        self.server = server = Server(keys, lists, ttl=ttl, guarded=guarded)
        notes = (*_NOTES, _APART) if apart else _NOTES
        self.capabilities = Capabilities(denied=frozenset(), atomic_batch=None, notes=notes)

        sessions = Sessions(server)
        self.create, self.get, self.update = sessions.create, sessions.get, sessions.update
        self.delete, self.fork = sessions.delete, sessions.fork

        messages = Messages(server)
        self.append, self.load, self.replace = messages.append, messages.load, messages.replace
        self.messages, self.records, self.message = messages.messages, messages.records, messages.message
        self.edit, self.remove, self.pop = messages.edit, messages.remove, messages.pop
        self.truncate, self.count = messages.truncate, sessions.count

        listing = Listing(server)
        self.sessions, self.search, self.usage = listing.sessions, listing.search, listing.usage
        self.purge, self.durability = listing.purge, server.durability
