"""Eight processes that upgrade one fresh database at once: all succeed."""

from __future__ import annotations

import pytest

from tests import servers
from tests.reliability.campaign import Campaign
from tests.sql.upgrading import race

PROCESSES = 8


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_eight_processes_upgrade_one_database(kind: str) -> None:
    """10 rounds: whoever comes first migrates, the others find it done, nobody fails."""
    campaign = Campaign(f"8 upgrades at once, {kind}", 10)
    for _ in campaign.rounds():
        with servers.fresh_database(kind) as url:
            answers = race(url, PROCESSES)
        assert len(answers) == PROCESSES
        assert sum(answer.startswith("None ") for answer in answers) == 1
        campaign.done += 1
    campaign.report(processes=campaign.done * PROCESSES)
