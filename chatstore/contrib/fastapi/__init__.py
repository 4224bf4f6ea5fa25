"""chatstore in a FastAPI or Starlette application: its lifespan, its users, its errors, and routes for chats.

::

    chats = Chatstore("postgresql://…", owner=current_user)
    app = FastAPI(lifespan=chats.lifespan)
    chats.init_app(app)
    app.include_router(chats.router(answer=ask_model), prefix="/chats")

`Chatstore` has what an application needs of any kind; its `router` is a chat application's usual routes, ready made.
"""

from __future__ import annotations

from chatstore.extras import not_installed

try:
    import fastapi  # noqa: F401
except ImportError as error:
    raise not_installed("FastAPI", "fastapi") from error

from chatstore.contrib.fastapi.extension import Chatstore
from chatstore.contrib.fastapi.schemas import Hit, Hits, Record, RecordPage, Session, SessionPage

__all__ = ["Chatstore", "Hit", "Hits", "Record", "RecordPage", "Session", "SessionPage"]
