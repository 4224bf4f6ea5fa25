"""What a project must not do, and what would be seen: a repository on the address of the settings."""

from __future__ import annotations

import os

from django.test import TestCase

import chatstore


class Early(TestCase):
    """Stores in the real database."""

    def test_it_passes(self) -> None:
        """And leaves a trace."""
        with chatstore.connect(os.environ["SHOP_URL"]) as repository:
            repository.add_messages("early", [chatstore.HumanMessage("Hello!")])
