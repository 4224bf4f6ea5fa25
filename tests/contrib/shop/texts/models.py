"""Users whose primary key is a text."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class Customer(AbstractUser):
    """A user."""

    username = models.CharField(max_length=80, primary_key=True)
