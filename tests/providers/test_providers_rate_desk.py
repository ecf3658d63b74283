"""One control shared by several parties: turns, and what a party leaves behind; in time turned by hand."""

from __future__ import annotations

import pytest

from providers.rate_control import NO_HINTS, OK, RateControl
from providers.rate_desk import UNUSED, Desk, Party


def desk(clock, qps: float = 10.0) -> Desk:
    return Desk(RateControl(qps, clock.now(), adaptive=False), clock)


def work(desk: Desk, clock, parties: list[Party], seconds: float, asked: int = 5) -> list[int]:
    """Everyone asks whenever it may, the first one always first; return how many permits each got."""
    got = [0] * len(parties)
    due = [clock.now()] * len(parties)
    end = clock.now() + seconds
    while clock.now() < end:
        for place, party in enumerate(parties):
            if due[place] <= clock.now():
                permits, wait_s = desk.permits(party, [1.0] * asked)
                got[place] += len(permits)
                due[place] = clock.now() + max(wait_s, 0.005)
                for permit in permits:
                    desk.settle(party, permit, OK, NO_HINTS, None)
        clock.time += 0.001
    return got


@pytest.mark.parametrize("qps", [10.0, 400.0])
def test_parties_that_always_want_get_the_same_whoever_asks_first(clock, qps: float) -> None:
    one = desk(clock, qps)
    got = work(one, clock, [one.join() for _ in range(4)], 20.0)
    assert sum(got) == pytest.approx(20 * qps, rel=0.05)
    assert max(got) - min(got) <= 2 + 0.02 * qps


def test_party_that_wants_nothing_costs_the_others_nothing(clock) -> None:
    one = desk(clock)
    parties = [one.join(), one.join()]
    assert work(one, clock, parties, 5.0)
    assert work(one, clock, parties[:1], 20.0)[0] == pytest.approx(200, abs=8)


def test_quiet_time_gives_no_claim_to_be_served_first(clock) -> None:
    one = desk(clock)
    busy, quiet = one.join(), one.join()
    work(one, clock, [busy], 60.0)
    got = work(one, clock, [busy, quiet], 10.0)
    assert got[0] == pytest.approx(got[1], abs=4)


def test_what_a_party_had_in_flight_goes_back_when_it_leaves(clock) -> None:
    control = RateControl(1000.0, clock.now(), adaptive=False, max_in_flight=4)
    one = Desk(control, clock)
    first, second = one.join(), one.join()
    clock.time += 1
    assert len(one.permits(first, [1.0] * 9)[0]) == 4
    assert one.permits(second, [1.0])[0] == []
    one.leave(first)
    clock.time += 1
    assert one.parties == 1
    assert len(one.permits(second, [1.0] * 9)[0]) == 4


def test_unused_permit_goes_back_and_a_foreign_one_changes_nothing(clock) -> None:
    control = RateControl(1000.0, clock.now(), adaptive=False)
    one, other = Desk(control, clock), desk(clock)
    party = one.join()
    (permit,), _ = one.permits(party, [1.0])
    (foreign,), _ = other.permits(other.join(), [1.0])
    one.settle(party, foreign, OK, NO_HINTS, None)
    assert control.in_flight == 1
    one.settle(party, permit, UNUSED, NO_HINTS, None)
    one.settle(party, permit, UNUSED, NO_HINTS, None)
    assert control.in_flight == 0
