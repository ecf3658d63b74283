"""Whatever happens to a run, the same command finishes it: nothing lost, nothing twice, nobody and no secret left."""

from __future__ import annotations

import pytest
from campaign import Campaign
from fault_cycle import Fault


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_the_same_command_finishes_whatever_happens(campaign: Campaign, numbered_fault: tuple[int, Fault]) -> None:
    outcome = campaign.outcome(numbered_fault[0])
    if outcome is None:
        pytest.skip("there is no C compiler for io_shim.c")
    assert not outcome.complaints, f"{outcome.scenario}\n{outcome.notes}\n" + "\n".join(outcome.complaints)
