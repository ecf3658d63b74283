"""A process of many threads on one core: all of it, where it may be, and away from who needs the core as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
needs_two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores to choose from")

BEGIN = """
import os, sys, threading, time
from processes import one_core
one_core.FIRST_LOOK_S, one_core.LOOK_EVERY_S = 0.0, (0.3, 0.3)
def cores(): return {tuple(os.sched_getaffinity(int(one))) for one in os.listdir("/proc/self/task")}
"""


def run(program: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", BEGIN + program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@needs_two_cores
def test_every_thread_is_on_the_same_one_core_also_those_that_start_later():
    told = run(
        """
threads = [threading.Thread(target=time.sleep, args=(30,), daemon=True) for _ in range(20)]
for one in threads[:10]: one.start()
core = one_core.OneCore()
core.keep()
for one in threads[10:]: one.start()
print(sorted(cores()), len(os.listdir("/proc/self/task")))
os._exit(0) if sys.stdout.flush() is None else None
"""
    )
    assert told in {f"[({core},)] 21" for core in CORES}


@needs_two_cores
def test_it_leaves_a_core_that_another_process_wants():
    told = run(
        """
import subprocess
core = one_core.OneCore()
core.keep()
((here,),) = cores()
hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])  # inherits the core
try:
    until = time.monotonic() + 30
    while cores() == {(here,)} and time.monotonic() < until:
        core.keep()
        time.sleep(0.05)
    print(cores() != {(here,)})
finally:
    hog.kill()
    hog.wait()
"""
    )
    assert told == "True"


def test_it_does_nothing_where_only_one_core_may_be_used():
    if not CORES:
        pytest.skip("no affinity on this system")
    told = run(
        f"""
os.sched_setaffinity(0, {{{CORES[0]}}})
one_core.OneCore().keep()
print(cores(), "psutil" in sys.modules)
"""
    )
    assert told == f"{{({CORES[0]},)}} False"
