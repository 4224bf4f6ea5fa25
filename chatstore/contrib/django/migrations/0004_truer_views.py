"""chatstore_0004, on Django's connection."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations

from chatstore.contrib.django.operations import Revision


class Migration(migrations.Migration):
    """One revision."""

    dependencies: ClassVar[list[Any]] = [("chatstore", "0003_full_text_search")]
    operations: ClassVar[list[Any]] = [Revision("chatstore_0004", after="chatstore_0003")]
