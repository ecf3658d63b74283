"""The process that compares expressions: killed when it must be, never mixed up, gone with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from questions.comparing import Comparer, UncheckableError
from questions.scorer_math import MathScorer

ROOT = Path(__file__).resolve().parents[2]
ENDLESS = "9^{9^{9^{9}}}"


@pytest.fixture
def scorer() -> Iterator[MathScorer]:
    made = MathScorer(time_limit_s=1.5)
    yield made
    made.close()


def gone(pid: int, limit_s: float = 20.0) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_an_endless_comparison_is_uncheckable_and_the_next_one_works(scorer: MathScorer):
    assert scorer.mark(f"\\boxed{{{ENDLESS}}}", "5").category == "uncheckable"
    assert scorer.mark(r"\boxed{2\sqrt{2}}", r"\sqrt{8}").score == 1


def test_plain_numbers_need_no_process(scorer: MathScorer):
    assert scorer.mark(r"The answer is $\frac{1}{2}$.", "0.5").score == 1
    assert scorer.mark("even", "odd").score == 0
    assert scorer.child_pid is None


def test_many_threads_get_their_own_answers(scorer: MathScorer):
    def mark(number: int) -> tuple[float, float]:
        right = scorer.mark(f"\\boxed{{{number}\\sqrt{{2}}}}", f"\\sqrt{{{2 * number * number}}}")
        wrong = scorer.mark(f"\\boxed{{{number}\\sqrt{{3}}}}", f"\\sqrt{{{2 * number * number}}}")
        return right.score, wrong.score

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(mark, range(2, 34))) == {(1.0, 0.0)}


def test_a_child_that_was_killed_is_replaced(scorer: MathScorer):
    assert scorer.mark(r"\boxed{2\sqrt{2}}", r"\sqrt{8}").score == 1
    assert scorer.child_pid is not None
    os.kill(scorer.child_pid, signal.SIGKILL)
    assert scorer.mark(r"\boxed{3\sqrt{2}}", r"\sqrt{18}").score == 1


def test_closing_ends_the_child():
    scorer = MathScorer()
    scorer.mark(r"\boxed{2\sqrt{2}}", r"\sqrt{8}")
    pid = scorer.child_pid
    assert pid is not None
    scorer.close()
    assert gone(pid)
    scorer.close()


def test_the_child_keeps_no_files_of_its_parent_and_no_keys(scorer: MathScorer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_API_KEY", "secret")
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    scorer.mark(r"\boxed{2\sqrt{2}}", r"\sqrt{8}")
    child = psutil.Process(scorer.child_pid)
    assert "SOME_API_KEY" not in child.environ()
    os.close(writer)
    assert os.read(reader, 1) == b""  # the end comes only if nobody else holds the other side
    os.close(reader)


def test_an_interrupt_does_not_reach_the_child(scorer: MathScorer):
    scorer.mark(r"\boxed{2\sqrt{2}}", r"\sqrt{8}")
    pid = scorer.child_pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    assert scorer.mark(r"\boxed{3\sqrt{2}}", r"\sqrt{18}").score == 1
    assert scorer.child_pid == pid


@pytest.mark.parametrize("busy", [False, True])
def test_a_child_is_gone_when_its_parent_is_killed(busy: bool):
    program = (
        "import sys, threading, time; from questions.comparing import Comparer; c = Comparer(2.0);"
        "c.same('2', 'x'); print(c.pid, flush=True);"
        f"c.same('5', {ENDLESS!r}) if {busy} else time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_a_process_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    comparer = Comparer(1.0)
    with pytest.raises(UncheckableError, match="does not start"):
        comparer.same("2", "x")
    comparer.close()
