"""One trial from its beginning to its row, and the threads that run many."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from real_runs import wait_for

from batch_test_runner import Asked, TrialRunner, Work, WorkerPool
from stores.journal import JournalWriter, read_events, replay
from trials.errors import Drained, ProviderError, StoreError
from trials.rows import FIELDS, SHARED
from trials.words import Cell, Completion, Marked, ToolCall, Trial

CELL = Cell(model="m", prompt_type="optimal", tool_success_rate=0.8, difficulty="easy", task_type="simple_task")
TRIAL = Trial(number=3, trial_key="k3", cell=CELL, task_id="t3", epoch=0)
WHO = Asked(provider="somewhere", deployment="m-2", simulated=True)


class ThreeTurns:
    """A workload that asks three times and remembers the answers."""

    definition = "d"

    def trial(self, cell: Cell, instance: int, number: int) -> Trial:
        return replace(TRIAL, number=number, trial_key=f"k{number}")

    def run(self, trial: Trial, chat: Callable, opening: object = None) -> Marked:
        said = [chat([{"role": "user", "content": str(turn)}]).text for turn in range(3)]
        spoken = [{"role": "assistant", "content": text} for text in said]
        return Marked(outcome="full", coverage=1.0, turns=3, conversation=spoken, detail={"said": said})


class Answers:
    """Answers in order; an exception in the list is raised."""

    def __init__(self, *answers: str | Exception) -> None:
        self.left = list(answers)
        self.asked = 0

    def __call__(self, trial, messages, tools, **more) -> Completion:
        self.asked += 1
        answer = self.left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Completion(
            text=answer, prompt_tokens=10, completion_tokens=2, attempts=2, provider_ms=5.0, rate_wait_ms=1.0
        )


def runner(answers: Answers, events: list, workload=None) -> TrialRunner:
    return TrialRunner(workload or ThreeTurns(), answers, events.append, WHO)


def kinds(events: list) -> list[str]:
    return [event["kind"] for event in events]


def failure(**changes) -> ProviderError:
    return ProviderError("no answer", **{"kind": "timeout", "attempts": 5, **changes})


def test_a_scored_trial_leaves_a_row_with_all_that_it_cost():
    events: list = []
    row = runner(Answers("a", "b", "c"), events).run(Work(trial=TRIAL, queued_at=time.time() - 1))
    assert (row["status"], row["outcome"], row["coverage"]) == ("scored", "full", 1.0)
    assert (row["requests"], row["attempts"], row["prompt_tokens"], row["completion_tokens"]) == (3, 6, 30, 6)
    assert (row["provider_ms"], row["rate_wait_ms"]) == (15.0, 3.0)
    shared = events[-1]["shared"]
    assert (shared["provider"], shared["deployment"], shared["simulated"]) == ("somewhere", "m-2", True)
    assert row["queue_ms"] >= 1000
    assert tuple(shared) == SHARED
    assert set(row) < set(FIELDS) - set(SHARED)
    assert kinds(events) == ["begun", "completion", "completion", "completion", "ended"]
    assert events[-1]["row"] is row
    assert [message["content"] for message in events[-1]["conversation"]] == ["a", "b", "c"]


def test_a_failed_provider_scores_nothing_and_its_attempts_are_counted():
    events: list = []
    row = runner(Answers("a", failure()), events).run(Work(trial=TRIAL))
    assert (row["status"], row["error_category"], row["error_message"]) == ("provider_error", "timeout", "no answer")
    assert (row["requests"], row["attempts"]) == (1, 2 + 5)
    assert (row.get("outcome"), row.get("coverage")) == (None, None)
    assert kinds(events) == ["begun", "completion", "ended"]


def test_a_fatal_failure_is_raised_and_leaves_the_trial_pending():
    events: list = []
    with pytest.raises(ProviderError):
        runner(Answers("a", failure(kind="access", fatal=True)), events).run(Work(trial=TRIAL))
    assert kinds(events) == ["begun", "completion"]


def test_a_drained_trial_stays_pending():
    events: list = []
    assert runner(Answers("a", "b", Drained("stopping")), events).run(Work(trial=TRIAL)) is None
    assert kinds(events) == ["begun", "completion", "completion"]


def test_a_journal_that_takes_no_more_is_raised():
    def full(event: dict) -> None:
        raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        TrialRunner(ThreeTurns(), Answers("a"), full, WHO).run(Work(trial=TRIAL))


class Defective(ThreeTurns):
    def run(self, trial: Trial, chat: Callable, opening: object = None) -> Marked:
        chat([])
        raise ZeroDivisionError("a defect of ours")


@pytest.mark.parametrize("work", [Work(trial=TRIAL), Work(trial=TRIAL, earlier=(Completion(text="a"),))])
@pytest.mark.parametrize("make", [ThreeTurns, Defective])
@pytest.mark.parametrize("last", ["c", failure(), Drained("stopping")], ids=["scored", "failed", "drained"])
def test_a_trial_leaves_no_garbage(work: Work, make: type[ThreeTurns], last: str | Exception) -> None:
    """Python looks for garbage seldom (processes/garbage.py)."""
    told: list = []
    one = runner(Answers(*("a", "b", "c", "d")[: 2 - len(work.earlier)], last), told, make())
    gc.collect()
    gc.disable()
    try:
        one.run(work)
        told.clear()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_defect_of_ours_is_a_harness_error_that_says_where():
    events: list = []
    row = runner(Answers("a"), events, Defective()).run(Work(trial=TRIAL))
    assert (row["status"], row["error_category"]) == ("harness_error", "ZeroDivisionError")
    assert "a defect of ours" in row["error_message"]
    assert "test_batch_test_runner.py" in row["error_message"]
    assert (row.get("outcome"), row["requests"]) == (None, 1)
    assert kinds(events)[-1] == "ended"


def test_what_a_model_wrote_never_stops_the_journal(tmp_path):
    """Half a surrogate pair can be spelt in JSON, and in no encoding."""
    journal = JournalWriter(tmp_path / "journal")
    TrialRunner(ThreeTurns(), Answers("a", "\ud800", "c"), journal.append, WHO).run(Work(trial=TRIAL))
    journal.close()
    events = [event for _, event in read_events(tmp_path / "journal")]
    assert kinds(events) == ["begun", "completion", "completion", "completion", "ended"]
    assert events[-1]["row"]["status"] == "scored"


def test_earlier_completions_are_replayed_without_asking_and_their_costs_add_up():
    events: list = []
    earlier = (Completion(text="a", attempts=2), Completion(text="b", attempts=4))
    answers = Answers("c")
    row = runner(answers, events).run(Work(trial=TRIAL, earlier=earlier))
    assert answers.asked == 1
    assert (row["requests"], row["attempts"]) == (3, 2 + 4 + 2)
    assert [message["content"] for message in events[-1]["conversation"]] == ["a", "b", "c"]


def test_a_wholly_replayed_trial_asks_nothing_at_all():
    events: list = []
    answers = Answers()
    row = runner(answers, events).run(Work(trial=TRIAL, earlier=tuple(Completion(text=text) for text in "abc")))
    assert (answers.asked, row["status"], row["requests"]) == (0, "scored", 3)


def test_a_journal_is_whole_by_itself_after_a_resume(tmp_path):
    """What an earlier process was told is written again, so a third process needs one journal only."""
    call = ToolCall(id="1", name="t", arguments='{"größe": 1}')
    earlier = (Completion(text="a", tool_calls=(call,)), Completion(text="b"))
    journal = JournalWriter(tmp_path / "journal")
    stopped = TrialRunner(ThreeTurns(), Answers(Drained("stopping")), journal.append, WHO)
    assert stopped.run(Work(trial=TRIAL, earlier=earlier)) is None
    journal.close()
    endings, completions = replay(tmp_path / "journal", {3})
    assert endings == {}
    assert tuple(Completion.from_json(one) for one in completions[3]) == earlier


class Gate:
    """Work that waits until it is let go, and knows how many run."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.ran: list[int] = []
        self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, work: Work) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.open.wait(30)
        with self._lock:
            self.running -= 1
            self.ran.append(work.trial.number)


