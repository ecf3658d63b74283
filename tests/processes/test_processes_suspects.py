"""Trials that kill their process are found among many and set aside; no other ever is, whoever kills processes."""

from __future__ import annotations

import queue
import random
import signal
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_processes_dispatch import plan_of

from processes.deaths import Death, death_of
from processes.dispatch import Dispatcher
from processes.hedging import Hedging
from processes.supervisor import MAX_RESTARTS_WITHOUT_PROGRESS, Replay, Start, Supervisor
from processes.suspects import Suspects

CRASH = Death(words="was killed by signal 11", own_doing=True)
KILL = Death(words="was killed by signal 9", own_doing=False)


class Process:
    """A shard's process of the played world, as the supervisor sees a child."""

    def __init__(self, world: World, shard: int) -> None:
        self.world, self.shard = world, shard
        self.pid = 0
        self.returncode: int | None = None
        self.waiting: list[int] = []
        self.running: list[int] = []
        self.over = False
        self.spoilt = False
        self.tell("ready")
        self.want()

    def tell(self, kind: str, **fields) -> None:
        self.world.messages.append((self, {"type": kind, **fields}))

    def want(self) -> None:
        self.tell("want", count=2 * self.world.workers)

    def send(self, kind: str, **fields) -> None:
        if self.returncode is not None:
            return
        if kind == "assign":
            self.waiting += fields["trials"]
        elif kind == "set_aside":
            for number, reason in fields["reasons"].items():
                assert reason
                self.world.end(self, number, "harness_errors")
        elif kind == "recall":
            back, self.waiting = self.waiting[-fields["count"] :], self.waiting[: -fields["count"]]
            self.tell("returned", numbers=back)
        elif kind == "drop":
            self.waiting = [number for number in self.waiting if number not in fields["trials"]]
            self.running = [number for number in self.running if number not in fields["trials"]]
        elif kind in ("finish", "drain"):
            self.over = True

    def begin(self) -> None:
        while self.waiting and len(self.running) < self.world.workers:
            self.running.append(self.waiting.pop(0))
            self.world.write(self.shard, "begun", self.running[-1])

    def die(self, code: int) -> None:
        self.returncode = code
        self.world.processes.remove(self)
        self.world.messages.append((self, None))

    def kill(self) -> None:
        if self.returncode is None:
            self.die(-9)

    def is_held_up(self) -> bool:
        return False


class World:
    """Hooks and inbox in one: when nobody has anything to say, something happens somewhere."""

    def __init__(
        self, seed, *, workers, poison, hedge=False, kill_share=0.0, broken=False, stillborn=False, spoilers=()
    ) -> None:
        self.dice = random.Random(seed)
        self.workers, self.poison, self.kill_share, self.broken = workers, poison, kill_share, broken
        self.hedge = hedge
        self.spoilers, self.stillborn = spoilers, stillborn
        self.messages: list[tuple[Process, dict | None]] = []
        self.processes: list[Process] = []
        self.journals: dict[int, list[tuple[str, int]]] = {}
        self.ended: dict[int, str] = {}
        self.notes: list[str] = []
        self.launches = Counter[int]()
        self.now = 0.0

    def clock(self) -> float:
        self.now += 0.001
        return self.now

    def get(self, timeout: float):
        self.now += 0.2
        if not self.messages:
            self.happen()
        return self.get_nowait()

    def get_nowait(self):
        if not self.messages:
            raise queue.Empty
        return self.messages.pop(0)

    def happen(self) -> None:
        for process in list(self.processes):
            process.begin()
            if process.over and not process.running:
                process.die(0)
        busy = [one for one in self.processes if one.running]
        if not busy:
            for process in self.processes:
                process.want()
            return
        process = self.dice.choice(busy)
        number = self.dice.choice(process.running)
        if self.dice.random() < self.kill_share:
            process.die(-9)
        elif number in self.poison or self.broken or process.spoilt:
            process.die(-11)
        else:
            process.running.remove(number)
            process.spoilt = number in self.spoilers
            self.end(process, number, "full")
        if self.dice.random() < 0.5:
            process.want()

    def end(self, process: Process, number: int, how: str) -> None:
        assert self.hedge or number not in self.ended
        self.ended.setdefault(number, how)
        self.write(process.shard, "ended", number)
        process.tell("ended", endings={how: [number]})

    def write(self, shard: int, kind: str, number: int) -> None:
        self.journals.setdefault(shard, []).append((kind, number))

    def launch(self, shard, inbox):
        self.launches[shard] += 1
        self.processes.append(process := Process(self, shard))
        if self.stillborn:
            process.die(-9)
        return process

    def written(self, shard):
        return len(self.journals.get(shard, ()))

    def replay(self, shard, held, since):
        told = self.journals.get(shard, [])[since:]
        return Replay({number: self.ended[number] for kind, number in told if kind == "ended" and number in held}, {})

    def unended(self, shard, held, since):
        began: dict[int, int] = {}
        for offset, (kind, number) in enumerate(self.journals.get(shard, ())):
            if number in held and offset >= since:
                began[number] = offset
                if kind == "ended":
                    del began[number]
        return began

    def note(self, text):
        self.notes.append(text)

    def show(self, shards):
        pass


