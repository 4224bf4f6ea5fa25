"""A viewer of conversations: one WSGI application, to be mounted in any other, or served by ``chatstore web``.

::

    from chatstore.viewer import Viewer

    viewer = Viewer(chatstore.connect("sqlite:///chat.db"))

Needs the extra ``viewer``.
"""

from __future__ import annotations

from chatstore.viewer.app import Viewer

__all__ = ["Viewer"]
