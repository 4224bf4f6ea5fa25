"""chatstore_0001: the tables, and the models that read them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import migrations, models

from chatstore.contrib.django.fields import JSON, Owner
from chatstore.contrib.django.operations import Revision

MODELS = [
    migrations.CreateModel(
        name="Session",
        fields=[
            (
                "session_id",
                models.CharField(max_length=255, primary_key=True, serialize=False, verbose_name="session"),
            ),
            ("tenant_id", models.CharField(max_length=255, null=True, verbose_name="tenant")),
            ("user_id", models.CharField(max_length=255, null=True, verbose_name="user id")),
            ("title", models.TextField(null=True)),
            ("metadata", JSON()),
            ("message_count", models.BigIntegerField(verbose_name="messages")),
            ("last_position", models.BigIntegerField()),
            ("revision", models.BigIntegerField()),
            ("forked_from", models.CharField(max_length=255, null=True)),
            ("forked_at", models.BigIntegerField(null=True)),
            ("created_at", models.DateTimeField(verbose_name="created")),
            ("updated_at", models.DateTimeField(verbose_name="last changed")),
            ("archived_at", models.DateTimeField(null=True, verbose_name="archived")),
            ("expires_at", models.DateTimeField(null=True, verbose_name="expires")),
            (
                "user",
                Owner(
                    on_delete=models.DO_NOTHING,
                    related_name="chatstore_sessions",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
        options={
            "db_table": "chatstore_sessions",
            "default_permissions": ("view",),
            "ordering": ("-updated_at", "-session_id"),
            "verbose_name": "conversation",
        },
    ),
    migrations.CreateModel(
        name="Message",
        fields=[
            ("id", models.BigAutoField(primary_key=True, serialize=False)),
            ("position", models.BigIntegerField()),
            ("message_id", models.CharField(max_length=255)),
            ("id_generated", models.BooleanField()),
            ("type", models.CharField(max_length=32)),
            ("content", models.TextField(null=True)),
            ("name", models.CharField(max_length=255, null=True)),
            ("tool_call_id", models.CharField(max_length=255, null=True)),
            ("model", models.CharField(max_length=255, null=True)),
            ("input_tokens", models.IntegerField(null=True)),
            ("output_tokens", models.IntegerField(null=True)),
            ("source", models.CharField(max_length=64, null=True)),
            ("payload", JSON()),
            ("created_at", models.DateTimeField(verbose_name="stored")),
            (
                "session",
                models.ForeignKey(
                    on_delete=models.DO_NOTHING, related_name="messages", to="chatstore.session"
                ),
            ),
        ],
        options={
            "db_table": "chatstore_messages",
            "default_permissions": ("view",),
            "ordering": ("session_id", "position"),
        },
    ),
]


class Migration(migrations.Migration):
    """The first revision."""

    initial = True
    dependencies: ClassVar[list[Any]] = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations: ClassVar[list[Any]] = [
        migrations.SeparateDatabaseAndState([Revision("chatstore_0001", after="base")], MODELS)
    ]