def play(seed=0, *, trials=200, workers=5, shards=1, poison=(), hedge=False, **more) -> tuple[Supervisor, World]:
    world = World(seed, workers=workers, poison=set(poison), hedge=hedge, **more)
    numbers = range(1, shards + 1)
    supervisor = Supervisor(
        Dispatcher(plan_of(trials), dict.fromkeys(numbers, "m")),
        {number: Start() for number in numbers},
        world,
        wait_for_ready=True,
        begun={},
        stall_timeout_s=1e9,
        drain_timeout_s=5,
        hedging=Hedging() if hedge else None,
        out_of_memory=lambda: 0,
        clock=world.clock,
        inbox=world,
    )
    supervisor.run()
    return supervisor, world


def set_aside(world: World) -> set[int]:
    return {number for number, how in world.ended.items() if how == "harness_errors"}


@pytest.mark.parametrize("workers", [1, 2, 8, 40])
@pytest.mark.parametrize("poison", [(0, 1, 2), (7, 100, 199), (197, 198, 199)])
def test_three_among_two_hundred_are_set_aside_and_all_others_ended(workers, poison):
    supervisor, world = play(workers=workers, poison=poison)
    assert set_aside(world) == set(poison)
    assert len(world.ended) == 200
    assert supervisor.shards[0].endings == Counter(full=197, harness_errors=3)
    assert sum("is set aside" in note for note in world.notes) == 3


def test_one_among_six_hundred_at_once_is_found_in_few_restarts():
    supervisor, world = play(trials=3000, workers=600, poison=(1234,))
    assert set_aside(world) == {1234}
    assert len(world.ended) == 3000
    assert supervisor.shards[0].restarts <= 16


@pytest.mark.parametrize("poison", [(0,), (0, 1, 2)])
def test_where_nothing_else_is_left_to_ask_the_rest_is_found_as_well(poison):
    _, world = play(trials=len(poison), workers=4, poison=poison)
    assert set_aside(world) == set(poison)


