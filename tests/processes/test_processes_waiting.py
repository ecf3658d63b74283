"""What waits: ranges of the plan and what came back, against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processes.waiting import Waiting


def test_what_came_back_goes_out_first_and_what_is_done_never():
    waiting = Waiting({2, 4})
    assert waiting.add(range(0, 10, 2)) == 3
    assert waiting.take(1) == [0]
    waiting.put_back([0])
    assert len(waiting) == 3
    assert waiting.take(99) == [0, 6, 8]
    assert len(waiting) == 0
    assert waiting.take(1) == []


def test_range_that_is_all_done_does_not_wait():
    waiting = Waiting(range(100))
    assert waiting.add(range(50)) == 0
    assert waiting.take(1) == []


@given(
    done=st.sets(st.integers(0, 40)),
    ranges=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 41), st.integers(1, 5)), max_size=4),
    steps=st.lists(st.integers(-3, 9), max_size=30),
)
def test_it_is_a_list_that_takes_less_room(done, ranges, steps):
    waiting, plain, out = Waiting(done), [], []
    for start, stop, step in ranges:
        added = [number for number in range(start, stop, step) if number not in done]
        assert waiting.add(range(start, stop, step)) == len(added)
        plain += added
    for step in steps:
        if step < 0:
            back, out = out[step:], out[:step]
            waiting.put_back(back)
            plain = back + plain
        else:
            taken, plain = plain[:step], plain[step:]
            assert waiting.take(step) == taken
            out += taken
        assert len(waiting) == len(plain)
    waiting.clear()
    assert len(waiting) == 0
    assert waiting.take(5) == []
