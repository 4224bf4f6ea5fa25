"""LLM frameworks, one module or package each; nothing else in chatstore imports a framework."""

from __future__ import annotations