def items(count: int) -> list[Work]:
    return [Work(trial=replace(TRIAL, number=number)) for number in range(count)]


def threads_before() -> set[threading.Thread]:
    return set(threading.enumerate())


def test_a_pool_without_work_has_no_threads():
    before = threads_before()
    pool = WorkerPool(lambda work: None, max_workers=300)
    pool.grow()
    assert (pool.threads, pool.busy, pool.loaded) == (0, 0, False)
    assert threads_before() == before


def test_threads_start_as_work_needs_them_and_never_above_the_ceiling():
    gate = Gate()
    pool = WorkerPool(gate, max_workers=4)
    pool.add(items(2))
    wait_for(lambda: gate.running == 2, "both run")
    assert pool.threads == 2
    pool.add(items(9))
    wait_for(lambda: gate.running == 4, "four run")
    pool.grow()
    assert (pool.threads, pool.busy) == (4, 4)
    gate.open.set()
    wait_for(lambda: not pool.loaded, "all work is done")
    assert (len(gate.ran), gate.most, pool.threads) == (11, 4, 4)
    pool.stop()


def test_an_idle_thread_is_used_before_another_is_started():
    gate = Gate()
    gate.open.set()
    pool = WorkerPool(gate, max_workers=50)
    for number in range(20):
        pool.add(items(1))
        wait_for(lambda wanted=number + 1: len(gate.ran) == wanted and not pool.busy, "it is done")
        wait_for(lambda: pool._idle == pool.threads, "its thread waits again")
    assert pool.threads == 1
    pool.stop()


