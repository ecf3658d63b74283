"""The supervisor's loop: start shards one after another, hand out work, notice who died, end in good order.

It knows shards as numbers, processes and messages; what they do is not its concern. The clock, the launching of a
process and the display are handed in.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from processes.deaths import Death, death_of, out_of_memory_kills
from processes.dispatch import Dispatcher
from processes.engine import Inbox, ShardProcess
from processes.hedging import Hedging
from processes.messages import BEAT_EVERY_S, Message
from processes.suspects import Suspects
from trials.progress import UNANSWERED, ShardProgress, summed

MAX_RESTARTS_WITHOUT_PROGRESS = 3
MAX_LESSONS = 20
"""So many more restarts in a row may bring no trial's end if each tells more of which trial kills the process."""

ASLEEP_S = 5.0
"""Who has not looked after the shards for so long cannot say that it was they who were silent."""
VIEW_EVERY_S = 0.25
LOOK_EVERY_S = 0.05
"""While messages come, all shards are looked over no more often: with a thousand of them that is most of the work."""

WORTH_MOVING_S = 1.0
"""Trials move away from a shard only if it would work longer than this on what it holds."""

LATELY_S = 4.0
RECALL_EVERY_S, RANK_EVERY_S = 1.0, 0.1
WORTH_TAKING_OVER_S, CRAWL = 5.0, 2.0
"""Begun trials move only if it would work longer than this, at less than the ``CRAWL``-th part of the other's limit."""
SUMMED = ("requests", "rejected_429")
LEAVING = ("draining", "done")
"""States in which a process has said that it leaves of its own accord."""

Completions = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal says of trials: how they ended (number → ending), and the completions of the others."""

    endings: Mapping[int, str]
    begun: Mapping[int, Completions]


class Hooks(Protocol):
    """What the supervisor's loop is handed."""

    def launch(self, shard: int, inbox: Inbox) -> ShardProcess:
        """Start the process of a shard."""
        ...

    def replay(self, shard: int, held: Set[int], since: int) -> Replay:
        """Read a shard's journal from byte ``since`` on: what became of the trials it holds."""
        ...

    def unended(self, shard: int, held: Set[int], since: int) -> Mapping[int, int]:
        """Return which of these trials have begun and not ended, and at which byte of the journal each began last."""
        ...

    def written(self, shard: int) -> int:
        """Return the size of a shard's journal in bytes, up to its last whole line."""
        ...

    def note(self, text: str) -> None:
        """Tell the user something that happened."""
        ...

    def show(self, shards: Sequence[ShardState]) -> None:
        """Show how things stand."""
        ...


@dataclass(frozen=True, slots=True)
class Start:
    """When a shard may start: ``delay_s`` after the launch of the shard ``after``, or at once if there is none."""

    after: int | None = None
    delay_s: float = 0.0


@dataclass(slots=True)
class ShardState:
    """What the supervisor knows of one shard. ``endings`` counts its ended trials, ``before`` its dead processes.

    ``given`` counts the trials its process was given to run; it ``hung`` if it was ended by us for its silence.
    """

    number: int
    start: Start
    endings: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)
    traffic_before: dict[str, Any] = field(default_factory=dict)
    progress: ShardProgress = field(default_factory=ShardProgress)
    child: ShardProcess | None = None
    launched_at: float | None = None
    heard_at: float = 0.0
    ready: bool = False
    finishing: bool = False
    over: bool = False
    restarts: int = 0
    fruitless: int = 0
    lessons: int = 0
    given: int = 0
    hung: bool = False
    out_of_memory_before: int = 0
    ended_at_launch: int = 0
    pace: float = 0.0
    paced_at: float = 0.0
    paced_ended: int = 0
    recalled_for: int = 0
    recalled_running: bool = False
    recalled_at: float = float("-inf")
    failure: str = ""

    @property
    def ended(self) -> int:
        """Trials that ended in any process of this shard."""
        return self.endings.total()

    def keep_pace(self, now: float) -> None:
        """Work out how many trials end in a second lately: one that was fast may have become slow."""
        took_s = now - self.paced_at
        if took_s > 0:
            share = min(1.0, took_s / LATELY_S)
            self.pace += share * ((self.ended - self.paced_ended) / took_s - self.pace)
            self.paced_at, self.paced_ended = now, self.ended

    @property
    def total(self) -> ShardProgress:
        """Progress over all processes of this shard so far."""
        sums = {name: self.before[name] + getattr(self.progress, name) for name in SUMMED}
        traffic = summed(self.traffic_before, self.progress.traffic)
        return ShardProgress.from_json({**self.progress.to_json(), **sums, **self.endings, "traffic": traffic})


