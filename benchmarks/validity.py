"""The numbers of docs/validity.md, measured: ``python benchmarks/validity.py [NAME …]``, all without a name.

Everything runs in this process against simulated models of known skill; no network, nothing stored.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

from simulator.brain import Brain
from simulator.models import SimulatedModel, Skill
from simulator.odds import Odds
from simulator.played import chat_of
from trials.accounting import wilson
from trials.words import FULL, Cell, Marked
from workflows.dialects import DIALECTS
from workflows.flaws import FLAWS, SEVERITIES, damage
from workflows.plans import optimal_plan, write_plan
from workflows.prompts import opening, read_plan
from workflows.reliability import chance, luck
from workflows.tasks import TASK_TYPES, builtin_library
from workflows.workload import WorkflowWorkload

ROOT = Path(__file__).resolve().parent.parent
SEEDS = 200
PER_TYPE = 8
RATE = 0.8
NINE = {
    f"right {right}, follow {follow}": Skill(
        p_right=right, p_follow=follow, p_recover=0.5 + right / 2.5, p_arguments=0.97
    )
    for right, follow in product((0.6, 0.8, 0.95), (0.3, 0.7, 0.95))
}
OBEDIENT = Skill(p_right=1.0, p_follow=1.0, p_recover=1.0, p_arguments=1.0)
KNOWING = Skill(p_right=1.0, p_follow=0.0, p_recover=1.0, p_arguments=1.0)


def cell(task_type: str, prompt_type: str = "optimal", *, seed: int = 42, severity: str = "severe") -> Cell:
    """Return a cell of the built-in benchmark."""
    return Cell(
        model="m",
        prompt_type=prompt_type,
        tool_success_rate=RATE,
        difficulty="easy",
        task_type=task_type,
        severity=severity if prompt_type.startswith("flawed") else "",
        seed=seed,
    )


@cache
def workload(control: bool = False) -> WorkflowWorkload:
    """Return the built-in benchmark; with ``control`` only tasks that can carry every flaw."""
    return WorkflowWorkload(control_for=FLAWS if control else ())


def play(where: Cell, instance: int, skill: Skill, dialect: str = "tag", *, control: bool = False) -> Marked:
    """Run one trial against a simulated model."""
    source = workload(control)
    trial = source.nth(where, instance, instance)
    return source.run(trial, chat_of(trial, SimulatedModel(skill=skill, dialect=dialect)))


def dialects() -> list[str]:
    """One skill, every dialect: are all marks the same, row for row?"""
    skill = Skill(p_right=0.85, p_follow=0.8, p_recover=0.8, p_arguments=0.93)
    lines = []
    reference = None
    for name in DIALECTS:
        marks = [
            marks_of(play(cell(task_type), instance, skill, name)) for task_type in TASK_TYPES for instance in range(20)
        ]
        reference = reference or marks
        full = sum(one[0] == FULL for one in marks)
        lines.append(f"| {name} | {full}/{len(marks)} | {sum(a != b for a, b in zip(marks, reference, strict=True))} |")
    return ["| dialect | full | rows that differ from the first |", "|---|---|---|", *lines]


def marks_of(marked: Marked) -> tuple[object, ...]:
    """Return every score of a trial."""
    return (
        marked.outcome,
        marked.coverage,
        marked.order,
        marked.execution,
        marked.recovery,
        marked.efficiency,
        marked.error_category,
        marked.turns,
    )


def ground_truth() -> list[str]:
    """Nine models of known skill: how often does the 95 % interval hold the enumerated rate of the tasks drawn?"""
    lines = [
        "| skill | mean true rate | mean measured | seeds whose 95 % interval holds the truth |",
        "|---|---|---|---|",
    ]
    for name, skill in NINE.items():
        truths: dict[str, float] = {}
        held, measured, true_sum = 0, 0.0, 0.0
        for seed in range(SEEDS):
            full, truth, count = 0, 0.0, 0
            for task_type, instance in product(TASK_TYPES, range(PER_TYPE)):
                where = cell(task_type, seed=seed)
                trial = workload().nth(where, instance, instance)
                truths[trial.task_id] = truths.get(trial.task_id) or truth_of(trial.task_id, where, skill)
                truth += truths[trial.task_id]
                full += play(where, instance, skill).outcome == FULL
                count += 1
            low, high = wilson(full, count)
            held += low <= truth / count <= high
            measured += full / count
            true_sum += truth / count
        lines.append(f"| {name} | {true_sum / SEEDS:.4f} | {measured / SEEDS:.4f} | {held / SEEDS:.1%} |")
    return lines


def truth_of(task_id: str, where: Cell, skill: Skill) -> float:
    """Return the enumerated probability that a model completes a task."""
    task = builtin_library().get(task_id)
    brain = Brain(task=task, plan=read_plan(opening(task, where)), skill=skill)
    return Odds(brain, where.tool_success_rate).full(where.max_turns)


def tool_luck() -> list[str]:
    """100,000 calls at each nominal rate."""
    tasks = list(builtin_library())
    draws = [
        luck(seed, task.task_id, 0, tool, 0) for seed in range(40) for task in tasks for tool in task.required_tools
    ][:100_000]
    lines = ["| nominal | calls | succeeded |", "|---|---|---|"]
    for rate in (0.0, 0.6, 0.7, 0.8, 0.9, 1.0):
        succeeded = sum(draw < chance(rate, True) for draw in draws)
        lines.append(f"| {rate} | {len(draws):,} | {succeeded / len(draws):.4%} |")
    return lines


def flaws() -> list[str]:
    """Every flaw on every eligible task: does the model read something else, and is the label true?"""
    lines = ["| flaw | severity | eligible of 1,000 | placebos | mislabelled |", "|---|---|---|---|---|"]
    for flaw, severity in product(FLAWS, SEVERITIES):
        eligible = placebos = mislabelled = 0
        for task in builtin_library():
            plan = optimal_plan(task, RATE, 10)
            damaged = damage(task, plan, flaw, severity)
            if damaged is None:
                continue
            eligible += 1
            placebos += write_plan(damaged) == write_plan(plan)
            asked = opening(task, cell(task.task_type, f"flawed_{flaw}", severity=severity))
            mislabelled += write_plan(damaged) not in str(asked[-1]["content"])
        lines.append(f"| {flaw} | {severity} | {eligible} | {placebos} | {mislabelled} |")
    return lines


def followers() -> list[str]:
    """A model that always follows the plan, and one that never does, on the very same tasks under every prompt."""
    lines = [
        "| prompt | obedient: full | obedient: efficiency | knowing: full | knowing: efficiency |",
        "|---|---|---|---|---|",
    ]
    for prompt in ("optimal", *(f"flawed_{flaw}" for flaw in FLAWS)):
        figures = []
        for skill in (OBEDIENT, KNOWING):
            marked = [
                play(cell(task_type, prompt), instance, skill, control=True)
                for task_type in TASK_TYPES
                for instance in range(min(40, workload(True).eligible(cell(task_type, prompt))[0]))
            ]
            full = sum(one.outcome == FULL for one in marked)
            figures += [f"{full}/{len(marked)}", f"{sum(one.efficiency for one in marked) / len(marked):.3f}"]
        lines.append(f"| {prompt} | {' | '.join(figures)} |")
    return lines


def parser(count: int = 1_000_000) -> list[str]:
    """Fuzz the parser."""
    sys.path.insert(0, str(ROOT / "tests" / "workflows"))
    from fuzz import fuzz

    found = fuzz(count)  # raises whatever the parser raises
    return [f"{count:,} fuzzed replies, 0 exceptions, {found:,} requests found in them"]


PARTS: dict[str, Callable[[], list[str]]] = {
    "dialects": dialects,
    "ground_truth": ground_truth,
    "tool_luck": tool_luck,
    "flaws": flaws,
    "followers": followers,
    "parser": parser,
}


def main() -> None:
    """Print the parts that were asked for."""
    wanted = sys.argv[1:] or list(PARTS)
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        sys.exit(f"error: unknown part {unknown[0]!r}; valid: {', '.join(PARTS)}")
    for name in wanted:
        began = time.perf_counter()
        lines = PARTS[name]()
        print(f"## {name} ({(PARTS[name].__doc__ or '').strip()})\n")
        print("\n".join(lines), f"\n\n[{time.perf_counter() - began:.0f} s]\n", flush=True)


if __name__ == "__main__":
    main()
