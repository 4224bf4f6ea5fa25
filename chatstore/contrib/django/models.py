"""chatstore's tables as models that read: `Session`, `Message` and `State`, with joins to the application's users.

For the admin, for reports, and wherever a `QuerySet` is handy. What is written goes through
`chatstore.contrib.django.repository`, which keeps positions, counters and revisions right; these models refuse. A test
compares them with `chatstore.models`, column by column.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.conf import settings
from django.db import models

from chatstore.contrib.django.fields import JSON, Owner
from chatstore.errors import NotSupported


def _refuse(*_: Any, **__: Any) -> NoReturn:
    msg = "these models only read: change what is stored through chatstore.contrib.django.repository"
    raise NotSupported(msg)


class ReadQuerySet(models.QuerySet):
    """A `QuerySet` that reads; what would write raises `NotSupported`."""

    create = get_or_create = update_or_create = bulk_create = bulk_update = update = delete = _refuse
    acreate = aget_or_create = aupdate_or_create = abulk_create = abulk_update = aupdate = adelete = _refuse
    # Django marks what templates must not call.
    _refuse.alters_data = True  # type: ignore[attr-defined]


class ReadModel(models.Model):
    """A model that reads; `save` and `delete` raise `NotSupported`."""

    objects = ReadQuerySet.as_manager()

    save = delete = asave = adelete = _refuse

    class Meta:
        """Nothing of its own."""

        abstract = True


class Session(ReadModel):
    """One conversation."""

    session_id = models.CharField("session", max_length=255, primary_key=True)
    tenant_id = models.CharField("tenant", max_length=255, null=True)
    user_id = models.CharField("user id", max_length=255, null=True)
    user = Owner(settings.AUTH_USER_MODEL, related_name="chatstore_sessions")
    title = models.TextField(null=True)
    metadata = JSON()
    message_count = models.BigIntegerField("messages")
    last_position = models.BigIntegerField()
    revision = models.BigIntegerField()
    forked_from = models.CharField(max_length=255, null=True)
    forked_at = models.BigIntegerField(null=True)
    created_at = models.DateTimeField("created")
    updated_at = models.DateTimeField("last changed")
    archived_at = models.DateTimeField("archived", null=True)
    expires_at = models.DateTimeField("expires", null=True)
    indexed_position = models.BigIntegerField()

    class Meta:
        """The table, and what may be done to it in the admin."""

        db_table = "chatstore_sessions"
        default_permissions = ("view",)
        ordering = ("-updated_at", "-session_id")
        verbose_name = "conversation"

    def __str__(self) -> str:
        return str(self.title or self.session_id)


class Message(ReadModel):
    """One message of a conversation; ``position`` orders them."""

    id = models.BigAutoField(primary_key=True)
    session = models.ForeignKey(Session, models.DO_NOTHING, related_name="messages")
    position = models.BigIntegerField()
    message_id = models.CharField(max_length=255)
    id_generated = models.BooleanField()
    type = models.CharField(max_length=32)
    content = models.TextField(null=True)
    name = models.CharField(max_length=255, null=True)
    tool_call_id = models.CharField(max_length=255, null=True)
    model = models.CharField(max_length=255, null=True)
    input_tokens = models.IntegerField(null=True)
    output_tokens = models.IntegerField(null=True)
    source = models.CharField(max_length=64, null=True)
    payload = JSON()
    created_at = models.DateTimeField("stored")
    finish_reason = models.CharField(max_length=255, null=True)
    state = models.CharField(max_length=16, null=True)
    updated_at = models.DateTimeField("changed", null=True)
    first_token_at = models.DateTimeField(null=True)
    last_token_at = models.DateTimeField(null=True)

    class Meta:
        """The table, and what may be done to it in the admin."""

        db_table = "chatstore_messages"
        default_permissions = ("view",)
        ordering = ("session_id", "position")

    def __str__(self) -> str:
        return f"{self.session_id} {self.position}"


class State(ReadModel):
    """One named state of an owner, beside the conversations."""

    state_id = models.CharField(max_length=255, primary_key=True)
    tenant_id = models.CharField("tenant", max_length=255, null=True)
    user_id = models.CharField("user id", max_length=255, null=True)
    namespace = models.CharField(max_length=255)
    state_key = models.CharField("key", max_length=255)
    value = JSON()
    revision = models.BigIntegerField()
    updated_at = models.DateTimeField("last changed")

    class Meta:
        """The table, and what may be done to it in the admin."""

        db_table = "chatstore_states"
        default_permissions = ("view",)
        ordering = ("namespace", "state_key")

    def __str__(self) -> str:
        return f"{self.namespace} {self.state_key}"
