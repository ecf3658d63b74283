"""Faults: a full disk, one that fails, one that can no longer be written to, at any call (io_shim.c)."""

from __future__ import annotations

import errno
import shutil
import time

from fault_cycle import Cycle, Fault, Strike
from io_shim import EVERYTHING, FOR_EVER, MKDIR, OPEN, RENAME, SYNC, TRUNCATE, UNLINK, WRITE

RESUMABLE = frozenset({0, 1, 2, 3})
"""What a run may end with whose disk fails: never a signal, never a traceback's 1 (the audit looks for those)."""

CALLS = {"write": WRITE, "sync": SYNC, "rename": RENAME, "open": OPEN, "truncate": TRUNCATE, "mkdir": MKDIR}


def _fails(calls: int, number: int, *, times: int = FOR_EVER, shorten: int = 0) -> Strike:
    def strike(cycle: Cycle) -> None:
        assert cycle.shim is not None
        cycle.await_moment()
        cycle.shim.set(calls=calls, error=number, remaining=times, shorten=shorten, skip=0)
        _note(cycle)

    return strike


def _note(cycle: Cycle) -> None:
    assert cycle.shim is not None
    cycle.running.wait()
    cycle.outcome.notes.append(f"{cycle.shim.read('failed')} calls failed")


def _full_for_a_while(cycle: Cycle) -> None:
    assert cycle.shim is not None
    cycle.await_moment()
    cycle.shim.set(calls=WRITE | OPEN | MKDIR, error=errno.ENOSPC, remaining=FOR_EVER, shorten=1, skip=0)
    time.sleep(cycle.rng.uniform(0.1, 1.0))
    cycle.shim.heal()
    _note(cycle)


def _one_call(cycle: Cycle) -> None:
    """Fail one call, or a few, that are drawn from all calls of a run from its very start."""
    assert cycle.shim is not None
    cycle.kill_everything()
    for path in (cycle.house.logs, cycle.house.results):
        shutil.rmtree(path, ignore_errors=True)
    name = cycle.rng.choice(list(CALLS))
    number = cycle.rng.choice([errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
    skip = cycle.rng.choice([0, 1, 2, 3, 5, 8, 12, 20, 40, 80])
    times = cycle.rng.choice([1, 1, 2, FOR_EVER])
    cycle.outcome.notes.append(f"{name} {errno.errorcode[number]} after {skip}, {times} times")
    cycle.shim.set(calls=CALLS[name], error=number, skip=skip, remaining=times)
    cycle.start()
    _note(cycle)


def _short_writes(cycle: Cycle) -> None:
    """Some writes take half of what they are given, which POSIX allows at any time."""
    assert cycle.shim is not None
    cycle.await_moment()
    cycle.shim.set(calls=WRITE, error=errno.EIO, skip=1 << 30, remaining=FOR_EVER, shorten=cycle.rng.randint(1, 6))
    time.sleep(0.5)
    cycle.shim.heal()
    _note(cycle)


def _fault(name: str, strike: Strike) -> Fault:
    return Fault(family="disk", name=name, strike=strike, codes=RESUMABLE, needs_shim=True, unwritten=True)


READ_ONLY = OPEN | RENAME | MKDIR | UNLINK | WRITE | TRUNCATE
FAULTS = (
    _fault("full (ENOSPC)", _fails(WRITE | OPEN | MKDIR, errno.ENOSPC, shorten=1)),
    _fault("full for a while", _full_for_a_while),
    _fault("writes fail (EIO)", _fails(WRITE, errno.EIO)),
    _fault("one write fails (EIO)", _fails(WRITE, errno.EIO, times=1)),
    _fault("fsync fails (EIO)", _fails(SYNC, errno.EIO)),
    _fault("one fsync fails (EIO)", _fails(SYNC, errno.EIO, times=1)),
    _fault("renames fail (EIO)", _fails(RENAME, errno.EIO)),
    _fault("everything fails (EIO)", _fails(EVERYTHING, errno.EIO)),
    _fault("read-only (EROFS)", _fails(READ_ONLY, errno.EROFS)),
    _fault("run directory unwritable (EACCES)", _fails(OPEN | RENAME | MKDIR | UNLINK, errno.EACCES)),
    _fault("short writes", _short_writes),
    *[_fault("any call fails", _one_call)] * 3,
)
