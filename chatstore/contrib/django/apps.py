"""The application for ``INSTALLED_APPS``: ``"chatstore.contrib.django"``."""

from __future__ import annotations

from django.apps import AppConfig


class ChatstoreConfig(AppConfig):
    """chatstore in a Django project."""

    name = "chatstore.contrib.django"
    label = "chatstore"
    verbose_name = "Chats"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system check."""
        from chatstore.contrib.django import checks  # noqa: F401 - importing it registers it
