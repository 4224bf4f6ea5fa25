"""chatstore_0005, on Django's connection, and what it adds to the models."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models

from chatstore.contrib.django.operations import Revision

FIELDS = {
    "finish_reason": models.CharField(max_length=255, null=True),
    "state": models.CharField(max_length=16, null=True),
    "updated_at": models.DateTimeField(null=True, verbose_name="changed"),
    "first_token_at": models.DateTimeField(null=True),
    "last_token_at": models.DateTimeField(null=True),
}


class Migration(migrations.Migration):
    """One revision."""

    dependencies: ClassVar[list[Any]] = [("chatstore", "0004_truer_views")]
    operations: ClassVar[list[Any]] = [
        migrations.SeparateDatabaseAndState(
            [Revision("chatstore_0005", after="chatstore_0004")],
            [migrations.AddField("message", name, field) for name, field in FIELDS.items()],
        )
    ]
