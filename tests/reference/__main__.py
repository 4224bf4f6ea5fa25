"""Write what is written from the code."""

from __future__ import annotations

from tests.reference import write

write()
