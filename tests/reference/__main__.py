"""Write the generated pages of docs/reference."""

from __future__ import annotations

from tests.reference import write

write()
