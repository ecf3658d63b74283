"""The parts of the control by themselves (gate, breaker, fuse, window, pacer), and put together."""

from __future__ import annotations

from itertools import pairwise

import pytest
from asking import Asking

from providers.rate_breaker import Breaker
from providers.rate_control import FAILED, OK, REJECTED, Permit, RateControl
from providers.rate_fuse import EARNED_BY, Crowding, Fuse
from providers.rate_gate import Gate
from providers.rate_hints import TOKENS, Hints
from providers.rate_law import Adaptive
from providers.rate_pacer import Pacer
from providers.rate_window import Window


def test_pacer_lets_what_is_bigger_than_its_bucket_go_on_credit() -> None:
    pacer = Pacer(100.0, 0.0)
    assert pacer.wait_s(10.0, 500.0) == 0.0
    pacer.take(500.0)
    assert pacer.wait_s(10.0, 1.0) == pytest.approx(4.76)
    pacer.take(-300.0)
    assert pacer.wait_s(10.0, 1.0) == pytest.approx(1.76)


def test_right_retry_after_is_waited_out_with_few_probes() -> None:
    asking = Asking(RateControl(20.0, 0.0))
    asking.rate_over(2.0)
    ends = asking.now + 30
    refused = 0
    while (permit := asking.permit()).sent_at < ends:
        asking.now += 0.05
        asking.control.settle(asking.now, permit, REJECTED, Hints(retry_after_s=ends - asking.now))
        refused += 1
    assert refused <= 10
    assert permit.sent_at < ends + 0.1


def test_wrong_retry_after_is_found_out_by_the_first_probe_and_soon_ignored() -> None:
    asking = Asking(RateControl(20.0, 0.0))
    stopped = []
    for _ in range(6):
        asking.rate_over(3.0)
        asking.ask(REJECTED, Hints(retry_after_s=60.0))
        stopped.append(asking.ask(OK))
    assert stopped[:4] == pytest.approx([0.2] * 4)
    assert stopped[-1] < 0.1


def test_trust_in_orders_comes_back_when_they_prove_right() -> None:
    gate = Gate(0.0)
    gate.trust = 0.5
    gate.refused(10.0, 1, 9.9, 4.0, 0.0)
    assert gate.closed
    assert gate.wait_s(10.0, 0.25) == pytest.approx(0.2)
    gate.passed(12.1, 2)
    gate.open(12.2)
    assert gate.trust == 1.0


def test_one_refusal_closes_no_gate_a_row_of_them_does() -> None:
    gate = Gate(0.0)
    for number in range(1, 4):
        gate.refused(number * 0.2, number, number * 0.2 - 0.05, None, 0.0)
        assert not gate.closed
    gate.refused(0.8, 4, 0.75, None, 0.0)
    assert gate.closed


def test_refusals_among_others_close_no_gate() -> None:
    gate = Gate(0.0)
    for number in range(1, 200, 2):
        gate.refused(number * 0.1, number, number * 0.1 - 0.05, None, 0.0)
    assert not gate.closed


