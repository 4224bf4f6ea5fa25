"""Run the migrations on whatever Alembic was told; all of the work lives in the package, typed and tested."""

from __future__ import annotations

from chatstore.backends.sql.migrations import run_env

run_env()
