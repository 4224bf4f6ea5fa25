"""chatstore_0007, on Django's connection, and what it adds to the models."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models

from chatstore.contrib.django.fields import JSON
from chatstore.contrib.django.operations import Revision

STATE = [
    ("state_id", models.CharField(max_length=255, primary_key=True, serialize=False)),
    ("tenant_id", models.CharField(max_length=255, null=True, verbose_name="tenant")),
    ("user_id", models.CharField(max_length=255, null=True, verbose_name="user id")),
    ("namespace", models.CharField(max_length=255)),
    ("state_key", models.CharField(max_length=255, verbose_name="key")),
    ("value", JSON()),
    ("revision", models.BigIntegerField()),
    ("updated_at", models.DateTimeField(verbose_name="last changed")),
]


class Migration(migrations.Migration):
    """One revision."""

    dependencies: ClassVar[list[Any]] = [("chatstore", "0006_search_off_the_append")]
    operations: ClassVar[list[Any]] = [
        migrations.SeparateDatabaseAndState(
            [Revision("chatstore_0007", after="chatstore_0006")],
            [
                migrations.CreateModel(
                    "State",
                    STATE,
                    options={
                        "db_table": "chatstore_states",
                        "default_permissions": ("view",),
                        "ordering": ("namespace", "state_key"),
                    },
                )
            ],
        )
    ]