def test_only_one_probe_is_in_flight_and_pauses_grow() -> None:
    gate = Gate(0.0)
    gate.close(0.0)
    sent, now = [], 0.0
    for number in range(8):
        now += gate.wait_s(now, 0.25)
        sent.append(now)
        gate.passed(now, number)
        assert gate.wait_s(now, 0.25) == pytest.approx(0.25)
        now += 0.05
        gate.refused(now, number, sent[-1], None, 0.0)
    pauses = [after - before for before, after in pairwise(sent)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(8.05)


def test_probe_that_is_not_refused_in_time_opens_the_gate_before_its_completion_comes() -> None:
    asking = Asking(RateControl(20.0, 0.0))
    asking.rate_over(2.0)
    for _ in range(8):
        asking.ask(REJECTED)
    asking.permit()  # the probe: thinks for a minute
    began = asking.now
    asking.permit()
    assert asking.now - began < 1.0


def test_breaker_lets_one_a_second_through_until_one_succeeds() -> None:
    asking = Asking(RateControl(100.0, 0.0, adaptive=False))
    for _ in range(60):
        asking.ask(FAILED, after_s=0.0)
    assert [asking.ask(FAILED, after_s=0.0) for _ in range(3)] == pytest.approx([1.0] * 3, abs=0.01)
    assert "fail" in asking.control.reason
    asking.ask(OK, after_s=0.0)
    assert asking.ask(OK, after_s=0.0) < 0.02


def test_half_of_all_requests_failing_trips_no_breaker() -> None:
    breaker = Breaker()
    for number in range(500):
        breaker.answered(number % 2 == 0)
    assert not breaker.tripped
    assert breaker.troubled


def test_growth_is_frozen_while_much_fails_but_nothing_is_cut() -> None:
    asking = Asking(RateControl(10.0, 0.0))
    for number in range(60):
        asking.ask(FAILED if number % 3 == 0 else OK, after_s=0.0)
    before = asking.control.limit_qps
    for number in range(200):
        asking.ask(FAILED if number % 3 == 0 else OK, after_s=0.0)
    assert asking.control.limit_qps == before


def test_rate_does_not_grow_while_it_is_not_used() -> None:
    asking = Asking(RateControl(10.0, 0.0))
    for _ in range(500):
        asking.ask(OK, after_s=1.0)
    assert asking.control.limit_qps == 10.0


def test_rate_grows_without_bound_while_it_is_used() -> None:
    asking = Asking(RateControl(10.0, 0.0))
    for _ in range(20_000):
        asking.control.settle(asking.now, asking.permit(), OK)
    assert asking.control.limit_qps > 5_000
    assert asking.control.reason.startswith("raised from")


def test_burst_of_refusals_cuts_once() -> None:
    law = Adaptive(100.0, 0.0)
    law.grow(1.0, 0.0)
    for place in range(10):
        law.sent(1.0 + place * 0.01, 1.0)
    for place in range(10):
        law.refused(1.1 + place * 0.001, 1.0 + place * 0.01, 1.0)
    assert law.rate == 50.0


def test_limit_that_a_header_names_is_begun_with_and_then_scaled_by_it() -> None:
    law = Adaptive(10.0, 0.0)
    law.told(0.0, 80.0)
    assert law.rate == 80.0
    law.refused(10.0, 9.9, 1.0)
    learnt = law.rate
    law.told(11.0, 82.0)
    assert law.rate == learnt
    law.told(11.0, 160.0)
    assert law.rate == pytest.approx(2 * learnt, rel=0.2)


def test_header_that_comes_after_a_limit_was_learnt_changes_nothing() -> None:
    law = Adaptive(10.0, 0.0)
    law.refused(1.0, 0.9, 1.0)
    learnt = law.rate
    law.told(2.0, 500.0)
    assert law.rate == learnt


def test_fuse_allows_twice_what_the_rate_needs() -> None:
    fuse = Fuse()
    assert fuse.limit(10.0) == float("inf")
    fuse.answered(3.0, 1)
    assert fuse.limit(10.0) == 60
    assert fuse.limit(0.01) == 2


def test_ceiling_of_concurrency_falls_to_what_is_held_and_rises_by_one_when_paid_for() -> None:
    fuse = Fuse()
    for in_flight in (14, 12, 10, 11):
        fuse.refused(in_flight)
    assert fuse.ceiling == 10
    raised = [fuse.answered(1.0, 9) for _ in range(EARNED_BY)]
    assert raised == [False] * (EARNED_BY - 1) + [True]
    assert fuse.ceiling == 11


def test_ceiling_does_not_rise_while_it_is_not_reached() -> None:
    fuse = Fuse()
    fuse.refused(10)
    assert not any(fuse.answered(1.0, 5) for _ in range(10 * EARNED_BY))


def test_refusals_of_nearly_all_that_meets_much_in_flight_speak_of_concurrency() -> None:
    crowding = Crowding()
    verdicts = []
    for number in range(10):
        for _ in range(20):
            crowding.sent(5)
        crowding.sent(10)
        verdicts.append(crowding.refused(2.0 * number, 10))
    assert verdicts == [False] * 3 + [True] * 7


def test_refusals_while_much_is_in_flight_say_nothing_if_most_is_admitted_then() -> None:
    crowding = Crowding()
    for number in range(12):
        for others in (*[30] * 15, *[40] * 5):
            crowding.sent(others)
        assert not crowding.refused(2.0 * number, 40)


def test_pause_comes_before_a_second_cut_where_nothing_at_all_is_admitted() -> None:
    law = Adaptive(20.0, 0.0)
    law.refused(1.0, 0.9, 1.0)  # ends the search
    law.refused(10.0, 9.9, 1.0)
    after_cut = law.rate
    assert law.refused(10.2, 10.1, 1.0, in_row=3)
    assert law.rate == after_cut
    assert not law.refused(10.4, 10.3, 1.0, in_row=4)
    assert law.rate < after_cut


def test_window_that_was_not_used_up_does_not_count_for_the_next() -> None:
    window = Window(0.0)
    window.admitted(600.0)
    window.outage_over(6.0, 58.0, 60.0, 0.0)
    window.admitted(500.0)
    window.passed(121.0)
    window.admitted(600.0)
    assert window.outage_over(170.0, 178.0, 180.0, 10.0) == pytest.approx(10.0)


def test_window_is_learnt_from_one_end_of_an_outage_to_the_next() -> None:
    window = Window(0.0)
    window.admitted(600.0)
    assert window.outage_over(6.0, 58.0, 64.0, 0.0) == pytest.approx(10.0)
    assert window.length_s == 60.0


def test_outage_after_a_longer_good_time_says_nothing_of_the_limit() -> None:
    window = Window(0.0)
    window.admitted(2000.0)
    assert window.outage_over(100.0, 158.0, 162.0, 20.0) is None
    assert window.length_s == 0.0


def test_tokens_are_paced_once_a_refusal_speaks_of_them_and_refunded() -> None:
    asking = Asking(RateControl(10.0, 0.0))
    for _ in range(50):
        asking.control.settle(asking.now, asking.permit(1000.0), OK, tokens=1000.0)
    refused = asking.permit(1000.0)
    asking.now += 0.05
    asking.control.settle(asking.now, refused, REJECTED, Hints(cause=TOKENS))
    small, big = asking.control, Asking(asking.control, asking.now)
    began = big.now
    for _ in range(10):
        small.settle(big.now, big.permit(5000.0), OK, tokens=5000.0)
    big_s = big.now - began
    began = big.now
    for _ in range(10):
        small.settle(big.now, big.permit(5000.0), OK, tokens=500.0)
    assert big.now - began < 0.7 * big_s
    assert small.reason.startswith("tokens ")


def test_requests_never_exceed_what_may_be_in_flight() -> None:
    control = RateControl(1000.0, 0.0, max_in_flight=3)
    asking = Asking(control)
    for _ in range(3):
        asking.permit()
    assert not isinstance(control.try_acquire(asking.now + 100), Permit)
