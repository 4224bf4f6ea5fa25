"""Where conversations are kept: one module or package a backend; they do not know each other."""

from __future__ import annotations