@given(
    seed=st.integers(0, 10**9),
    workers=st.integers(1, 12),
    shards=st.integers(1, 3),
    poison=st.sets(st.integers(0, 59), max_size=6),
    hedge=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_exactly_those_that_kill_are_set_aside(seed, workers, shards, poison, hedge):
    supervisor, world = play(seed, trials=60, workers=workers, shards=shards, poison=poison, hedge=hedge)
    assert set_aside(world) == poison
    assert len(world.ended) == 60
    assert all(shard.over and not shard.failure for shard in supervisor.shards)


@given(
    seed=st.integers(0, 10**9),
    workers=st.integers(1, 12),
    shards=st.integers(1, 3),
    poison=st.sets(st.integers(0, 59), max_size=3),
    kill_share=st.sampled_from([0.02, 0.1, 0.3, 0.9]),
)
@settings(max_examples=150, deadline=None)
def test_whoever_kills_processes_from_outside_no_innocent_trial_is_set_aside(seed, workers, shards, poison, kill_share):
    supervisor, world = play(
        seed, trials=60, workers=workers, shards=shards, poison=poison, hedge=True, kill_share=kill_share
    )
    assert set_aside(world) <= poison
    assert all(shard.over for shard in supervisor.shards)


@given(
    seed=st.integers(0, 10**9),
    workers=st.integers(1, 4),
    poison=st.sets(st.integers(0, 59), max_size=2),
    spoilers=st.sets(st.integers(0, 59), min_size=5, max_size=40),
)
@settings(max_examples=100, deadline=None)
def test_who_follows_a_trial_that_spoils_its_process_is_not_blamed_for_it(seed, workers, poison, spoilers):
    _, world = play(seed, trials=60, workers=workers, poison=poison, spoilers=spoilers - poison)
    assert set_aside(world) <= poison


def test_where_every_trial_kills_its_process_the_shard_is_given_up_and_none_blamed():
    supervisor, world = play(workers=4, broken=True)
    assert "without progress" in supervisor.shards[0].failure
    assert world.ended == {}
    assert world.launches[1] < 30


def test_a_process_that_begins_nothing_is_given_up_as_soon_as_ever():
    supervisor, world = play(stillborn=True)
    assert world.launches[1] == 1 + MAX_RESTARTS_WITHOUT_PROGRESS
    assert "without progress" in supervisor.shards[0].failure


def test_where_every_process_is_killed_from_outside_the_shard_is_given_up_and_none_blamed():
    supervisor, world = play(workers=4, kill_share=1.0)
    assert "without progress" in supervisor.shards[0].failure
    assert world.ended == {}
    assert world.launches[1] < 30


def test_one_death_makes_no_suspect_and_the_second_one_does():
    suspects = Suspects()
    assert suspects.died(1, {4, 5}, CRASH, alone=False, ended=0).suspects == ()
    assert not suspects.are_tried(1)
    assert suspects.died(2, {5, 6}, CRASH, alone=False, ended=0).suspects == (5,)
    assert suspects.waiting(2) == {5}


def test_suspects_wait_until_others_have_ended():
    suspects = Suspects()
    for _ in range(2):
        suspects.died(1, {4, 5}, CRASH, alone=False, ended=7)
    assert not suspects.may_begin(1, 7)
    assert suspects.may_begin(1, 8)


def test_who_is_killed_from_outside_while_alone_is_put_off_and_not_set_aside():
    suspects = Suspects()
    assert suspects.died(1, {4}, KILL, alone=True, ended=0).put_off == ()
    found = suspects.died(1, {4}, KILL, alone=True, ended=0)
    assert (found.put_off, found.set_aside) == ((4,), ())
    assert suspects.why_set_aside(4) is None


def test_one_death_alone_is_not_enough():
    suspects = Suspects()
    for _ in range(5):
        suspects.died(1, {4, 5}, CRASH, alone=False, ended=0)
    assert suspects.died(1, {4}, CRASH, alone=True, ended=0).set_aside == ()
    assert suspects.died(1, {4}, KILL, alone=True, ended=0).set_aside == ()
    assert suspects.died(1, {4}, CRASH, alone=True, ended=0).set_aside == (4,)
    assert "was killed by signal 11" in suspects.why_set_aside(4)
    assert "8 deaths" in suspects.why_set_aside(4)


CODES = {
    "a crash": (-signal.SIGSEGV, {}, True),
    "an abort": (-signal.SIGABRT, {}, True),
    "an exit without a word": (0, {}, True),
    "an exit that was told": (0, {"in_order": True}, False),
    "a kill": (-signal.SIGKILL, {}, False),
    "a request to end": (-signal.SIGTERM, {}, False),
    "a kill for want of memory": (-signal.SIGKILL, {"out_of_memory": True}, True),
    "a crash while memory is short elsewhere": (-signal.SIGTERM, {"out_of_memory": True}, False),
    "silence": (-signal.SIGKILL, {"hung": True}, True),
}


@pytest.mark.parametrize("how", CODES)
def test_whose_doing_a_death_was(how):
    code, more, own = CODES[how]
    assert death_of(code, **{"in_order": False, "hung": False, "out_of_memory": False, **more}).own_doing is own
