"""One limit for many nodes, by leases: who may send how much and until when, in virtual time and with real threads."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from rate_leasing import Holder, Wire, play
from rate_servers import Bucket, FixedWindow
from rate_simulation import Scenario, Seen, Simulation, score

from providers.keys import Key, Secret
from providers.rate_control import OK, Permit, RateControl
from providers.rate_leased import UNANSWERED_S, Leased
from providers.rate_leases import LEASE_S, Leases
from providers.rate_sharing import shared_limiter
from providers.rates import RateLimiter
from trials.words import Deployment

KEY = Key(name="K", secret=Secret("sk-never-in-a-message"))


def scenario(limit: float, **changes: Any) -> Scenario:
    defaults: dict[str, Any] = {"workers": int(6 * limit), "seconds": 120.0, "server": lambda: Bucket(limit)}
    return Scenario(name="", **{**defaults, **changes})


def admitted(seen: Seen, since: float, until: float) -> int:
    return sum(ok and since <= at < until for at, ok in zip(seen.times, seen.admitted, strict=True))


def most_within_a_second(seen: Seen) -> int:
    most = first = 0
    for place, at in enumerate(seen.times):
        while seen.times[first] <= at - 1.0:
            first += 1
        most = max(most, place - first + 1)
    return most


@pytest.mark.parametrize(
    ("holders", "limit", "used", "refused", "messages"),
    [(1, 20.0, 0.97, 0.01, 0.01), (3, 200.0, 0.95, 0.01, 0.01), (20, 1000.0, 0.95, 0.01, 0.01)],
)
def test_hidden_limit_is_found_and_kept_together(
    holders: int, limit: float, used: float, refused: float, messages: float
) -> None:
    asked = scenario(limit, seconds=90.0, start=limit / 10, steady_from=20.0)
    seen, wire = play(asked, holders)
    result = score(asked, seen)
    assert result.used >= used
    assert result.refused <= refused
    assert wire.messages <= messages * result.requests + 10 * holders


def test_window_of_a_second_is_found_and_kept_together() -> None:
    asked = scenario(200.0, server=lambda: FixedWindow(200.0, 1.0), steady_from=20.0, seconds=240.0)
    result = score(asked, play(asked, 3)[0])
    assert result.used >= 0.65  # one control alone comes to 0.8
    assert result.refused <= 0.03


@pytest.mark.parametrize("holders", [3, 20])
def test_stated_limit_is_used_up_and_no_second_sees_more_than_it_and_the_bursts(holders: int) -> None:
    asked = scenario(100.0, server=lambda: Bucket(1e6), start=100.0, seconds=60.0, latency=lambda now: 1.0)
    seen, wire = play(asked, holders, adaptive=False)
    assert admitted(seen, 20.0, 60.0) / 40.0 == pytest.approx(100.0, rel=0.02)
    burst = max(holders, 25)
    assert most_within_a_second(seen) <= 100 + burst + 1
    assert wire.messages <= 0.01 * len(seen.times) + 10 * holders


def test_who_is_cut_off_stops_and_only_then_others_get_its_share() -> None:
    wire = Wire()
    asked = scenario(90.0, server=lambda: Bucket(1e6), processes=3, workers=200, start=90.0, seconds=60.0)
    simulation = Simulation(asked, lambda number: Holder(wire, f"n{number}", 90.0, adaptive=False))
    sent = record_senders(simulation)
    simulation._at(20.0, wire.lost.add, "n0")
    simulation.run()
    held_until = max(at for at, who in sent if who == 0)
    assert 20.0 < held_until < 20.0 + LEASE_S
    while_held = sum(who != 0 and 20.0 <= at < held_until for at, who in sent) / (held_until - 20.0)
    assert while_held <= 62.0
    afterwards = sum(who != 0 and 50.0 <= at < 60.0 for at, who in sent) / 10.0
    assert afterwards == pytest.approx(90.0, rel=0.05)


def record_senders(simulation: Simulation) -> list[tuple[float, int]]:
    sent: list[tuple[float, int]] = []
    arrive = simulation._arrive

    def recording(worker: Any, permit: Permit) -> None:
        sent.append((permit.sent_at, worker.process))
        arrive(worker, permit)

    simulation._arrive = recording  # type: ignore[method-assign]
    return sent


@pytest.mark.parametrize("told", [True, False])
def test_keeper_that_comes_back_empty_goes_on_where_the_holders_are(told: bool) -> None:
    wire = Wire()
    asked = scenario(200.0, processes=3, workers=400, start=20.0, seconds=120.0)
    simulation = Simulation(asked, lambda number: Holder(wire, f"n{number}", 20.0))

    def come_back() -> None:
        wire.leases = Leases(restarted=told)

    simulation._at(60.0, come_back)
    seen = simulation.run()
    assert admitted(seen, 62.0, 75.0) / 13.0 > 0.8 * 200.0
    assert admitted(seen, 80.0, 120.0) / 40.0 > 0.9 * 200.0
    late = [ok for at, ok in zip(seen.times, seen.admitted, strict=True) if at > 60.0]
    assert late.count(False) <= 0.02 * len(late)


def test_who_comes_to_a_keeper_that_has_come_back_waits_until_no_earlier_lease_can_hold() -> None:
    wire = Wire(Leases(restarted=True))
    new = Holder(wire, "new", 50.0, adaptive=False)
    assert drive(new, 0.0, LEASE_S - 1.0) == 0
    assert drive(new, LEASE_S - 1.0, LEASE_S + 20.0) > 0


def drive(holder: Holder, since: float, until: float, step_s: float = 0.01, *, asks: bool = True) -> int:
    """Let a holder send all it may; return how many requests that were."""
    sent, now = 0, since
    while now < until:
        if asks and isinstance(holder.try_acquire(now), Permit):
            holder.forget(1)
            sent += 1
        holder.tick(now)
        now += step_s
    return sent


def test_what_one_does_not_use_another_gets_until_it_is_wanted_again() -> None:
    wire = Wire()
    busy, idle = (Holder(wire, name, 40.0, adaptive=False) for name in ("busy", "idle"))
    counts = {0: [0, 0], 1: [0, 0], 2: [0, 0]}
    now = 0.0
    while now < 90.0:
        phase = int(now // 30)
        for place, (holder, asks) in enumerate(((busy, True), (idle, phase != 1))):
            if now % 30 < 15:
                drive(holder, now, now + 0.005, asks=asks)
            else:
                counts[phase][place] += drive(holder, now, now + 0.005, asks=asks)
        now += 0.01
    rates = {phase: [count / 15.0 for count in both] for phase, both in counts.items()}
    assert rates[0] == pytest.approx([20.0, 20.0], rel=0.1)
    assert rates[1] == pytest.approx([40.0, 0.0], rel=0.1)
    assert rates[2] == pytest.approx([20.0, 20.0], rel=0.1)


def test_nothing_is_sent_without_a_lease_or_after_its_end() -> None:
    law = Leased("a", 100.0, 0.0, adaptive=False)
    control = RateControl(100.0, 0.0, adaptive=False, law=law)
    answer = control.try_acquire(0.0)
    assert isinstance(answer, float)
    assert 0 < answer <= 1.0
    report = law.due(0.0)
    assert report is not None
    grant = Leases().renew("s", report, 0.0)
    assert law.take(grant, 0.1)
    control.moved(0.1)
    assert isinstance(control.try_acquire(1.0), Permit)  # the bucket holds more than one by now
    assert isinstance(control.try_acquire(grant["for_s"] - 0.01), Permit)
    assert not isinstance(control.try_acquire(grant["for_s"]), Permit)
    assert not isinstance(control.try_acquire(grant["for_s"] + 50.0), Permit)


def test_lease_counts_from_when_its_report_was_sent() -> None:
    law = Leased("a", 100.0, 0.0, adaptive=False)
    law.grow(5.0, 0.0)
    report = law.due(5.0)
    assert report is not None
    grant = Leases().renew("s", report, 1000.0)
    assert not law.take(grant, 5.0 + grant["for_s"])
    assert law.take(Leases().renew("s", report_again(law, 9.0), 1004.0), 9.5)
    assert law.until == 9.0 + grant["for_s"]


def report_again(law: Leased, now: float) -> dict[str, Any]:
    law.grow(now, 0.0)
    report = law.due(now)
    assert report is not None
    return report


def test_who_gets_no_answer_asks_again_but_not_all_the_time() -> None:
    law = Leased("a", 100.0, 0.0, adaptive=True)
    reports = 0
    for tick in range(1000):
        law.grow(tick / 100, 0.0)
        reports += law.due(tick / 100) is not None
    assert 10.0 / UNANSWERED_S - 1 <= reports <= 10.0 / UNANSWERED_S + 1


def holding(leases: Leases, name: str, now: float, qps: float = 100.0) -> tuple[Leased, dict[str, Any]]:
    law = Leased(name, qps, now, adaptive=True)
    grant = leases.renew("s", report_again(law, now), now)
    assert law.take(grant, now)
    return law, grant


def test_report_that_comes_twice_moves_the_limit_once() -> None:
    leases = Leases()
    law, _ = holding(leases, "a", 0.0)
    law.sent(1.0, 1.0)
    law.refused(1.0, 0.95, 1.0)
    report = law.due(1.0)
    assert report is not None
    first = leases.renew("s", report, 1.0)["limit"]
    assert first < 100.0
    assert leases.renew("s", report, 3.0)["limit"] == first


def test_what_was_met_under_a_lease_that_has_ended_moves_nothing() -> None:
    leases = Leases()
    law, grant = holding(leases, "a", 0.0)
    late = grant["for_s"] + 1.0
    law.refused(late, late - 0.05, 1.0)
    report = law.due(late)
    assert report is not None
    renewed = leases.renew("s", report, late)
    assert renewed["limit"] == 100.0
    assert renewed["fence"] != grant["fence"]


def test_refusal_of_what_was_sent_before_the_cut_was_heard_of_cuts_no_further() -> None:
    leases = Leases()
    one, _ = holding(leases, "one", 0.0)
    other, _ = holding(leases, "other", 0.0)
    for name, now in ((one, 5.0), (other, 5.1)):
        name.take(leases.renew("s", report_again(name, now), now), now)
    one.refused(7.0, 6.95, 1.0)
    cut = leases.renew("s", report_again(one, 7.0), 7.0)
    other.refused(7.3, 7.25, 1.0)
    again = leases.renew("s", report_again(other, 7.3), 7.3)
    assert again["cuts"] == cut["cuts"] > 0


def test_who_leaves_makes_room_at_once() -> None:
    wire = Wire()
    stays, goes = (Holder(wire, name, 40.0, adaptive=False) for name in ("stays", "goes"))
    now = 0.0
    while now < 20.0:
        drive(stays, now, now + 0.005)
        drive(goes, now, now + 0.005)
        now += 0.01
    wire.ask("s", goes.law.leave(now), now)
    assert not isinstance(goes.try_acquire(now), Permit)
    drive(stays, now, now + 12.0)
    assert stays.law.rate == pytest.approx(40.0)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["ask", "ask", "ask", "rest", "leave", "new"]),
            st.sampled_from(["come", "come", "late", "lost"]),
            st.floats(0.01, 20.0),
        ),
        max_size=120,
    )
)
def test_leases_on_a_stated_rate_never_add_up_to_more(steps: list[tuple[int, str, str, float]]) -> None:
    leases, now, count = Leases(), 0.0, 5
    laws = [Leased(str(number), 100.0, 0.0, adaptive=False) for number in range(count)]
    late: list[tuple[Leased, dict[str, Any]]] = []
    all_laws = list(laws)
    for place, what, how, pause_s in steps:
        now += pause_s
        law = laws[place]
        if what == "new":  # its process died, and another has taken its place; the old one may only seem to be dead
            count += 1
            law = laws[place] = Leased(str(count), 100.0, now, adaptive=False)
            all_laws.append(law)
        if what == "leave":
            leases.renew("s", law.leave(now), now)
            continue
        if what != "rest":
            law.grow(now, min(pause_s, 1.0))
        report = law.due(now)
        if report is not None:
            grant = leases.renew("s", report, now)
            if how == "come":
                law.take(grant, now)
            elif how == "late":
                late.append((law, grant))
        elif how == "late" and late:
            law, grant = late.pop(0)
            law.take(grant, now)
        assert sum(one.rate for one in all_laws if now < one.until) <= 100.0 + 1e-6


class Node:
    """A node with a folder of its own to meet in; its reports go to a keeper that the test has."""

    def __init__(self, folder: Path, said: list[str]) -> None:
        self.limiter: RateLimiter | None = None
        self.grants: list[tuple[float, str]] = []
        self._folder, self._said = folder, said

    def open(self, carry: Callable[[str, dict[str, Any]], dict[str, Any]]) -> RateLimiter:
        def lease(scope: str, report: dict[str, Any]) -> None:
            self._said.append(f"{scope} {report}")
            grant = carry(scope, report)
            assert self.limiter is not None
            self.limiter.granted(grant)

        deployment = Deployment(
            name="d", provider="p", model="m", api_model="m", family="f", api="openai", base_url="http://x/v1",
            key_names=("K",), workers=4, qps=60.0, timeout_s=9.0, max_attempts=3, scope="m",
        )  # fmt: skip
        self.limiter = shared_limiter(
            deployment, KEY, "fixed", on_change=lambda change: None, note=self._said.append, place=self._folder,
            lease=lease,
        )  # fmt: skip
        return self.limiter


def test_nodes_with_real_threads_share_a_limit_and_say_no_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    leases, said = Leases(), list[str]()
    nodes = [Node(tmp_path_factory.mktemp("n"), said) for _ in range(2)]
    limiters = [node.open(lambda scope, report: leases.renew(scope, report, time.monotonic())) for node in nodes]
    stop, sent = Event(), [0, 0]

    def send(place: int) -> None:
        while not stop.is_set():
            limiters[place].settle(limiters[place].acquire(Event()), OK)
            sent[place] += 1

    threads = [Thread(target=send, args=(place,), daemon=True) for place in (0, 1) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(3.0)
        before, began = list(sent), time.monotonic()
        time.sleep(3.0)
        took_s = time.monotonic() - began
    finally:
        stop.set()
        for thread in threads:
            thread.join(5.0)
        for limiter in limiters:
            limiter.close()
    rates = [(after - earlier) / took_s for after, earlier in zip(sent, before, strict=True)]
    assert 30.0 < sum(rates) < 70.0
    assert min(rates) > 0.25 * sum(rates)
    assert "'leaving': True" in said[-1]
    assert "sk-never" not in "".join(said)


def test_processes_of_one_node_hold_one_lease(tmp_path_factory: pytest.TempPathFactory) -> None:
    leases, said = Leases(), list[str]()
    folder = tmp_path_factory.mktemp("n")
    first, second = Node(folder, said), Node(folder, said)

    def carry(scope: str, report: dict[str, Any]) -> dict[str, Any]:
        return leases.renew(scope, report, time.monotonic())

    limiters = [first.open(carry), second.open(carry)]
    try:
        for limiter in limiters:
            limiter.settle(limiter.acquire(Event()), OK)
    finally:
        for limiter in reversed(limiters):
            limiter.close()
    parties = {line.split("'party': '")[1].split("'")[0] for line in said if "'party'" in line}
    assert len(parties) == 1


def test_grants_are_plain_json_and_leases_of_scopes_are_apart() -> None:
    import orjson

    leases = Leases()
    law = Leased("a", 10.0, 0.0, adaptive=True)
    report = report_again(law, 0.0)
    grant = leases.renew("s", orjson.loads(orjson.dumps(report)), 0.0)
    assert law.take(orjson.loads(orjson.dumps(grant)), 0.0)
    assert law.rate == pytest.approx(10.0)
    other = Leased("a", 10.0, 0.0, adaptive=True)
    other.take(leases.renew("t", report_again(other, 0.0), 0.0), 0.0)
    assert other.rate == pytest.approx(10.0)
