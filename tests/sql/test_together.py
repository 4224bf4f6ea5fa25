"""Two callers of SQL repositories that meet at one moment: neither takes or shows what is the other's."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Thread
from typing import Any

import pytest

import chatstore
from chatstore import HumanMessage
from chatstore.backends.sql import core, reading


def test_purge_spares_what_was_written_since_it_looked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL would answer from the snapshot that the list of sessions was read from."""
    if url.startswith("sqlite"):
        pytest.skip("a unit of SQLite holds the whole file from its beginning")
    with chatstore.connect(url) as repository, chatstore.connect(url) as other:
        repository.create_session("s")
        cut, locked = datetime.now(UTC), core.locked
        writer = Thread(target=lambda: other.add_messages("s", [HumanMessage("new")]))

        def late(*given: Any) -> Any:
            if writer.ident is None:
                writer.start()
                writer.join()
            return locked(*given)

        monkeypatch.setattr(core, "locked", late)
        assert (0, 0) == repository.purge(updated_before=cut)[:2]
        assert ["new"] == [message.content for message in repository.get_messages("s")]


def test_get_message_never_shows_the_session_that_came_after(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is deleted and made again while it runs, an owner sees his own message or none."""
    with chatstore.connect(url) as repository:
        repository.scope(user_id="a").add_messages("s", [HumanMessage("of a")])
        found = reading.get_session

        def overtaken(*given: Any) -> Any:
            seen = found(*given)
            monkeypatch.setattr(reading, "get_session", found)
            repository.delete_session("s")
            repository.scope(user_id="b").add_messages("s", [HumanMessage("of b")])
            return seen

        monkeypatch.setattr(reading, "get_session", overtaken)
        assert "of a" == repository.scope(user_id="a").get_message("s", 1).message.content