class Supervisor:
    """Runs shards to the end of their work. One thread calls ``run``; a signal handler may call ``interrupt``."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        starts: Mapping[int, Start],
        hooks: Hooks,
        *,
        wait_for_ready: bool,
        begun: Mapping[int, Completions],
        stall_timeout_s: float,
        drain_timeout_s: float,
        hedging: Hedging | None = None,
        out_of_memory: Callable[[], int] = out_of_memory_kills,
        clock: Callable[[], float] = time.monotonic,
        inbox: Inbox | None = None,
    ) -> None:
        self.shards = [ShardState(number, start) for number, start in sorted(starts.items())]
        self._by_number = {shard.number: shard for shard in self.shards}
        self._by_child: dict[ShardProcess, ShardState] = {}
        self._ranked: dict[str, tuple[float, list[tuple[float, int]]]] = {}
        self._dispatcher = dispatcher
        self._hooks = hooks
        self._wait_for_ready = wait_for_ready
        self._begun = dict(begun)
        self._sent_at: dict[tuple[int, int], int] = {}
        self._stall_timeout_s = stall_timeout_s
        self._drain_timeout_s = drain_timeout_s
        self._hedging = hedging
        self._suspects = Suspects()
        self._out_of_memory = out_of_memory
        self._clock = clock
        self._inbox: Inbox = queue.SimpleQueue() if inbox is None else inbox
        self._interrupts = 0
        self._drain_until: float | None = None
        self._beat_at = 0.0
        self._looked_at = self._watched_at = clock()
        self._shown_at = 0.0
        self._launched = 0
        self.draining = False
        self._noted: set[str] = set()

    def interrupt(self) -> None:
        """The user wants an end: the first time drains, the second stops at once."""
        self._interrupts += 1

    def wind_down(self) -> None:
        """Hand out nothing more and let requests in flight end, as one interrupt does; for the loop's own thread."""
        if not self.draining:
            self._drain()

    def run(self) -> None:
        """Return once every shard has ended its work, failed for good, or been stopped."""
        try:
            heard = False
            while not all(shard.over for shard in self.shards):
                self._heed_interrupts()
                look = not heard or self._clock() - self._looked_at >= LOOK_EVERY_S
                if look:
                    self._looked_at = self._clock()
                    self._launch_due()
                heard = self._receive(0.1)
                if look:
                    self._watch()
                self._beat()
                self._show()
        finally:
            for shard in self.shards:
                if shard.child is not None:
                    shard.child.kill()
            self._hooks.show(self.shards)

    def _launch_due(self) -> None:
        now = self._clock()
        for shard in self.shards:
            if not shard.over and shard.child is None and self._due(shard, now):
                if self.draining or self._dispatcher.exhausted(shard.number):
                    shard.over = True
                    if shard.launched_at is None:
                        shard.progress.state = "not started"
                    elif not self.draining:
                        shard.progress.state = "done"
                else:
                    self._launch(shard, now)

    def _due(self, shard: ShardState, now: float) -> bool:
        if self.draining or shard.start.after is None or shard.launched_at is not None:
            return True
        previous = self._by_number[shard.start.after]
        if previous.over or previous.launched_at is None:
            return previous.over
        return (self._wait_for_ready and previous.ready) or now - previous.launched_at >= shard.start.delay_s

    def _launch(self, shard: ShardState, now: float) -> None:
        self._launched += shard.launched_at is None
        shard.launched_at = shard.heard_at = now
        shard.ready = shard.finishing = shard.hung = False
        shard.given = 0
        shard.out_of_memory_before = self._out_of_memory()
        shard.ended_at_launch = shard.paced_ended = shard.ended
        shard.pace, shard.paced_at = 0.0, now
        shard.progress = ShardProgress(state="starting")
        shard.child = self._hooks.launch(shard.number, self._inbox)
        self._by_child[shard.child] = shard

    def _receive(self, timeout_s: float) -> bool:
        """Handle every message that waits, or the first that comes within the time; return whether one came."""
        heard = False
        try:
            child, message = self._inbox.get(timeout=timeout_s)
            while True:
                heard = True
                shard = self._by_child.get(child)
                if shard is not None:
                    self._handle(shard, message)
                child, message = self._inbox.get_nowait()
        except queue.Empty:
            return heard

    def _handle(self, shard: ShardState, message: Message | None) -> None:
        if message is None:
            self._ended(shard)
            return
        shard.heard_at = self._clock()
        kind = message["type"]
        if kind == "ready":
            shard.ready = True
            if self._launched < len(self.shards):
                self._looked_at = float("-inf")  # the next one may start
        elif kind == "ended":
            self._count(shard, message["endings"])
            self._finish_idle(shard)
        elif kind == "want":
            self._assign(shard, message["count"])
        elif kind == "progress":
            shard.progress = ShardProgress.from_json(message["progress"])
            shard.keep_pace(shard.heard_at)
        elif kind == "note":
            self._note(message["text"])
        elif kind == "returned":
            self._hand_over(shard, message["numbers"])
        elif kind == "fatal":
            self._fail(shard, message["message"], message["everyone"])

    def _note(self, text: str) -> None:
        """Tell what a shard has to say; what several of them say, once."""
        if text not in self._noted:
            self._noted.add(text)
            self._hooks.note(text)

    def _assign(self, shard: ShardState, count: int) -> None:
        held = self._dispatcher.held(shard.number)
        if self.draining or shard.failure or self._suspects.at_work(shard.number, held):
            return
        suspects = self._suspects.waiting(shard.number) & held
        # They wait until others have ended since, where there are others: or is it something else that kills?
        may_begin = self._suspects.may_begin(shard.number, shard.ended)
        numbers = [] if suspects and may_begin else self._dispatcher.take(shard.number, count)
        if numbers:
            self._send(shard, numbers)
        elif suspects:
            if held == suspects:
                self._send(shard, self._suspects.next_group(shard.number, held))
        else:
            self._finish_idle(shard)
            self._recall_for(shard, count)
            self._hedge(shard, count)

    def _send(self, shard: ShardState, taken: Sequence[int]) -> None:
        reasons = {number: why for number in taken if (why := self._suspects.why_set_aside(number)) is not None}
        numbers = [number for number in taken if number not in reasons]
        shard.given += len(numbers)
        # Kept until the trial has ended: a shard may die before it has written them to its own journal.
        begun = {number: self._begun[number] for number in taken if number in self._begun}
        offset = self._hooks.written(shard.number)
        self._sent_at.update(((shard.number, number), offset) for number in taken)
        if numbers:
            self._child(shard).send("assign", trials=numbers, begun=begun)
        if reasons:
            self._child(shard).send("set_aside", reasons=reasons, begun=begun)
        if self._hedging is not None:
            self._hedging.handed_out(numbers, self._clock())

    def _hedge(self, idle: ShardState, count: int) -> None:
        """Let a shard without work try what a sibling has been at for longer than nearly all trials take."""
        if self._hedging is None:
            return
        for holder in self._donors(idle):
            number, now = holder.number, self._clock()
            held = self._dispatcher.held(number)
            held = {one for one in held if not (self._dispatcher.is_hedged(one) or self._suspects.saw_death(one))}
            slow = self._hedging.slow(held, now)[:count]
            if slow:
                self._read_journal(holder, set(slow))
                slow = [one for one in slow if one in self._dispatcher.held(number)]
            if slow:
                self._dispatcher.hedge(idle.number, slow)
                self._send(idle, slow)
                text = f"{len(slow)} slow trials of shard {number} are tried on shard {idle.number} as well"
                self._hooks.note(f"{text}: {', '.join(map(str, slow[:10]))}")
                return

    def _recall_for(self, idle: ShardState, count: int) -> None:
        """Ask the sibling that would work longest for trials that it has not begun.

        One that is throttled to a crawl is asked for trials it has begun as well: the other goes on where they are.
        """
        donor = self._longest(idle)
        if donor is None or donor.child is None:
            return
        donor.recalled_for, donor.recalled_at = idle.number, self._clock()
        donor.recalled_running = self._takes_over(idle, donor)
        donor.child.send("recall", count=count, running=donor.recalled_running)

    def _takes_over(self, idle: ShardState, donor: ShardState) -> bool:
        """Whether a shard should go on with what another, which crawls, has begun."""
        crawls = donor.progress.qps_limit * CRAWL < idle.progress.qps_limit
        return crawls and self._left_s(donor) > WORTH_TAKING_OVER_S

    def _longest(self, idle: ShardState) -> ShardState | None:
        """Return the sibling that would work longest on what it holds, of those that were not asked just now.

        With many shards idle they come one after another, so all siblings are ranked at once, a few times a second.
        """
        now, model = self._clock(), self._dispatcher.model(idle.number)
        ranked_at, ranked = self._ranked.get(model, (float("-inf"), []))
        if now - ranked_at >= RANK_EVERY_S:
            waits = ((self._left_s(one), one.number) for one in self._donors(idle))
            ranked = sorted(one for one in waits if one[0] >= WORTH_MOVING_S)
            self._ranked[model] = now, ranked
        while ranked:
            _, number = ranked.pop()
            donor = self._by_number[number]
            if donor is idle or donor.child is None or self._suspects.are_tried(number):
                continue
            # Who was asked in vain, by one that is no faster, may be asked by one that is.
            free = now - donor.recalled_at >= RECALL_EVERY_S
            free = free or (not donor.recalled_running and self._takes_over(idle, donor))
            if free and self._left_s(donor) >= WORTH_MOVING_S:
                return donor
        return None

    def _donors(self, idle: ShardState) -> list[ShardState]:
        """Return the siblings whose trials may move to a shard; one that kills its process stays where it is."""
        donors = self._dispatcher.donors(idle.number)
        return [self._by_number[number] for number in donors if not self._suspects.are_tried(number)]

    def _hand_over(self, donor: ShardState, numbers: Sequence[int]) -> None:
        """Give trials that a shard has let go to the sibling they were recalled for."""
        taker, donor.recalled_for = self._by_number.get(donor.recalled_for), 0
        if taker is None or taker.child is None or taker.finishing or taker.failure:
            taker = donor
        self._read_journal(donor, set(numbers) & self._dispatcher.held(donor.number))
        self._dispatcher.hand_over(donor.number, taker.number, numbers)
        if taker is not donor and numbers:
            self._assign(taker, len(numbers))

    def _left_s(self, shard: ShardState) -> float:
        """Estimate how long a shard will work on what it holds, from its pace since its launch; lately, if worse."""
        held = len(self._dispatcher.held(shard.number))
        if shard.launched_at is None or not held:
            return 0.0
        elapsed_s, fresh = self._clock() - shard.launched_at, shard.ended - shard.ended_at_launch
        pace = max(fresh, 1) / max(elapsed_s, 1e-3)
        if elapsed_s > LATELY_S:
            pace = min(pace, max(shard.pace, 0.1 / LATELY_S))
        return held / pace

    def _finish_idle(self, about: ShardState | None = None) -> None:
        """Tell every shard that will get no more work to leave once it has ended what it holds.

        What happened to one shard, if it is said which it is ``about``, ends others' work only together with its own.
        """
        if about is not None and not self._dispatcher.exhausted(about.number):
            return
        for shard in self.shards:
            if shard.child is None or shard.finishing or not shard.ready:
                continue
            if self._dispatcher.exhausted(shard.number):
                shard.finishing = True
                shard.child.send("finish")

    def _fail(self, shard: ShardState, text: str, everyone: bool) -> None:
        """A shard says that it cannot go on: give its work away, or end the run where no shard could do better."""
        shard.failure = text
        self._hooks.note(f"shard {shard.number} stopped: {text}")
        if everyone:
            self._drain()
        self._read_journal(shard, self._dispatcher.held(shard.number))
        self._suspects.acquit(shard.number)
        self._dispatcher.close(shard.number)
        self._finish_idle()

    def _ended(self, shard: ShardState) -> None:
        """A shard's process is gone: done, drained, failed, or dead."""
        child, shard.child = self._child(shard), None
        self._by_child.pop(child, None)
        self._looked_at = float("-inf")  # it may have to be started again
        for name in SUMMED:
            shard.before[name] += getattr(shard.progress, name)
        shard.traffic_before = summed(shard.traffic_before, shard.progress.traffic)
        shard.progress = replace(
            shard.progress, requests=0, rejected_429=0, requests_per_s=0.0, in_flight=0, workers=0, traffic={}
        )
        self._read_journal(shard, self._dispatcher.held(shard.number))
        if not self._dispatcher.held(shard.number) and (shard.finishing or shard.failure):
            shard.over = True
            shard.progress.state = "failed" if shard.failure else "done"
            return
        if self.draining or shard.failure:
            shard.over = True
            shard.progress.state = "failed" if shard.failure else "stopped"
            return
        death = death_of(
            child.returncode,
            in_order=shard.progress.state in LEAVING,
            hung=shard.hung,
            out_of_memory=self._out_of_memory() > shard.out_of_memory_before,
        )
        learned = self._investigate(shard, death)
        if shard.ended > shard.ended_at_launch:
            shard.fruitless, shard.lessons = 1, 0
        elif learned and shard.lessons < MAX_LESSONS:
            shard.lessons += 1
        else:
            shard.fruitless += 1
        shard.restarts += 1
        self._dispatcher.returned(shard.number, but=self._suspects.waiting(shard.number))
        if shard.fruitless > MAX_RESTARTS_WITHOUT_PROGRESS:
            times = shard.fruitless + shard.lessons
            self._fail(shard, f"{death.words} {times} times without progress; see its log", False)
            shard.over = True
            shard.progress.state = "failed"
            return
        self._hooks.note(f"shard {shard.number} {death.words}; starting it again ({shard.restarts})")

    def _investigate(self, shard: ShardState, death: Death) -> bool:
        """Look who was running when a process died, and act on it; return whether a further death would tell more."""
        held = self._dispatcher.held(shard.number) - self._suspects.waiting(shard.number)
        sent_at = {number: self._sent_at.get((shard.number, number), 0) for number in held}
        nobody = death.in_order or not held
        began = {} if nobody else self._hooks.unended(shard.number, held, min(sent_at.values()))
        running = {number for number, offset in began.items() if offset >= sent_at[number]}
        elsewhere = {number for number in running if self._dispatcher.is_hedged(number)}
        found = self._suspects.died(
            shard.number, running, death, alone=shard.given == 1, ended=shard.ended, elsewhere=elsewhere
        )
        self._dispatcher.put_off(shard.number, found.put_off)
        if len(found.suspects) > 1:
            text = f"{len(found.suspects)} trials that were running at two deaths are tried by themselves"
            self._hooks.note(f"shard {shard.number}: {text}, to find out which of them kills its process")
        for number in found.set_aside:
            self._hooks.note(f"trial {number} is set aside: {self._suspects.why_set_aside(number)}")
        for number in found.put_off:
            text = "its process was killed from outside again and again while it ran alone; the same command asks it"
            self._hooks.note(f"trial {number} is put off to the next start: {text}")
        return found.learned

    def _read_journal(self, shard: ShardState, numbers: Set[int]) -> None:
        """Learn what became of these trials of a shard: which have ended, and what the others have already."""
        # All that matters was written after the trial was handed out: what it had before is recorded again.
        since = min((self._sent_at.get((shard.number, number), 0) for number in numbers), default=None)
        if since is None:
            return
        replay = self._hooks.replay(shard.number, frozenset(numbers), since)
        for number, how in replay.endings.items():
            self._count(shard, {how: [number]})
        for number, completions in replay.begun.items():
            if len(completions) > len(self._begun.get(number, ())):
                self._begun[number] = completions

    def _count(self, shard: ShardState, endings: Mapping[str, Sequence[int]]) -> None:
        for ending, numbers in endings.items():
            fresh, others = self._dispatcher.ended(shard.number, numbers, answered=ending not in UNANSWERED)
            shard.endings[ending] += len(fresh)
            for number in fresh:
                self._begun.pop(number, None)
            for number in numbers:
                self._sent_at.pop((shard.number, number), None)
            for number, other in others.items():
                child = self._by_number[other].child
                if child is not None:
                    child.send("drop", trials=[number])
            if self._hedging is not None:
                self._hedging.ended(fresh, self._clock())

    def _watch(self) -> None:
        """Kill shards that have not been heard of for too long; the rest follows from their end."""
        now = self._clock()
        awake, self._watched_at = now - self._watched_at < ASLEEP_S, now
        for shard in self.shards:
            if shard.child is not None and now - shard.heard_at > self._stall_timeout_s:
                self._hooks.note(f"shard {shard.number} was silent for {self._stall_timeout_s:g} s; ending it")
                shard.heard_at = now
                shard.hung = awake and not shard.child.is_held_up()
                shard.child.kill()
        if self._drain_until is not None and now > self._drain_until:
            self._kill_all()

    def _beat(self) -> None:
        now = self._clock()
        if now - self._beat_at >= BEAT_EVERY_S:
            self._beat_at = now
            for shard in self.shards:
                if shard.child is not None:
                    shard.child.send("beat")

    def _heed_interrupts(self) -> None:
        if self._interrupts >= 2:
            self._kill_all()
        if self._interrupts >= 1 and not self.draining:
            self._hooks.note("draining: requests in flight may end, nothing new begins; interrupt again to stop")
            self._drain()

    def _drain(self) -> None:
        self.draining = True
        self._drain_until = self._clock() + self._drain_timeout_s + 5
        for shard in self.shards:
            if shard.child is not None:
                shard.child.send("drain")

    def _kill_all(self) -> None:
        self.draining = True
        for shard in self.shards:
            if shard.child is not None:
                shard.child.kill()

    def _show(self) -> None:
        now = self._clock()
        if now - self._shown_at >= VIEW_EVERY_S:
            self._shown_at = now
            self._hooks.show(self.shards)

    @staticmethod
    def _child(shard: ShardState) -> ShardProcess:
        assert shard.child is not None, "a message came from no process"
        return shard.child
