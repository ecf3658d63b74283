from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

from workflows.reliability import payload
from workflows.tasks import DIFFICULTIES, TASK_TYPES, Reference, Task, builtin_library
from workflows.tools import builtin_tools, check_arguments

LENGTHS = {
    "simple_task": {1, 2, 3},
    "basic_task": {1, 2, 3},
    "data_pipeline": {2, 3, 4, 5},
    "api_integration": {2, 3, 4},
    "multi_stage_pipeline": {3, 4, 5, 6, 7},
}


def all_outputs(task: Task) -> dict[int, dict[str, object]]:
    outputs: dict[int, dict[str, object]] = {}
    for index, step in enumerate(task.steps):
        arguments = task.arguments_for(index, outputs)
        outputs[index] = payload(builtin_tools()[step.tool], arguments, 42, task.task_id, 0)
    return outputs


def test_there_are_a_thousand_tasks_with_over_four_hundred_tool_sequences() -> None:
    assert len(builtin_library()) == 1000
    assert len({task.required_tools for task in builtin_library()}) >= 400
    for task_type in TASK_TYPES:
        tasks = builtin_library().of_type(task_type)
        assert len(tasks) == 200
        assert {len(task.steps) for task in tasks} == LENGTHS[task_type]


def test_every_tool_is_required_by_some_task() -> None:
    assert {tool for task in builtin_library() for tool in task.required_tools} == set(builtin_tools())


def test_no_task_needs_a_tool_twice_or_a_later_step_first() -> None:
    for task in builtin_library():
        assert len(set(task.required_tools)) == len(task.steps)
        for index, needs in enumerate(task.needs):
            assert all(need < index for need in needs)


def test_right_arguments_fit_their_tools_and_carry_results_forward() -> None:
    carrying = 0
    for task in builtin_library():
        outputs = all_outputs(task)
        for index, step in enumerate(task.steps):
            arguments = task.arguments_for(index, outputs)
            assert check_arguments(builtin_tools()[step.tool], arguments) == ""
            for name, value in step.arguments.items():
                if isinstance(value, Reference):
                    carrying += 1
                    assert arguments[name] == outputs[value.step][value.field]
                    assert value.step in task.data_needs[index]
    assert carrying > 1000


def test_every_stated_value_stands_in_the_inputs() -> None:
    for task in builtin_library():
        for step in task.steps:
            for name, value in step.arguments.items():
                parameter = builtin_tools()[step.tool].parameter(name)
                assert parameter is not None
                if not isinstance(value, Reference) and not parameter.free:
                    assert value in task.inputs.values()


def test_missing_results_are_written_as_what_they_are_of() -> None:
    task = next(task for task in builtin_library() if len(task.steps) > 1 and task.data_needs[1])
    name = next(name for name, value in task.steps[1].arguments.items() if isinstance(value, Reference))
    assert task.arguments_for(1, {})[name] == task.steps[1].arguments[name].text


def test_difficulty_changes_words_and_distractors_and_never_the_work() -> None:
    for task in builtin_library():
        shown = [set(task.visible_tools(difficulty)) for difficulty in DIFFICULTIES]
        for fewer, more in pairwise(shown):
            assert set(task.required_tools) < fewer <= more
        assert len(shown[0]) < len(shown[2]) < len(shown[4])
        assert len({task.description(difficulty) for difficulty in DIFFICULTIES}) == len(DIFFICULTIES)


def test_a_task_is_found_by_its_description_at_any_difficulty() -> None:
    library = builtin_library()
    for task in library:
        for difficulty in DIFFICULTIES:
            assert library.find_in(f"Some words. {task.description(difficulty)} More words.") is task
    assert library.find_in("Nothing about any order, not even ZZ-001.") is None


def test_order_draws_each_task_once_and_depends_on_the_seed_alone() -> None:
    library = builtin_library()
    for task_type in TASK_TYPES:
        order = library.order(task_type, 42)
        assert sorted(task.task_id for task in order) == sorted(task.task_id for task in library.of_type(task_type))
        assert library.order(task_type, 42) == order != library.order(task_type, 43)


def test_lookalikes_are_visible_distractors_of_their_own() -> None:
    for task in builtin_library():
        alike = [task.lookalike(index) for index in range(len(task.steps))]
        assert len(set(alike)) == len(alike)
        assert set(alike) <= set(task.distractors("very_easy"))
        assert not set(alike) & set(task.required_tools)


def test_the_library_is_the_same_in_every_process() -> None:
    program = (
        "from trials.digest import digest; from workflows.tasks import builtin_library; "
        "print(digest([task.to_json() for task in builtin_library()]))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
