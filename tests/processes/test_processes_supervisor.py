"""The supervisor's loop with little shards, real processes and pipes: who starts, is restarted, and ends the run."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter

import pytest
from test_processes_dispatch import plan_of

from processes.child import Child
from processes.dispatch import Dispatcher
from processes.supervisor import MAX_RESTARTS_WITHOUT_PROGRESS, Replay, Start, Supervisor

SHARD = """
import os, sys, time
from processes.parent import Parent
parent = Parent(0, 1, silence_s=60)
parent.send('ready')
parent.send('want', count=2)
ended = 0
while not parent.gone():
    message = parent.inbox.get()
    if message['type'] == 'assign':
        {on_assign}
        parent.send('ended', endings={{'full': message['trials']}})
        ended += len(message['trials'])
        parent.send('want', count=2)
    elif message['type'] == 'beat':
        parent.send('progress', progress={{'state': 'running', 'requests': ended}})
        parent.send('want', count=2)
    elif message['type'] in ('finish', 'drain'):
        sys.exit(0)
"""


class House:
    """Hooks that launch little programs and remember what happened."""

    def __init__(self, tmp_path, programs):
        self.programs = programs
        self.stderr = tmp_path / "stderr"
        self.launched: list[int] = []
        self.notes: list[str] = []
        self.shown = 0
        self.journal: dict[int, str] = {}

    def launch(self, shard, inbox):
        self.launched.append(shard)
        nth = self.launched.count(shard) - 1
        program = self.programs[shard][min(nth, len(self.programs[shard]) - 1)]
        return Child([sys.executable, "-c", SHARD.format(on_assign=program)], inbox=inbox, stderr_path=self.stderr)

    def written(self, shard):
        return 0

    def replay(self, shard, held, since):
        return Replay({number: how for number, how in self.journal.items() if number in held}, {})

    def unended(self, shard, held, since):
        return {}

    def note(self, text):
        self.notes.append(text)

    def show(self, shards):
        self.shown += 1


@pytest.fixture
def supervise(tmp_path):
    def run(programs, *, trials=12, balance="pull", starts=None, meanwhile=None, wait_for_ready=True, **timeouts):
        house = House(tmp_path, programs)
        dispatcher = Dispatcher(plan_of(trials), dict.fromkeys(programs, "m"), balance=balance)
        supervisor = Supervisor(
            dispatcher,
            starts or {shard: Start() for shard in programs},
            house,
            wait_for_ready=wait_for_ready,
            begun={},
            stall_timeout_s=timeouts.get("stall_timeout_s", 30),
            drain_timeout_s=timeouts.get("drain_timeout_s", 5),
        )
        if meanwhile is not None:
            threading.Thread(target=meanwhile, args=(supervisor, house), daemon=True).start()
        supervisor.run()
        return supervisor, house

    return run


def ended(supervisor) -> int:
    return sum(shard.ended for shard in supervisor.shards)


def test_all_work_is_done_and_every_shard_leaves_by_itself(supervise):
    supervisor, house = supervise({1: ["pass"], 2: ["pass"], 3: ["pass"]})
    assert ended(supervisor) == 12
    assert [shard.progress.state for shard in supervisor.shards] == ["done"] * 3
    assert house.notes == []


def test_a_shard_that_dies_is_started_again_and_its_work_done(supervise):
    supervisor, house = supervise({1: ["os.kill(os.getpid(), 9)", "pass"]})
    assert ended(supervisor) == 12
    assert house.launched == [1, 1]
    assert "signal 9" in house.notes[0]


def test_what_a_dead_shard_had_ended_is_counted_once(supervise, tmp_path):
    house_journal = {0: "full", 1: "provider_errors"}
    programs = {1: ["os.kill(os.getpid(), 9)", "pass"]}
    house = House(tmp_path, programs)
    house.journal = house_journal
    dispatcher = Dispatcher(plan_of(6), {1: "m"})
    supervisor = Supervisor(
        dispatcher, {1: Start()}, house, wait_for_ready=True, begun={}, stall_timeout_s=30, drain_timeout_s=5
    )
    supervisor.run()
    assert supervisor.shards[0].endings == Counter(full=5, provider_errors=1)


def test_a_shard_that_never_gets_anywhere_is_given_up_and_its_work_moves(supervise):
    supervisor, house = supervise({1: ["sys.exit(7)"], 2: ["time.sleep(0.05)"]}, trials=80)
    assert ended(supervisor) == 80
    assert house.launched.count(1) == 1 + MAX_RESTARTS_WITHOUT_PROGRESS
    assert "without progress" in supervisor.shards[0].failure


def test_with_even_balance_the_work_of_a_lost_shard_stays_undone(supervise):
    supervisor, _ = supervise({1: ["sys.exit(7)"], 2: ["pass"]}, balance="even")
    assert ended(supervisor) == 6


def test_a_fatal_word_stops_one_shard_and_siblings_take_over(supervise):
    fatal = "parent.send('fatal', message='key refused', everyone=False); sys.exit(3)"
    supervisor, house = supervise({1: [fatal], 2: ["time.sleep(0.01)"]})
    assert ended(supervisor) == 12
    assert house.launched == [1, 2]
    assert house.notes == ["shard 1 stopped: key refused"]


def test_a_fatal_word_for_everyone_drains_the_run(supervise):
    fatal = "parent.send('fatal', message='disk full', everyone=True); sys.exit(3)"
    supervisor, _ = supervise({1: [fatal], 2: ["time.sleep(0.3)"]}, trials=1000)
    assert ended(supervisor) < 1000
    assert supervisor.draining


def test_a_silent_shard_is_killed_and_its_work_done_elsewhere(supervise):
    stall = "import signal; os.kill(os.getpid(), signal.SIGSTOP)"
    supervisor, house = supervise({1: [stall, "pass"]}, stall_timeout_s=3)
    assert ended(supervisor) == 12
    assert any("silent" in note for note in house.notes)


def test_the_first_interrupt_drains(supervise):
    def interrupt(supervisor, house):
        while not ended(supervisor):
            pass
        supervisor.interrupt()

    supervisor, house = supervise({1: ["time.sleep(0.05)"]}, trials=5000, meanwhile=interrupt)
    assert 0 < ended(supervisor) < 5000
    assert house.launched == [1]
    assert supervisor.shards[0].progress.state == "stopped"


def test_the_second_interrupt_ends_shards_that_do_not_listen(supervise):
    def interrupt(supervisor, house):
        while not house.launched:
            pass
        supervisor.interrupt()
        supervisor.interrupt()

    deaf = "time.sleep(600)"
    supervisor, _ = supervise({1: [deaf]}, meanwhile=interrupt)
    assert supervisor.shards[0].over


def test_a_drain_that_takes_too_long_is_ended(supervise):
    def interrupt(supervisor, house):
        while not supervisor.shards[0].ready:
            pass
        supervisor.interrupt()

    supervisor, _ = supervise({1: ["time.sleep(600)"]}, meanwhile=interrupt, drain_timeout_s=-4)
    assert supervisor.shards[0].over


def test_with_auto_stagger_a_shard_starts_when_the_one_before_is_ready(supervise):
    starts = {1: Start(), 2: Start(1, 3600.0), 3: Start(2, 3600.0)}
    supervisor, house = supervise({1: ["time.sleep(0.1)"], 2: ["time.sleep(0.1)"], 3: ["pass"]}, starts=starts)
    assert ended(supervisor) == 12
    assert house.launched == [1, 2, 3]


def test_documented_delays_count_from_the_shard_before(tmp_path):
    now = [0.0]
    house = House(tmp_path, {1: ["time.sleep(600)"], 2: ["time.sleep(600)"], 3: ["time.sleep(600)"]})
    launched_at: dict[int, float] = {}
    original = house.launch
    house.launch = lambda shard, inbox: (launched_at.setdefault(shard, now[0]), original(shard, inbox))[1]

    def clock():
        now[0] += 0.3
        return now[0]

    def show(shards):
        if now[0] > 60:
            supervisor.interrupt()
            supervisor.interrupt()

    house.show = show
    supervisor = Supervisor(
        Dispatcher(plan_of(12), dict.fromkeys((1, 2, 3), "m")),
        {1: Start(), 2: Start(1, 30.0), 3: Start(2, 20.0)},
        house,
        wait_for_ready=False,
        begun={},
        stall_timeout_s=1e9,
        drain_timeout_s=5,
        clock=clock,
    )
    supervisor.run()
    assert launched_at[1] < 2
    assert 29 <= launched_at[2] - launched_at[1] <= 33
    assert 19 <= launched_at[3] - launched_at[2] <= 23


def test_no_process_is_left_when_the_loop_itself_fails(tmp_path):
    house = House(tmp_path, {1: ["time.sleep(600)"]})
    supervisor = Supervisor(
        Dispatcher(plan_of(2), {1: "m"}),
        {1: Start()},
        house,
        wait_for_ready=True,
        begun={},
        stall_timeout_s=30,
        drain_timeout_s=5,
    )
    shown = []

    def show(shards):
        shown.append([shard.child for shard in shards])
        if len(shown) == 1:
            raise RuntimeError("a defect of the display")

    house.show = show
    with pytest.raises(RuntimeError):
        supervisor.run()
    (child,) = shown[0]
    child.close(10)
    assert child.returncode == -signal.SIGKILL
