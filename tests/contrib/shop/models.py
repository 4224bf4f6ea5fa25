"""The application's own table."""

from __future__ import annotations

from django.db import models


class Account(models.Model):
    """What a user has paid for."""

    user = models.CharField(max_length=80, primary_key=True)
    credits = models.IntegerField(default=10)

    def __str__(self) -> str:
        return str(self.user)
