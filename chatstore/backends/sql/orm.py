"""`SessionRow`, `MessageRow` and `StateRow`: the tables as declarative classes, for applications that use an ORM.

This module knows SQLAlchemy's ORM, which nothing else of chatstore imports; the columns are those of
`chatstore.backends.sql.models`, where the classes are public.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, relationship

from chatstore.backends.sql.models import complete, messages, sessions, states


class Base(DeclarativeBase):
    """The base of chatstore's models, with a MetaData of its own."""

    metadata = complete()


class SessionRow(Base):
    """One conversation, its owner and its counters."""

    __table__ = sessions

    session_id: Mapped[str]
    tenant_id: Mapped[str | None]
    user_id: Mapped[str | None]
    title: Mapped[str | None]
    session_metadata: Mapped[Any] = column_property(sessions.c.metadata)
    message_count: Mapped[int]
    last_position: Mapped[int]
    revision: Mapped[int]
    forked_from: Mapped[str | None]
    forked_at: Mapped[int | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    indexed_position: Mapped[int]

    messages: Mapped[list[MessageRow]] = relationship(
        back_populates="session",
        order_by="MessageRow.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )


class MessageRow(Base):
    """One message of a conversation."""

    __table__ = messages

    id: Mapped[int]
    session_id: Mapped[str]
    position: Mapped[int]
    message_id: Mapped[str]
    id_generated: Mapped[bool]
    type: Mapped[str]
    content: Mapped[str]
    name: Mapped[str | None]
    tool_call_id: Mapped[str | None]
    model: Mapped[str | None]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    source: Mapped[str | None]
    payload: Mapped[Any]
    created_at: Mapped[datetime]
    finish_reason: Mapped[str | None]
    state: Mapped[str | None]
    updated_at: Mapped[datetime | None]
    first_token_at: Mapped[datetime | None]
    last_token_at: Mapped[datetime | None]

    session: Mapped[SessionRow] = relationship(back_populates="messages")


class StateRow(Base):
    """One named state of an owner."""

    __table__ = states

    state_id: Mapped[str]
    tenant_id: Mapped[str | None]
    user_id: Mapped[str | None]
    namespace: Mapped[str]
    state_key: Mapped[str]
    value: Mapped[Any]
    revision: Mapped[int]
    updated_at: Mapped[datetime]
