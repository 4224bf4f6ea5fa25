"""A connection that breaks before or after COMMIT: the library's own retry loses and doubles nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

import chatstore
from chatstore import AIMessage, HumanMessage, errors
from tests.proxy import FaultProxy, Mode
from tests.reliability.campaign import Campaign
from tests.reliability.places import place

PORTS = {"postgres": 5432, "mariadb": 3306, "redis": 6379}


@pytest.mark.parametrize("mode", [Mode.BEFORE, Mode.AFTER], ids=["before COMMIT", "after COMMIT"])
@pytest.mark.parametrize("kind", ["postgres", "mariadb", "redis"])
def test_a_cut_connection_neither_loses_nor_doubles(kind: str, mode: Mode) -> None:
    """100 cuts each: every append succeeds in the end, once; also of messages that came without an id."""
    campaign = Campaign(f"connection cut {mode.name.lower()} COMMIT, {kind}", 100)
    with place(kind) as direct:
        at = make_url(direct)
        with FaultProxy(at.host or "127.0.0.1", at.port or PORTS[kind]) as proxy:
            behind = at.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
            with chatstore.connect(behind) as repository:
                sent: list[str] = []
                for number in campaign.rounds():
                    before = proxy.injected
                    texts = [f"question {number}", f"answer {number}"]
                    # PostgreSQL's single statement and Redis's script commit themselves: nothing is sent after them.
                    proxy.arm(mode, b"COMMIT" if kind == "mariadb" else texts[1].encode(), times=1)
                    records = repository.add_messages("s", [HumanMessage(texts[0]), AIMessage(texts[1])])
                    assert [record.message.content for record in records] == texts
                    sent += texts
                    assert proxy.injected == before + 1
                    campaign.done += 1
                proxy.disarm()
                stored = [message.content for message in repository.get_messages("s")]
    assert stored == sent
    campaign.report(messages=len(sent), stored=len(stored))


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_change_that_cannot_be_repeated_says_so(kind: str) -> None:
    """A pop whose COMMIT's answer is lost raises `OutcomeUnknown`: it is never done twice."""
    campaign = Campaign(f"pop cut after COMMIT, {kind}", 10)
    with place(kind) as direct:
        at = make_url(direct)
        with FaultProxy(at.host or "127.0.0.1", at.port or PORTS[kind]) as proxy:
            behind = at.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
            with chatstore.connect(behind) as repository:
                repository.add_messages("s", [HumanMessage(str(number)) for number in range(20)])
                for _ in campaign.rounds():
                    left = repository.count_messages("s")
                    proxy.arm(Mode.AFTER, b"COMMIT", times=1)
                    with pytest.raises(errors.OutcomeUnknown):
                        repository.pop_message("s")
                    proxy.disarm()
                    campaign.done += 1
                    assert repository.count_messages("s") == left - 1
    campaign.report()
