"""What changed between two sides that were asked the same: which answers, and whether the difference means anything.

Rows are paired as they come, and only one side is held, a few fields of each row. Statistics are as in
``trials.comparisons``: rates with intervals that know which trials repeat a task, the interval of a paired difference,
and McNemar's exact test over tasks. Every difference is b - a: what side b gained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trials.answer_votes import answer_of
from trials.comparisons import SIGNIFICANT
from trials.rows import Row
from trials.statistics import Interval, clustered_rate_interval, difference_interval, mcnemar
from trials.words import FULL, QUESTION, SCORED

LOST, GAINED, OTHER = "right → wrong", "wrong → right", "changed, no more or less right"
KINDS = (LOST, GAINED, OTHER)

CONDITION = ("model", "prompt_type", "tool_success_rate", "difficulty", "tool_protocol", "severity")
"""The fields of a row that say under which condition a task was asked."""
COMPARED = (
    *CONDITION,
    *("definition", "seed", "task_id", "epoch"),
    *("status", "outcome", "answer", "target", "score", "error_category"),
)
"""The fields of a row that a comparison reads."""

Place = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One task whose answers differ between the sides. Of workflow tasks ``a`` and ``b`` are outcomes."""

    kind: str
    task_id: str
    epoch: int
    condition: str
    target: str
    a: str
    b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Side a against side b. Rates are those of the pairs; they are None, and p is 1, without any.

    ``unscored`` counts pairs of which a side has no score, ``only_a`` and ``only_b`` scored rows without a partner;
    ``relabelled`` pairs whose labels differ. ``ahead_a`` and ``ahead_b`` count tasks on which that side is right more
    often, which is what ``p`` tests.
    """

    pairs: int
    tasks: int
    unscored: int
    only_a: int
    only_b: int
    relabelled: int
    counts: Mapping[str, int]
    changed: Sequence[Change]
    rate_a: float | None
    rate_b: float | None
    interval_a: Interval
    interval_b: Interval
    difference: float | None
    interval: Interval
    ahead_a: int
    ahead_b: int
    p: float

    @property
    def significant(self) -> bool:
        """Whether p is at most 5 %."""
        return self.p <= SIGNIFICANT


@dataclass(slots=True)
class _Seen:
    """What is kept of a row of side a; ``paired`` once side b had its partner."""

    status: str
    right: bool
    answer: str
    shown: str
    target: str
    paired: bool = False


@dataclass(slots=True)
class _Task:
    differences: list[float] = field(default_factory=list)
    right_a: int = 0
    right_b: int = 0


def paired_on(levels_a: Mapping[str, set[Any]], levels_b: Mapping[str, set[Any]]) -> tuple[str, ...]:
    """Return the fields of a condition that must agree in a pair, from the values that each side has.

    A field that has one value on each side, and another one, is what is being compared. Raises ValueError if both sides
    have nothing in common in a field of which one has several values.
    """
    fields = []
    for name in CONDITION:
        a, b = levels_a[name], levels_b[name]
        if a & b:
            fields.append(name)
        elif len(a) > 1 or len(b) > 1:
            told = [", ".join(sorted(map(str, one))) for one in (a, b)]
            raise ValueError(
                f"nothing tells what pairs with what: {name} is {told[0]} on one side, {told[1]} on the other"
            )
    return tuple(fields)


def compare_answers(rows_a: Iterable[Row], rows_b: Iterable[Row], on: Sequence[str]) -> Changes:
    """Pair rows by task, epoch and the fields ``on``, and say what changed.

    Questions pair whatever template and scorer they were asked with; other tasks only within one definition and seed.
    Raises ValueError if two rows of one side would pair with the same.
    """
    seen: dict[Place, _Seen] = {}
    for row in rows_a:
        place = _place(row, on)
        if place in seen:
            raise ValueError(_twice(row))
        seen[place] = _noted(row)
    return _Pairing(seen, on).changes(rows_b)


class _Pairing:
    def __init__(self, seen: dict[Place, _Seen], on: Sequence[str]) -> None:
        self._seen = seen
        self._on = on
        self._tasks: dict[str, _Task] = {}
        self._counts: Counter[str] = Counter()
        self._changed: list[Change] = []

    def changes(self, rows_b: Iterable[Row]) -> Changes:
        for row in rows_b:
            self._take(row)
        tasks = self._tasks.values()
        differences = {name: task.differences for name, task in self._tasks.items()}
        pairs = sum(len(task.differences) for task in tasks)
        right_a, right_b = sum(task.right_a for task in tasks), sum(task.right_b for task in tasks)
        ahead_a, ahead_b = (sum(sign * sum(task.differences) > 0 for task in tasks) for sign in (-1, 1))
        lonely = sum(one.status == SCORED and not one.paired for one in self._seen.values())
        return Changes(
            pairs=pairs,
            tasks=len(tasks),
            unscored=self._counts["unscored"],
            only_a=lonely,
            only_b=self._counts["only_b"],
            relabelled=self._counts["relabelled"],
            counts={kind: self._counts[kind] for kind in KINDS},
            changed=sorted(self._changed, key=_order),
            rate_a=right_a / pairs if pairs else None,
            rate_b=right_b / pairs if pairs else None,
            interval_a=clustered_rate_interval((task.right_a, len(task.differences)) for task in tasks),
            interval_b=clustered_rate_interval((task.right_b, len(task.differences)) for task in tasks),
            difference=(right_b - right_a) / pairs if pairs else None,
            interval=difference_interval(differences),
            ahead_a=ahead_a,
            ahead_b=ahead_b,
            p=mcnemar(ahead_a, ahead_b),
        )

    def _take(self, row: Row) -> None:
        a, b = self._seen.get(_place(row, self._on)), _noted(row)
        if a is None:
            self._counts["only_b"] += b.status == SCORED
            return
        if a.paired:
            raise ValueError(_twice(row))
        a.paired = True
        if not a.status == b.status == SCORED:
            self._counts["unscored"] += 1
            return
        task = self._tasks.setdefault(row["task_id"], _Task())
        task.differences.append(float(b.right - a.right))
        task.right_a += a.right
        task.right_b += b.right
        self._counts["relabelled"] += a.target != b.target
        self._note(row, a, b)

    def _note(self, row: Row, a: _Seen, b: _Seen) -> None:
        if a.right == b.right and a.answer == b.answer:
            return
        kind = OTHER if a.right == b.right else GAINED if b.right else LOST
        self._counts[kind] += 1
        told = [name for name in self._on if name in ("model", "difficulty") or row["prompt_type"] != QUESTION]
        condition = ", ".join(str(row[name]) for name in told if row[name] not in (None, ""))
        target = b.target if a.target == b.target else f"{a.target} → {b.target}"
        self._changed.append(
            Change(
                kind=kind,
                task_id=row["task_id"],
                epoch=row["epoch"],
                condition=condition,
                target=target,
                a=a.shown,
                b=b.shown,
            )
        )


def _order(one: Change) -> tuple[int, str, str, int]:
    return KINDS.index(one.kind), one.task_id, one.condition, one.epoch


def _place(row: Row, on: Sequence[str]) -> Place:
    asked = () if row["prompt_type"] == QUESTION else (row["definition"], row["seed"])
    return (row["task_id"], row["epoch"], *asked, *(row[name] for name in on))


def _noted(row: Row) -> _Seen:
    right = row["outcome"] == FULL
    if row["prompt_type"] != QUESTION:
        outcome = row["outcome"] or ""
        return _Seen(row["status"], right, outcome, outcome, "")
    shown = row["answer"] or row["error_category"] or ""
    return _Seen(row["status"], right, answer_of(row), shown, row["target"] or "")


def _twice(row: Row) -> str:
    return (
        f"one side has two rows of {row['task_id']}, epoch {row['epoch']}, model {row['model']}, asked with different"
        " settings; name the run instead of a store"
    )