def test_a_saturated_rate_limit_holds_growth_until_it_is_over():
    gate, saturated = Gate(), threading.Event()
    saturated.set()
    pool = WorkerPool(gate, max_workers=10, saturated=saturated.is_set)
    pool.add(items(6))
    wait_for(lambda: gate.running == 1, "one runs")
    pool.grow()
    assert pool.threads == 1
    saturated.clear()
    pool.grow()
    wait_for(lambda: gate.running == 6, "all run")
    gate.open.set()
    pool.stop()


def test_a_stopped_pool_hands_back_what_had_not_begun_and_lets_the_rest_end():
    gate = Gate()
    pool = WorkerPool(gate, max_workers=2)
    pool.add(items(5))
    wait_for(lambda: gate.running == 2, "two run")
    left = pool.stop()
    assert [work.trial.number for work in left] == [2, 3, 4]
    assert not pool.join(0.01)
    gate.open.set()
    assert pool.join(30)
    assert sorted(gate.ran) == [0, 1]
    wait_for(lambda: pool.threads == 0, "its threads have left")
    pool.add(items(1))
    assert pool.threads == 0


def test_joining_an_idle_pool_does_not_wait():
    assert WorkerPool(lambda work: None, max_workers=1).join(0)


def test_more_work_is_asked_for_when_little_is_left():
    gate, low = Gate(), threading.Event()
    pool = WorkerPool(gate, max_workers=2, on_low=low.set)
    assert (pool.is_low, pool.wanted()) == (True, 2)
    pool.add(items(6))
    wait_for(lambda: gate.running == 2, "two run")
    assert (pool.is_low, pool.wanted()) == (False, 0)
    gate.open.set()
    assert low.wait(30)
    wait_for(lambda: not pool.loaded, "all work is done")
    assert (pool.is_low, pool.wanted()) == (True, 4)
    pool.stop()


def test_hundreds_of_allowed_threads_cost_nothing_while_one_keeps_up():
    gate = Gate()
    gate.open.set()
    pool = WorkerPool(gate, max_workers=2100, saturated=lambda: True)
    pool.add(items(500))
    wait_for(lambda: not pool.loaded, "all work is done")
    assert pool.threads == 1
    assert len(gate.ran) == 500
    pool.stop()
