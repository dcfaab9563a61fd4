"""A short campaign of faults under load: the checker finds nothing lost, doubled, reordered or miscalculated."""

import asyncio
from pathlib import Path

import pytest
from touchline_devstack.stack import Stack

from tests.campaign.rounds import play_round

pytestmark = [pytest.mark.stack, pytest.mark.faults]


def test_a_short_campaign_of_faults_has_no_findings(stack: Stack, tmp_path: Path) -> None:
    outcome = asyncio.run(play_round(stack, tmp_path, 1, 1, 20, engines=2, notifiers=2, servers=False, least=101))
    assert outcome.unfinished == []
    assert outcome.leaked == []
    assert outcome.report.findings == [], outcome.report.as_text()
    assert outcome.accepted > 100
    assert outcome.faults
