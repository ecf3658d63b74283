"""The scenarios of the rate bench: hidden limits of every kind that providers are known to have, and some that lie."""

from __future__ import annotations

import math
import random

from rate_servers import (
    Bucket,
    Concurrent,
    Curve,
    Dead,
    FixedWindow,
    SlidingWindow,
    TokenBucket,
    speaks_of_tokens,
    waits,
)
from rate_simulation import Scenario

from providers.rate_hints import Hints

TOKENS_PER_S = 40_000.0


def stepping(*limits: float, every_s: float = 100.0) -> Curve:
    """Return a limit that moves from one value to the next."""
    return lambda now: limits[min(int(now // every_s), len(limits) - 1)]


def drifting(now: float) -> float:
    """A day in ten minutes."""
    return 20.0 * (1 + 0.4 * math.sin(2 * math.pi * now / 600))


def tenfold(draw: random.Random) -> float:
    """Prompts of 300 to 3,000 tokens, as many of each order of size."""
    return 300.0 * 10 ** draw.random()


def says(requests_per_s: float) -> Hints:
    """Headers that name a limit."""
    return Hints(requests_per_s=requests_per_s)


SCENARIOS = (
    Scenario(name="20 rps, 2 s latency", server=lambda: Bucket(20.0)),
    Scenario(name="limit 20 → 6 → 30 rps", server=lambda: Bucket(stepping(20.0, 6.0, 30.0)), steps=(100.0, 200.0)),
    Scenario(name="bogus Retry-After 60 s", server=lambda: Bucket(20.0, waits(lambda wait_s: 60.0))),
    Scenario(name="3 processes on one key", server=lambda: Bucket(20.0), processes=3, workers=200),
    Scenario(name="8 s latency", server=lambda: Bucket(20.0), latency=lambda now: 8.0),
    Scenario(
        name="latency 4 → 0.5 s",
        server=lambda: Bucket(20.0),
        latency=lambda now: 4.0 if now < 150 else 0.5,
        workers=64,
        steps=(150.0,),
    ),
    Scenario(name="400 rps, short run", server=lambda: Bucket(400.0), latency=lambda now: 0.5, seconds=60.0),
    Scenario(
        name="tokens, prompts × 10",
        server=lambda: TokenBucket(TOKENS_PER_S, speaks_of_tokens),
        prompts=tenfold,
        max_tokens=512,
    ),
    Scenario(
        name="tokens, 429 without words",
        server=lambda: TokenBucket(TOKENS_PER_S),
        prompts=tenfold,
        max_tokens=512,
    ),
    Scenario(name="10 at a time, says so", server=lambda: Concurrent(10, 2.0, says_so=True)),
    Scenario(name="10 at a time, says nothing", server=lambda: Concurrent(10, 2.0, says_so=False)),
    Scenario(name="sliding minute, 600", server=lambda: SlidingWindow(10.0, 60.0), seconds=600.0, steady_from=70.0),
    Scenario(name="fixed minute, 600", server=lambda: FixedWindow(10.0, 60.0), seconds=600.0, steady_from=60.0),
    Scenario(
        name="fixed minute, begun half",
        server=lambda: FixedWindow(10.0, 60.0, first_s=30.0),
        seconds=600.0,
        steady_from=90.0,
    ),
    Scenario(name="sliding second, 20", server=lambda: SlidingWindow(20.0, 1.0)),
    Scenario(name="fixed second, 20", server=lambda: FixedWindow(20.0, 1.0)),
    Scenario(
        name="second, 20 → 6 → 30",
        server=lambda: FixedWindow(stepping(20.0, 6.0, 30.0), 1.0),
        steps=(100.0, 200.0),
    ),
    Scenario(name="headers right", server=lambda: Bucket(20.0, headers=lambda now: says(20.0))),
    Scenario(name="headers twice too high", server=lambda: Bucket(20.0, headers=lambda now: says(40.0))),
    Scenario(name="headers half too low", server=lambda: Bucket(20.0, headers=lambda now: says(10.0))),
    Scenario(
        name="Retry-After right, in seconds",
        server=lambda: Bucket(20.0, waits(lambda wait_s: float(math.ceil(wait_s)))),
    ),
    Scenario(name="key dead for 60 s", server=lambda: Dead(20.0, 100.0, 160.0), steps=(100.0, 160.0)),
    Scenario(name="drift ± 40 % in 600 s", server=lambda: Bucket(drifting), seconds=600.0),
    Scenario(name="10 processes on one key", server=lambda: Bucket(50.0), processes=10, workers=60),
    Scenario(name="5 % answered 500", server=lambda: Bucket(20.0), failures=0.05),
    Scenario(name="40 workers, 100 rps", server=lambda: Bucket(100.0), workers=40),
    Scenario(name="6 rps", server=lambda: Bucket(6.0)),
    Scenario(name="1 rps, 20 min", server=lambda: Bucket(1.0), seconds=1200.0),
    Scenario(name="429 for ever", server=lambda: Bucket(0.0)),
)
