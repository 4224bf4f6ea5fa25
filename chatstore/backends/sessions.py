"""The public name of what a backend that keeps whole sessions builds on: `WholeSessionCore`, and as `SessionsCore`.

It is defined in `chatstore.backends.common.whole_sessions`.
"""

from __future__ import annotations

from chatstore.backends.common.whole_sessions import WholeSessionCore

#: The name that this class had first.
SessionsCore = WholeSessionCore

__all__ = ["SessionsCore", "WholeSessionCore"]
