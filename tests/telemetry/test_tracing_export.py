"""Where spans go: an endpoint that is down, slow or refuses costs its spans and one warning, never the run."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from otlp_receiver import Receiver, receiving
from traced_trials import TRIAL, run_trial, tracer

SPANS_OF_A_TRIAL = 6


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def many(one, count: int) -> None:
    for number in range(count):
        run_trial(one, replace(TRIAL, trial_key=f"k{number}"))


def test_all_spans_arrive_in_batches_and_nothing_is_said(receiver):
    warnings: list[str] = []
    one = tracer(receiver.url, warnings=warnings)
    many(one, 100)
    one.close(20)
    assert len(receiver.spans) == 100 * SPANS_OF_A_TRIAL
    assert len({span.span_id for span in receiver.spans}) == len(receiver.spans)
    assert len(receiver.bodies) < 50
    assert warnings == []


def test_spans_arrive_while_the_trials_still_run(receiver):
    one = tracer(receiver.url)
    run_trial(one)
    receiver.wait_for(lambda it: len(it.spans) == SPANS_OF_A_TRIAL)
    one.close()


def test_headers_are_sent_and_bodies_may_be_packed(receiver):
    one = tracer(receiver.url, headers={"authorization": "Bearer t0p"}, compression="gzip", resource={"team": "blue"})
    run_trial(one)
    one.close(10)
    assert receiver.headers[0]["authorization"] == "Bearer t0p"
    assert receiver.headers[0]["content-encoding"] == "gzip"
    assert receiver.spans[0].resource["team"] == "blue"


def test_an_endpoint_that_is_down_is_told_with_its_reason_and_without_the_key():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    warnings: list[str] = []
    one = tracer(url, warnings=warnings, headers={"authorization": "Bearer t0p"})
    many(one, 3)
    one.close(1.0)
    assert warnings == [
        f"traces: {3 * SPANS_OF_A_TRIAL} of {3 * SPANS_OF_A_TRIAL} spans did not reach {url} (Connection refused)"
    ]


def test_an_endpoint_that_refuses_is_told_once_and_what_was_lost_is_counted(receiver):
    warnings: list[str] = []
    receiver.answer = 401
    one = tracer(receiver.url, warnings=warnings, delay_s=0.01)
    for number in range(5):
        run_trial(one, replace(TRIAL, trial_key=f"k{number}"))
        receiver.wait_for(lambda it, so_far=number: len(it.headers) > so_far)
    receiver.wait_for(lambda _: bool(warnings))
    (first,) = warnings
    assert first.startswith(f"traces: {receiver.url} takes no spans (401")
    one.close(10)
    lost = 5 * SPANS_OF_A_TRIAL
    (last,) = warnings[1:]
    assert last.startswith(f"traces: {lost} of {lost} spans did not reach {receiver.url} (401")


def test_an_endpoint_that_hangs_holds_nobody_up_and_what_does_not_fit_is_dropped(receiver):
    warnings: list[str] = []
    receiver.hold = True
    one = tracer(receiver.url, warnings=warnings, queue_size=64)
    many(one, 50)
    began = time.monotonic()
    one.close(0.3)
    assert time.monotonic() - began < 5  # the exporter's own patience would be 10 s
    assert warnings == [f"traces: 300 of 300 spans did not reach {receiver.url}"]


def test_spans_that_end_after_the_last_word_do_no_harm(receiver):
    one = tracer(receiver.url)
    with one.trial(TRIAL) as traced:
        one.close(5)
        traced.ended(None)
    assert receiver.spans == []


def test_an_outlet_that_is_closed_does_not_give_the_next_one_its_reasons(receiver):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    warnings: list[str] = []
    receiver.hold = True
    first = tracer(url)
    second = tracer(receiver.url, warnings=warnings)
    many(second, 1)
    many(first, 1)
    first.close(1.0)  # it is refused and goes on trying while the second gives up
    second.close(1.0)
    assert warnings == [f"traces: {SPANS_OF_A_TRIAL} of {SPANS_OF_A_TRIAL} spans did not reach {receiver.url}"]
