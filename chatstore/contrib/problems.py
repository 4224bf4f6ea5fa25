"""What an error of chatstore's is in HTTP: a status and a problem details object (RFC 9457).

Knows which status each error has, and what a stranger may read of it. Refuses to know any framework. What is wrong
with the request is said; of what is wrong with the storage, only what the caller can do: addresses and advice for
operators belong into the log.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore.errors import (
    ChatstoreError,
    Conflict,
    CorruptRecord,
    Invalid,
    MessageConflict,
    MessageNotFound,
    MessageTooLarge,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    PartialWrite,
    SchemaError,
    SessionExists,
    StorageError,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE: Final = "application/problem+json"
#: Seconds after which a client may ask again.
RETRY_AFTER: Final = 5


class Problem(NamedTuple):
    """An error as HTTP says it: *status*, *type* (a URN for each class of errors), *title* and *detail*."""

    status: int
    type: str
    title: str
    detail: str
    retry_after: int | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The problem details object."""
        return {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer's head says beside the status."""
        again = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **again}

    @property
    def is_ours(self) -> bool:
        """Tell whether an operator should hear of it: the request was not at fault."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


#: By class, the most special first; None says what the error says, which names the argument and never its content.
_ANSWERS: Final[tuple[tuple[type[ChatstoreError], HTTPStatus, str | None], ...]] = (
    (MessageNotFound, HTTPStatus.NOT_FOUND, "This chat has no such message."),
    (NotFound, HTTPStatus.NOT_FOUND, "There is no such chat."),
    (SessionExists, HTTPStatus.CONFLICT, "This id is taken: choose another one."),
    (
        MessageConflict,
        HTTPStatus.CONFLICT,
        "A message with this id is stored already, and it says something else.",
    ),
    (Conflict, HTTPStatus.CONFLICT, "The chat has changed meanwhile: load it again, then decide."),
    (MessageTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, None),
    (Invalid, HTTPStatus.BAD_REQUEST, None),
    (
        OutcomeUnknown,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The connection to the database broke: look whether it was stored before you repeat it.",
    ),
    (
        StorageUnavailable,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Chats cannot be reached at the moment: try again later.",
    ),
    (
        SchemaError,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Chats wait for an upgrade of the service: try again later.",
    ),
    (NotSupported, HTTPStatus.NOT_IMPLEMENTED, "Chats are kept where this cannot be done."),
    (
        PartialWrite,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Only a part could be stored: load the chat again to see which.",
    ),
    (
        CorruptRecord,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "A part of this chat is damaged: tell who runs this service.",
    ),
    (
        StorageError,  # no rights, no space, a read-only copy: nothing that asking again would cure
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Chats cannot be stored or read at the moment: tell who runs this service.",
    ),
    (
        ChatstoreError,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "This could not be done: the error is in the server's log.",
    ),
)
#: What a caller may try again without looking first.
_AGAIN: Final = (StorageUnavailable, SchemaError)


def problem(error: ChatstoreError) -> Problem:
    """Return what *error* is in HTTP."""
    status, detail = next((status, said) for kind, status, said in _ANSWERS if isinstance(error, kind))
    again = isinstance(error, _AGAIN) and not isinstance(error, OutcomeUnknown)
    return Problem(
        status,
        f"urn:chatstore:error:{_dashed(type(error).__name__)}",
        status.phrase,
        detail or str(error),
        RETRY_AFTER if again else None,
    )


def not_logged_in() -> Problem:
    """Return the problem of a request without an owner: nobody is logged in, or not any more."""
    status = HTTPStatus.UNAUTHORIZED
    return Problem(
        status, "urn:chatstore:error:no-owner", status.phrase, "Nobody is logged in: log in first."
    )


def unexpected() -> Problem:
    """Return the problem of an error that is not chatstore's, for an answer that has begun to stream."""
    return problem(ChatstoreError())._replace(type="about:blank")


def _dashed(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
