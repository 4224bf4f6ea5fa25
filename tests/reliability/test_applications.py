"""The example application of each framework under load: clients that leave, and a crowd that does everything."""

from __future__ import annotations

import pytest

from tests import servers
from tests.contrib import chatting
from tests.contrib.frameworks import FRAMEWORKS, set_up
from tests.reliability.campaign import Campaign

PLACES = [(name, kind) for name, framework in FRAMEWORKS.items() for kind in framework.databases]
#: As many as a small pool of processes and threads serves without making anybody wait.
TOGETHER = 8


@pytest.mark.parametrize(("name", "kind"), PLACES)
def test_clients_that_leave_lose_nothing(name: str, kind: str) -> None:
    """200 answers whose client leaves in the middle: what it got is stored, and marked for what it is."""
    framework = FRAMEWORKS[name]
    campaign = Campaign(f"clients that leave, {name}, {kind}", 200)
    with servers.fresh_database(kind) as url, set_up(name, url) as server:
        counted = chatting.leaving(server, framework.browser, campaign, together=TOGETHER)
    assert counted["lost"] == 0
    assert counted["complete" if framework.goes_on else "incomplete"] > campaign.done / 2
    campaign.report(lost=0, incomplete=counted["incomplete"], complete=counted["complete"])


@pytest.mark.parametrize(("name", "kind"), PLACES)
def test_a_crowd_leaves_nothing_behind(name: str, kind: str) -> None:
    """1,000 requests of all kinds at once: no error, nothing of other people's, no connection left out."""
    framework = FRAMEWORKS[name]
    campaign = Campaign(f"a crowd on {framework.processes} processes, {name}, {kind}", 1000)
    with servers.fresh_database(kind) as url, set_up(name, url) as server:
        requests = campaign.size(1000, 200)
        counted = chatting.mixed(server, framework.browser, url, requests, framework.processes)
    campaign.done = counted.pop("requests")
    campaign.report(**counted)
