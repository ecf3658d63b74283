"""What replies say of limits, right or wrong: how it is read, and how far it is believed."""

from __future__ import annotations

import pytest
from asking import Asking

from providers.rate_control import OK, REJECTED, RateControl
from providers.rate_hints import CONCURRENCY, TOKENS, Hints, read_hints


@pytest.mark.parametrize(
    ("headers", "requests", "tokens"),
    [
        ({"x-ratelimit-limit-requests": "600", "x-ratelimit-limit-tokens": "60000"}, 10.0, 1000.0),
        ({"x-ratelimit-limit-requests": "50", "x-ratelimit-renewalperiod-requests": "10"}, 5.0, None),
        ({"anthropic-ratelimit-requests-limit": "300", "anthropic-ratelimit-tokens-limit": "120"}, 5.0, 2.0),
        ({"ratelimit-limit": "100, 100;w=10"}, 10.0, None),
        ({"ratelimit-limit": "100;w=10"}, 10.0, None),
        ({"x-ratelimit-limit": "120"}, 2.0, None),
        (
            {"anthropic-ratelimit-input-tokens-limit": "60000", "anthropic-ratelimit-output-tokens-limit": "6000"},
            None,
            1100.0,
        ),
        ({"anthropic-ratelimit-input-tokens-limit": "60000"}, None, None),
        ({"x-ratelimit-limit-requests": "600", "anthropic-ratelimit-requests-limit": "60"}, 1.0, None),
        ({"x-ratelimit-limit-requests": "-1", "x-ratelimit-limit-tokens": "many"}, None, None),
        ({"x-ratelimit-limit-requests": "nan"}, None, None),
        ({"x-ratelimit-limit-requests": "1e300"}, None, None),
        ({"x-ratelimit-limit-requests": "60", "x-ratelimit-renewalperiod-requests": "0"}, None, None),
        ({"x-ratelimit-limit-requests": ""}, None, None),
        ({}, None, None),
    ],
)
def test_limits_are_read_from_every_style_of_header(
    headers: dict[str, str], requests: float | None, tokens: float | None
) -> None:
    hints = read_hints(headers)
    assert (hints.requests_per_s, hints.tokens_per_s) == (pytest.approx(requests), pytest.approx(tokens))


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000", TOKENS),
        ('{"error": {"type": "tokens", "code": "rate_limit_exceeded"}}', TOKENS),
        ('{"code": "Throttling.AllocationQuota"}', TOKENS),
        ("Allocated quota exceeded, please increase your quota limit.", TOKENS),
        ("Too many concurrent requests for this model", CONCURRENCY),
        ("Rate limit reached for requests", ""),
        ('{"code": "Throttling.RateQuota"}', ""),
    ],
)
def test_refusal_tells_which_budget_it_speaks_of(body: str, cause: str) -> None:
    assert read_hints({}, body).cause == cause


def test_retry_after_is_an_order_only_where_something_is_refused() -> None:
    assert read_hints({"retry-after": "7"}).retry_after_s is None
    assert read_hints({"retry-after": "7"}, "no").retry_after_s == 7.0


SUN = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "3s"}, 3.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"}, 90.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "20s"}, None),
        ({"x-ratelimit-reset-tokens": "20s"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "5"}, 5.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6h0m0s"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": ""}, None),
        ({"retry-after-ms": "1500", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20s"}, 1.5),
    ],
)
def test_refusal_with_an_empty_budget_is_an_order_to_wait_for_its_reset(
    headers: dict[str, str], wait_s: float | None
) -> None:
    assert read_hints(headers, "429").retry_after_s == pytest.approx(wait_s)
    assert read_hints(headers).retry_after_s is None


@pytest.mark.parametrize(("reset", "wait_s"), [("1994-11-06T08:49:41Z", 4.0), ("1994-11-06T08:49:30Z", None)])
def test_reset_is_measured_by_the_clock_of_the_server_however_wrong_it_goes(reset: str, wait_s: float | None) -> None:
    headers = {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": reset}
    assert read_hints(headers | {"date": SUN}, "429").retry_after_s == wait_s
    assert read_hints(headers, "429").retry_after_s is None  # long past, or years ahead: neither is believed


def test_headers_that_contradict_each_other_name_the_lower_limit_and_the_longer_wait() -> None:
    hints = read_hints(
        {
            "x-ratelimit-limit-requests": "6000",
            "anthropic-ratelimit-requests-limit": "600",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "1s",
            "anthropic-ratelimit-tokens-remaining": "0",
            "anthropic-ratelimit-tokens-reset": "1994-11-06T08:49:40Z",
            "date": SUN,
        },
        "429",
    )
    assert (hints.requests_per_s, hints.retry_after_s) == (10.0, 3.0)


def test_reset_that_lies_each_time_is_soon_ignored() -> None:
    asking = Asking(RateControl(20.0, 0.0))
    lie = read_hints({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0s"}, "429")
    stopped = []
    for _ in range(6):
        asking.rate_over(3.0)
        asking.ask(REJECTED, lie)
        stopped.append(asking.ask(OK))
    assert max(stopped) < 0.3
    assert stopped[-1] < 0.1


def test_limit_that_alternates_between_two_names_stays_within_what_is_admitted() -> None:
    asking = Asking(RateControl(20.0, 0.0))
    for number in range(200):
        asking.ask(OK, Hints(requests_per_s=5.0 if number % 2 else 500.0), after_s=0.0)
    assert 1.0 < asking.control.limit_qps < 2000.0


@pytest.mark.parametrize("retry_after", ["864000", "-5", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "nan", "1e999"])
def test_retry_after_that_cannot_be_believed_holds_nothing_up(retry_after: str) -> None:
    asking = Asking(RateControl(20.0, 0.0))
    asking.rate_over(3.0)
    asking.ask(REJECTED, read_hints({"retry-after": retry_after}, "429"))
    assert asking.ask(OK) < 0.3
