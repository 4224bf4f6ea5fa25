"""The application's own migration."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Make the table."""

    initial = True
    operations = [
        migrations.CreateModel(
            name="Account",
            fields=[
                ("user", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("credits", models.IntegerField(default=10)),
            ],
        )
    ]
