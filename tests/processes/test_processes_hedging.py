"""What is called slow: past the 99th percentile of what has ended."""

from __future__ import annotations

from processes.hedging import FEWEST, Hedging


def test_nothing_is_slow_before_enough_has_ended():
    hedging = Hedging()
    hedging.handed_out(range(FEWEST + 1), 0.0)
    hedging.ended(range(FEWEST - 1), 1.0)
    assert hedging.slow([FEWEST], 1000.0) == []
    hedging.ended([FEWEST - 1], 1.0)
    assert hedging.slow([FEWEST], 1000.0) == [FEWEST]


def test_slow_is_beyond_what_nearly_all_take_the_longest_first():
    hedging = Hedging()
    hedging.handed_out(range(200), 0.0)
    for number in range(200):
        hedging.ended([number], 10.0 if number == 7 else 1.0 + number / 1000)
    hedging.handed_out([300], 100.0)
    hedging.handed_out([301], 99.0)
    assert hedging.slow([300, 301], 100.9) == [301]
    assert hedging.slow([300, 301], 105.0) == [301, 300]
    assert hedging.slow([999], 105.0) == []


def test_trial_that_is_handed_out_again_is_timed_from_the_first_time():
    hedging = Hedging()
    hedging.handed_out(range(50), 0.0)
    hedging.ended(range(50), 1.0)
    hedging.handed_out([60], 10.0)
    hedging.handed_out([60], 20.0)
    assert hedging.slow([60], 11.5) == [60]
