"""`RedisCore`: all operations of the contract, put together from sessions, messages and listing."""

from __future__ import annotations

from functools import partial

from chatstore.backends.redis.layout import Keys
from chatstore.backends.redis.listing import Listing
from chatstore.backends.redis.messages import Messages
from chatstore.backends.redis.server import Server
from chatstore.backends.redis.session_lists import SessionLists
from chatstore.backends.redis.sessions import Sessions
from chatstore.contract import STATES, WithoutStates
from chatstore.records import Capabilities

_NOTES = (
    "search scans every message",
    "search, usage and purge read one session after another, not all of them at one moment",
)
_APART = "on a cluster, the order of a session list follows a change a moment later"


class RedisCore(WithoutStates):
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
        self.capabilities = Capabilities(denied=STATES, atomic_batch=None, notes=notes)

        sessions = Sessions(server)
        self.create_session, self.get_session = sessions.create_session, sessions.get_session
        self.update_session, self.delete_session = sessions.update_session, sessions.delete_session
        self.fork_session, self.count_messages = sessions.fork_session, sessions.count_messages

        messages = Messages(server)
        self.add_messages, self.load_records = messages.add_messages, messages.load_records
        self.begin_answer = messages.add_messages
        self.replace_messages, self.truncate = messages.replace_messages, messages.truncate
        self.get_messages, self.get_records = messages.get_messages, messages.get_records
        self.get_message, self.update_message = messages.get_message, messages.update_message
        self.delete_message, self.pop_message = messages.delete_message, messages.pop_message

        listing = Listing(server)
        self.list_sessions, self.search, self.usage = listing.list_sessions, listing.search, listing.usage
        self.find_message = partial(listing.find_message, read=messages.get_message)
        self.purge, self.durability = listing.purge, server.durability
        self.close_answers = partial(listing.close_answers, close=messages.update_message)
