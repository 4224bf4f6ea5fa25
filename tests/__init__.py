"""The tests of chatstore; a package, so that its helpers can be imported by name."""

from __future__ import annotations
