"""chatstore_0006, on Django's connection, and what it adds to the models."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models

from chatstore.contrib.django.operations import Revision


class Migration(migrations.Migration):
    """One revision."""

    dependencies: ClassVar[list[Any]] = [("chatstore", "0005_streamed_answers")]
    operations: ClassVar[list[Any]] = [
        migrations.SeparateDatabaseAndState(
            [Revision("chatstore_0006", after="chatstore_0005")],
            [migrations.AddField("session", "indexed_position", models.BigIntegerField())],
        )
    ]
