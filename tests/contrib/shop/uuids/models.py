"""Users whose primary key is a UUID."""

from __future__ import annotations

from uuid import uuid4

from django.contrib.auth.models import AbstractUser
from django.db import models


class Customer(AbstractUser):
    """A user."""

    id = models.UUIDField(primary_key=True, default=uuid4)
