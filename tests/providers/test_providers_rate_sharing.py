"""One limit for several processes: real ones, which come, go, are killed and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from providers.keys import Key, Secret
from providers.rate_control import OK, REJECTED
from providers.rate_sharing import meeting_place, shared_limiter, take_lock
from providers.rates import RateLimiter
from trials.words import Deployment

ROOT = Path(__file__).resolve().parents[2]
KEY = Key(name="K", secret=Secret("sk-of-the-scope"))
SENDER = """
import os, sys, time
from pathlib import Path
from threading import Event, Thread
sys.path.insert(0, sys.argv[2])
from test_providers_rate_sharing import KEY, deployment_at
from providers.rate_sharing import shared_limiter
from providers.rate_control import OK
mode, qps, threads = sys.argv[3], float(sys.argv[4]), int(sys.argv[5])
limiter = shared_limiter(deployment_at(qps), KEY, mode, on_change=lambda change: None,
                         note=lambda text: os.write(1, f"note {text}\\n".encode()), place=Path(sys.argv[1]))
def send():
    while True:
        limiter.settle(limiter.acquire(Event()), OK)
        os.write(1, b"sent %f\\n" % time.monotonic())  # in one piece: threads must not write into each other's lines
for _ in range(threads):
    Thread(target=send, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
limiter.close()
"""


def deployment_at(qps: float, scope: str = "m") -> Deployment:
    return Deployment(
        name="d", provider="p", model="m", api_model="m", family="f", api="openai", base_url="http://x/v1",
        key_names=("K",), workers=4, qps=qps, timeout_s=9.0, max_attempts=3, scope=scope,
    )  # fmt: skip


class Sender:
    """A process that sends as fast as it may, and writes down when."""

    def __init__(self, folder: Path, mode: str, qps: float, threads: int) -> None:
        self._log = folder / f"sender-{time.monotonic_ns()}"
        self._out = self._log.open("wb")
        values = [str(folder), str(Path(__file__).parent), mode, str(qps), str(threads)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SENDER, *values], stdin=subprocess.PIPE, stdout=self._out, cwd=ROOT
        )
        wait_until(lambda: "ready" in self.text())

    def text(self) -> str:
        return self._log.read_text()

    def sent(self, since: float = 0.0, until: float = float("inf")) -> int:
        whole = self.text().splitlines(keepends=True)
        times = [float(line.split()[1]) for line in whole if line.startswith("sent ") and line.endswith("\n")]
        return sum(since <= at < until for at in times)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        for number in (signal.SIGCONT, signal.SIGKILL):
            self.process.send_signal(number)
        self.process.wait(10)
        self._out.close()
        assert self.process.stdin is not None
        self.process.stdin.close()


def wait_until(true: Callable[[], Any], seconds: float = 30.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up_at, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("m")  # the path of a socket has at most 107 characters


@pytest.fixture
def senders(place: Path) -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def make(mode: str = "fixed", qps: float = 40.0, threads: int = 3) -> Sender:
        made.append(Sender(place, mode, qps, threads))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.end()


def limiter_at(folder: Path, notes: list[str] | None = None, **changes: Any) -> RateLimiter:
    return shared_limiter(
        deployment_at(changes.pop("qps", 40.0), changes.pop("scope", "m")),
        changes.pop("key", KEY),
        changes.pop("mode", "fixed"),
        on_change=lambda change: None,
        note=(notes if notes is not None else []).append,
        place=folder,
    )


def rate(parties: list[Sender], seconds: float) -> list[float]:
    began = time.monotonic()
    time.sleep(seconds)
    end = time.monotonic()
    return [one.sent(began, end) / (end - began) for one in parties]


def test_three_processes_keep_one_limit_and_share_it_equally(senders: Callable[..., Sender]) -> None:
    three = [senders(), senders(), senders()]
    rates = rate(three, 5.0)
    assert 25 < sum(rates) < 47
    assert min(rates) > 0.5 * sum(rates) / 3


def test_limit_passes_on_when_who_keeps_it_is_killed(senders: Callable[..., Sender]) -> None:
    keeper, *others = [senders(), senders(), senders()]
    keeper.end()
    killed_at = time.monotonic()
    wait_until(lambda: all(one.sent(killed_at) > 2 for one in others), 15.0)
    assert 25 < sum(rate(others, 4.0)) < 47
    assert "another process keeps the limit" in others[1].text()


def test_grant_of_a_killed_process_goes_to_the_others(senders: Callable[..., Sender]) -> None:
    stays, goes = senders(), senders()
    goes.end()
    assert 25 < rate([stays], 4.0)[0] < 47


def test_who_is_stopped_does_not_stop_the_others(senders: Callable[..., Sender]) -> None:
    keeper, other = senders(), senders()
    keeper.signal(signal.SIGSTOP)
    stopped_at = time.monotonic()
    wait_until(lambda: other.sent(stopped_at) > 20, 20.0)
    assert "has not answered" in other.text()
    assert 8 < rate([other], 4.0)[0] < 30  # its share; the other process may go on at any moment
    keeper.signal(signal.SIGCONT)
    wait_until(lambda: "another process keeps the limit" in other.text().split("has not answered")[1], 30.0)


def test_last_one_leaves_no_file_behind(place: Path) -> None:
    folder = place / "meeting"
    folder.mkdir()
    first, second = limiter_at(folder), limiter_at(folder)
    assert len(list(folder.iterdir())) == 2
    first.close()
    second.settle(second.acquire(Event()), OK)
    second.settle(second.acquire(Event()), OK)
    assert second.parties == 1
    second.close()
    assert list(folder.iterdir()) == []


def test_limit_that_was_found_is_known_to_who_comes_later(place: Path) -> None:
    first = limiter_at(place, mode="adaptive")
    permit = first.acquire(Event())
    first.settle(permit, REJECTED)
    second = limiter_at(place, mode="adaptive", qps=500.0)
    assert second.limit_qps == first.limit_qps < 41
    assert "shared by 2 processes" in second.reason
    learnt = first.limit_qps
    first.close()
    second.settle(second.acquire(Event()), OK)
    assert second.limit_qps == pytest.approx(learnt, rel=0.3)
    second.close()


@pytest.mark.parametrize(
    "other", [{"scope": "n"}, {"key": Key(name="K", secret=Secret("another"))}, {"mode": "adaptive"}, {"qps": 41.0}]
)
def test_another_scope_key_or_stated_rate_is_another_limit(place: Path, other: dict[str, Any]) -> None:
    one, two = limiter_at(place), limiter_at(place, **other)
    assert one.parties == two.parties == 1
    one.close()
    two.close()


def test_names_of_files_tell_no_key_and_the_folder_is_this_users_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(place))
    folder = meeting_place()
    assert folder.stat().st_mode & 0o777 == 0o700
    one = limiter_at(folder)
    assert all("sk-of" not in path.name for path in folder.iterdir())
    one.close()
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="not this user's alone"):
        meeting_place()


def test_what_killed_processes_left_is_swept_after_a_day_but_nothing_in_use(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(place))
    folder = meeting_place()
    used = limiter_at(folder)
    (held,) = folder.glob("*.lock")
    left = [folder / "dead.lock", folder / "dead.sock", folder / "young.lock"]
    for path in left:
        path.touch()
    for path in (held, *left[:2]):
        os.utime(path, (0, 0))
    meeting_place()
    assert [path.exists() for path in left] == [False, False, True]
    assert held.exists()
    used.close()


def test_folder_that_cannot_be_used_is_told_and_the_limit_kept_by_oneself(place: Path) -> None:
    notes: list[str] = []
    limiter = limiter_at(place / "missing", notes)
    assert limiter.acquire(Event())
    assert "not shared with other processes" in notes[0]
    long = place / ("x" * 120)
    long.mkdir()
    assert limiter_at(long, notes).acquire(Event())
    assert len(notes) == 2
    assert list(long.iterdir()) == []


def test_lock_of_a_removed_file_is_not_taken_for_the_new_ones(place: Path) -> None:
    path = place / "a.lock"
    first = take_lock(path)
    assert first is not None
    assert take_lock(path) is None
    path.unlink()
    second = take_lock(path)
    assert second is not None
    assert take_lock(path) is None
