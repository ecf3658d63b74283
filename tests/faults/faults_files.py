"""Faults: journals with damaged tails, directories that vanish, locks that are stale or held by somebody."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

from fault_cycle import Cycle, Fault, Strike
from fault_world import wait_for

KILLED = frozenset({-9, 0})
DRAINED = frozenset({143, -15, 0})
Damage = Callable[[Cycle, Path], None]


def _between_sessions(damage: Damage, number: Signals) -> Strike:
    """End the run, damage the tail of one journal or several."""

    def strike(cycle: Cycle) -> None:
        cycle.await_moment(least=0.3, may_be_early=False)
        if number == SIGKILL:
            cycle.kill_everything()
        else:
            cycle.running.process.send_signal(number)
            cycle.running.wait()
        journals = [path for path in cycle.house.journals() if path.stat().st_size]
        for path in cycle.rng.sample(journals, min(len(journals), cycle.rng.randint(1, 2))):
            before = path.read_bytes()
            damage(cycle, path)
            cycle.allowed += _completions_lost(before, path.read_bytes())

    return strike


def _completions_lost(before: bytes, after: bytes) -> int:
    """Count the completions of every trial that has lost a line."""
    kept = set(after.splitlines(keepends=True))
    events = [(line, json.loads(line)) for line in before.splitlines(keepends=True) if line.endswith(b"}\n")]
    struck = {event["number"] for line, event in events if line not in kept}
    return sum(event["kind"] == "completion" and event["number"] in struck for _, event in events)


def _from(cycle: Cycle, path: Path) -> int:
    """Return where the damage begins: somewhere in the last third."""
    size = path.stat().st_size
    return cycle.rng.randint(size * 2 // 3, size - 1)


def _truncate(cycle: Cycle, path: Path) -> None:
    os.truncate(path, _from(cycle, path))


def _zero(cycle: Cycle, path: Path) -> None:
    begin, size = _from(cycle, path), path.stat().st_size
    os.truncate(path, begin)
    os.truncate(path, size + cycle.rng.choice([0, 4096]))


def _flip(cycle: Cycle, path: Path) -> None:
    text = bytearray(path.read_bytes())
    for _ in range(cycle.rng.randint(1, 5)):
        text[_from(cycle, path)] ^= 1 << cycle.rng.randrange(8)
    path.write_bytes(text)


def _litter(cycle: Cycle, path: Path) -> None:
    """Something else has written to the end, without a newline of its own."""
    with path.open("ab") as file:
        file.write(cycle.rng.randbytes(cycle.rng.randint(1, 3000)) + cycle.rng.choice([b"", b"\n"]))


def _empty(_: Cycle, path: Path) -> None:
    os.truncate(path, 0)


DAMAGES = {"truncated": _truncate, "zero-filled": _zero, "bit-flipped": _flip, "littered": _litter, "emptied": _empty}


def _delete(which: str) -> Strike:
    def strike(cycle: Cycle) -> None:
        cycle.await_moment(most=0.8, may_be_early=False)
        if which == "run":
            for path in cycle.house.logs.glob("*-*"):
                shutil.rmtree(path, ignore_errors=True)
        else:
            shutil.rmtree(cycle.house.results, ignore_errors=True)

    return strike


def _stale_locks(cycle: Cycle) -> None:
    """Leave lock files of processes that have gone, with whatever in them."""
    cycle.await_moment(may_be_early=False)
    cycle.kill_everything()
    stores = [path.parent for path in cycle.house.results.rglob("store.json")]
    for path in (*(one / "run.lock" for one in cycle.house.logs.glob("*-*")), *(one / ".lock" for one in stores)):
        path.write_bytes(b"999999\n")


def _run_held(cycle: Cycle) -> None:
    """Somebody alive holds the run's lock: the second start says so at once, and works once it is let go."""
    cycle.await_moment(may_be_early=False)
    cycle.kill_everything()
    for folder in cycle.house.logs.glob("*-*"):
        with (folder / "run.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            second = cycle.start()
            code = second.wait(30)
            cycle.check(code == 2, f"exit code {code} for a run that somebody else works on")
            cycle.check("being worked on" in second.said, f"who holds the run is not told: {second.said}")


def _store_held(cycle: Cycle) -> None:
    """Somebody alive holds the store's lock for three seconds, from before the run merges."""
    cycle.await_moment(may_be_early=False)
    (lock,) = (path.parent / ".lock" for path in cycle.house.results.rglob("store.json"))
    held = lock.open("a")
    wait_for(lambda: _lock(held.fileno()) or not cycle.running.alive(), "the store's lock can be had", 30)

    def let_go() -> None:
        time.sleep(3)
        held.close()

    threading.Thread(target=let_go).start()


def _lock(file: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _second_supervisor(cycle: Cycle) -> None:
    """The same command a second time, while the first is under way."""
    cycle.await_moment(most=0.3, may_be_early=False)
    first = cycle.running
    second = cycle.start()
    code = second.wait()
    if first.alive():
        cycle.check(code in (0, 2), f"exit code {code} of a second supervisor")
    cycle.running = first


def _leftovers(cycle: Cycle) -> None:
    """What is only for looking at is garbage: the next start must not mind."""
    cycle.await_moment(may_be_early=False)
    cycle.kill_everything()
    for folder in cycle.house.logs.glob("*-*"):
        for name in ("status.json", "DONE", "manifest.json", "supervisor.log", ".run.json.abc", "status.tmp"):
            (folder / name).write_bytes(cycle.rng.randbytes(100))
    for store in cycle.house.results.rglob("store.json"):
        (store.parent / "trials").mkdir(exist_ok=True)
        (store.parent / "trials" / ".part-000001.parquet.tmp").write_bytes(b"PAR1 half of a part")
        (store.parent / "summary.json").write_bytes(b"{")


FAULTS = (
    *(
        Fault(
            family="journal",
            name=f"{name} tail after {number.name}",
            strike=_between_sessions(damage, number),
            codes=KILLED if number == SIGKILL else DRAINED,
            tampers=True,
            loses=name == "emptied",
        )
        for name, damage in DAMAGES.items()
        for number in (SIGKILL, SIGTERM)
    ),
    Fault(
        family="files", name="run directory deleted", strike=_delete("run"), codes=frozenset({0, 1, 2, 3}), loses=True
    ),
    Fault(family="files", name="results deleted", strike=_delete("results"), codes=frozenset({0, 1, 2, 3})),
    Fault(family="files", name="leftovers are garbage", strike=_leftovers, codes=KILLED),
    Fault(family="lock", name="stale", strike=_stale_locks, codes=KILLED),
    Fault(family="lock", name="run held by a live process", strike=_run_held, codes=frozenset({2, -9, 0})),
    Fault(family="lock", name="store held for 3 s", strike=_store_held, drains=True),
    Fault(family="lock", name="second supervisor", strike=_second_supervisor, drains=True),
)
