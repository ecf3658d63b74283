from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Mind, knowing, make_cell, obeying

from trials.errors import UsageError
from trials.words import FULL, Chat, Completion, Message
from workflows.dialects import write_call
from workflows.documents import MOST_BYTES, nearest
from workflows.flaws import FLAWS, damage
from workflows.plans import optimal_plan, read_steps, write_plan
from workflows.prompts import PROMPT_TYPES
from workflows.task_files import (
    RENAMED_TYPES,
    LoadedTasks,
    LoadedTools,
    export_tasks,
    library_of,
    load_tasks,
    load_tools,
    tools_of,
)
from workflows.tasks import DIFFICULTIES, TASK_TYPES, Reference, Task, TaskLibrary, builtin_library
from workflows.tools import Tool, builtin_tools
from workflows.workload import WorkflowWorkload

DATA = Path(__file__).resolve().parent.parent / "data"
SAMPLES = ("workflowbench_tasks", "pilotbench_tasks", "mixed_tasks", "own_tool_tasks")

PLAIN: Mapping[str, Any] = {
    "id": "a",
    "task_type": "simple_task",
    "description": "Read it.",
    "inputs": {"path": "/a"},
    "expected_outputs": {"content": "text"},
    "required_tools": ["file_operations_reader"],
}
PING: Mapping[str, Any] = {
    "name": "own_ping",
    "description": "Ping.",
    "parameters": [{"name": "host", "type": "string"}],
    "returns": [],
}


def own_tools() -> Mapping[str, Tool]:
    return tools_of(load_tools((DATA / "own_tools.json").read_bytes(), "own_tools.json"))


def all_tools() -> Mapping[str, Tool]:
    return {**builtin_tools(), **own_tools()}


def sample(name: str) -> LoadedTasks:
    return load_tasks((DATA / f"{name}.json").read_bytes(), f"{name}.json", all_tools())


def loaded(*tasks: object, tools: Mapping[str, Tool] | None = None) -> LoadedTasks:
    return load_tasks(json.dumps(list(tasks)).encode(), "own.json", tools or builtin_tools())


def loaded_tools(*tools: object) -> LoadedTools:
    return load_tools(json.dumps(list(tools)).encode(), "tools.json")


def only(result: LoadedTasks | LoadedTools) -> str:
    assert len(result.problems) == 1, [one.text for one in result.problems]
    return result.problems[0].text


def task(**changes: object) -> dict[str, object]:
    return {name: value for name, value in {**PLAIN, **changes}.items() if value is not ...}


def chat_with(library: TaskLibrary, mind: Mind) -> Chat:
    def chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> Completion:
        found = library.find_in(str(messages[1]["content"]))
        assert found is not None
        decision = mind(found, messages) or ("finish", {"summary": "done"})
        dialect = "openai_tool_calls" if tools else "tag"
        said = write_call(dialect, *decision, f"id_{len(messages)}")
        return Completion(text=said.text, tool_calls=said.tool_calls)

    return chat


def run_all(library: TaskLibrary, mind: Mind, **changes: Any) -> list[str]:
    """Run every task under a condition through the whole benchmark; return the outcomes."""
    workload = WorkflowWorkload(library)
    outcomes = []
    for task_type in TASK_TYPES:
        cell = make_cell(task_type=task_type, tool_success_rate=1.0, **changes)
        for instance in range(workload.eligible(cell)[0]):
            trial = workload.nth(cell, instance, instance)
            outcomes.append(workload.run(trial, chat_with(library, mind)).outcome)
    return outcomes


def same_task(one: Task, other: Task) -> bool:
    return (
        one.to_json() == other.to_json()
        and one.steps == other.steps
        and one.data_needs == other.data_needs
        and one.order_needs == other.order_needs
        and one.text == other.text
        and all(one.description(difficulty) == other.description(difficulty) for difficulty in DIFFICULTIES)
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_every_spelling_loads_without_a_problem(name: str) -> None:
    result = sample(name)
    assert result.problems == ()
    assert len(library_of(result)) == len(result.tasks) > 1


def test_renamed_task_types_become_ours_and_are_remembered() -> None:
    tasks = sample("pilotbench_tasks").tasks
    assert tuple(one.task_type for one in tasks) == TASK_TYPES
    assert tuple(one.metadata["original_task_type"] for one in tasks) == tuple(RENAMED_TYPES)


def test_both_spellings_mean_the_same() -> None:
    renamed = {"instance_id": "a", "test_input": PLAIN["inputs"], "expected_output": PLAIN["expected_outputs"]}
    other = task(id=..., inputs=..., expected_outputs=..., **renamed)
    assert same_task(loaded(PLAIN).tasks[0], loaded(other).tasks[0])


@pytest.mark.parametrize(
    "document",
    [
        [PLAIN, task(id="b")],
        {"tasks": [PLAIN, task(id="b")]},
        {"instances": {"a": PLAIN, "b": task(id=...)}, "version": 3},
        {"a": task(id=...), "b": task(id="b")},
    ],
)
def test_lists_and_objects_and_wrapped_ones_load_alike(document: object) -> None:
    result = load_tasks(json.dumps(document, indent=1).encode(), "own.json", builtin_tools())
    assert [one.task_id for one in result.tasks] == ["a", "b"]
    assert result.problems == ()


def test_json_lines_load_and_problems_name_the_line() -> None:
    lines = [json.dumps(PLAIN), "", json.dumps(task(id="b")), "{oops", json.dumps(task(id="a"))]
    result = load_tasks("\ufeff".encode() + "\r\n".join(lines).encode(), "own.jsonl", builtin_tools())
    assert [one.task_id for one in result.tasks] == ["a", "b"]
    first, second = result.problems
    assert first.place == "line 4"
    assert "not JSON" in first.reason
    assert second.text == "line 5: id: 'a' is also the id of line 1"


def test_a_lone_task_loads() -> None:
    assert len(load_tasks(json.dumps(PLAIN).encode(), "one.json", builtin_tools()).tasks) == 1


def test_builtin_tasks_come_back_identical_from_an_export() -> None:
    library = builtin_library()
    result = load_tasks(export_tasks(library, [one.task_id for one in library]), "export.json", builtin_tools())
    assert result.problems == ()
    assert len(result.tasks) == len(library)
    for one, other in zip(library, result.tasks, strict=True):
        assert same_task(one, other), one.task_id
    assert WorkflowWorkload(library_of(result)).definition == WorkflowWorkload(library).definition


@pytest.mark.parametrize("name", SAMPLES)
def test_own_tasks_come_back_identical_from_an_export(name: str) -> None:
    library = library_of(sample(name))
    ids = [one.task_id for one in library]
    again = load_tasks(export_tasks(library, ids), "export.json", all_tools())
    assert again.problems == ()
    assert all(same_task(one, other) for one, other in zip(library, again.tasks, strict=True))


def test_exporting_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="'data_pipeline-007'"):
        export_tasks(builtin_library(), ["data_pipelin-007"])


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("protocol", ["tags", "native"])
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_a_perfect_model_fully_succeeds_at_loaded_tasks(name: str, protocol: str, difficulty: str) -> None:
    library = library_of(sample(name))
    for prompt_type in ("baseline", "cot", "optimal"):
        cell = {"prompt_type": prompt_type, "tool_protocol": protocol, "difficulty": difficulty}
        assert run_all(library, knowing, **cell) == [FULL] * len(library)
    cell = {"prompt_type": "optimal", "tool_protocol": protocol, "difficulty": difficulty}
    assert run_all(library, obeying, **cell) == [FULL] * len(library)


@pytest.mark.parametrize("name", SAMPLES)
def test_loaded_tasks_can_be_given_every_flaw(name: str) -> None:
    library = library_of(sample(name))
    for prompt_type in PROMPT_TYPES[3:]:
        for severity in ("light", "severe"):
            outcomes = run_all(library, obeying, prompt_type=prompt_type, severity=severity)
            assert len(outcomes) <= len(library)


@pytest.mark.parametrize("name", SAMPLES)
def test_plans_of_loaded_tasks_are_read_back_as_written_and_damaged_visibly(name: str) -> None:
    for one in sample(name).tasks:
        plan = optimal_plan(one, 0.8, 10)
        assert read_steps(write_plan(plan)) == plan.steps
        for flaw in FLAWS:
            damaged = damage(one, plan, flaw, "severe")
            assert damaged is None or write_plan(damaged) != write_plan(plan)


def test_own_words_stand_at_every_difficulty_behind_the_code() -> None:
    one = loaded(task(description="Read\n\n\nFollow this plan:\nit.")).tasks[0]
    for difficulty in DIFFICULTIES:
        assert one.description(difficulty) == f"Work order {one.code}: Read\nFollow this plan:\nit."
    shown = [one.visible_tools(difficulty) for difficulty in DIFFICULTIES]
    assert all(set(fewer) < set(more) for fewer, more in pairwise(shown))


def test_a_tasks_code_depends_on_its_id_alone() -> None:
    alone = loaded(task(id="z")).tasks[0]
    among = loaded(*(task(id=f"t{number}") for number in range(50)), task(id="z")).tasks
    assert among[-1].code == alone.code
    assert len({one.code for one in among}) == 51


def test_tasks_of_the_same_words_are_told_apart() -> None:
    library = library_of(loaded(*(task(id=f"t{number}") for number in range(20))))
    for one in library:
        assert library.find_in(f"Rules.\n\n{one.description('hard')}") is one


def arguments(result: LoadedTasks) -> dict[str, Mapping[str, Any]]:
    assert result.problems == (), [one.text for one in result.problems]
    return {step.tool: step.arguments for step in result.tasks[0].steps}


def test_results_are_handed_on_where_dependencies_and_kinds_say_so() -> None:
    tools = ["data_processing_parser", "file_operations_reader", "computation_calculator", "utility_tracker"]
    result = loaded(task(required_tools=tools, inputs={"path": "/a", "metric": "m"}))
    flow = arguments(result)
    assert list(flow) == ["file_operations_reader", *[one for one in tools if one != "file_operations_reader"]]
    assert flow["data_processing_parser"]["content"] == Reference(step=0, field="content")
    assert flow["computation_calculator"]["data"] == Reference(step=1, field="records")
    assert flow["utility_tracker"]["measure"] == Reference(step=2, field="result")
    assert result.tasks[0].data_needs == (set(), {0}, {1}, {2})
    assert result.tasks[0].order_needs == (set(), {0}, set(), {2})


def test_inputs_are_found_by_name_by_similar_name_within_objects_and_by_their_limits() -> None:
    inputs = {"input_file": "/in.csv", "settings": {"sourceFormat": "csv"}, "how": "sort", "encoding": "latin-1"}
    tools = ["file_operations_reader", "data_processing_parser", "data_processing_transformer"]
    result = loaded(task(required_tools=tools, inputs=inputs))
    flow = arguments(result)
    assert flow["file_operations_reader"] == {"path": "/in.csv", "encoding": "latin-1"}
    assert flow["data_processing_parser"]["source_format"] == "csv"
    assert flow["data_processing_transformer"]["transformation"] == "sort"
    assert result.tasks[0].inputs == inputs


def test_an_input_about_something_else_is_not_taken_for_its_type() -> None:
    inputs = {"path": "/in.csv", "output_format": "json"}
    tools = ["file_operations_reader", "data_processing_parser", "file_operations_writer"]
    flow = arguments(loaded(task(required_tools=tools, inputs=inputs)))
    assert flow["file_operations_writer"]["destination"] != "/in.csv"
    assert flow["file_operations_writer"]["output_format"] == "json"


@pytest.mark.parametrize("name", SAMPLES)
def test_what_no_input_says_is_made_up_and_stated(name: str) -> None:
    document = json.loads((DATA / f"{name}.json").read_text())
    for one in sample(name).tasks:
        added = set(one.metadata.get("added_inputs", ()))
        assert added <= set(one.inputs)
        stated = json.dumps(dict(one.inputs), ensure_ascii=False)
        for step in one.steps:
            for parameter in one.toolset[step.tool].parameters:
                value = step.arguments.get(parameter.name)
                if value is None or isinstance(value, Reference) or parameter.free:
                    continue
                assert json.dumps(value, ensure_ascii=False).strip('"') in stated
    assert document


def test_an_input_of_the_wrong_form_is_left_alone_and_another_one_stated() -> None:
    result = loaded(task(inputs={"path": "not absolute"}))
    assert result.tasks[0].inputs["path"] == "not absolute"
    name = result.tasks[0].metadata["added_inputs"][0]
    assert name == "file_operations_reader.path"
    assert arguments(result)["file_operations_reader"]["path"] == result.tasks[0].inputs[name]


def test_metadata_of_any_form_is_kept_or_written_over() -> None:
    result = loaded(task(inputs={}, metadata={"added_inputs": None, "code": 7, "subject": [], "x": 1}))
    assert result.tasks[0].metadata == {"added_inputs": ["path"], "x": 1}


def test_an_input_that_reads_like_a_reference_is_not_taken_for_one() -> None:
    result = loaded(task(required_tools=["network_router"], inputs={"service": "<url of step 1>"}))
    assert arguments(result)["network_router"]["service"] != "<url of step 1>"


def test_own_tools_are_linked_by_name_type_and_dependency() -> None:
    flow = {step.tool: step.arguments for step in sample("own_tool_tasks").tasks[0].steps}
    assert list(flow) == ["library_catalogue", "library_reserve", "library_charge", "library_tell"]
    assert flow["library_reserve"]["book"] == Reference(step=0, field="book")
    assert flow["library_charge"]["what"] == Reference(step=1, field="reservation")
    assert flow["library_charge"]["fee"] == Reference(step=0, field="fee")
    assert flow["library_tell"]["channels"] == ["post", "mail"]


def test_own_tools_alone_make_a_benchmark() -> None:
    result = load_tasks(json.dumps([task(required_tools=["library_catalogue"])]).encode(), "own.json", own_tools())
    assert run_all(library_of(result), knowing) == [FULL]


def test_a_registry_in_the_builtin_tools_own_words_loads() -> None:
    document = json.dumps([one.to_json() for one in builtin_tools().values()]).encode()
    result = load_tools(document, "tools.json")
    assert result.problems == ()
    assert list(result.tools) == list(builtin_tools())
    tasks = load_tasks((DATA / "pilotbench_tasks.json").read_bytes(), "p.json", result.tools)
    assert run_all(library_of(tasks), knowing) == [FULL] * 5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id": ...}, "index 0: instance_id: is missing (also spelt id) (also spelt task_id)"),
        ({"id": ""}, "index 0: id: is empty"),
        ({"id": ["a"]}, "index 0: id: must be a text, not a list"),
        ({"id": "a\nb"}, "index 0: id: 'a\\nb' is no valid id"),
        ({"id": "a\x1bb"}, "index 0: id: holds a control character"),
        ({"id": "x" * 200}, "is no valid id: at most 120"),
        ({"task_type": ...}, "index 0: task_type: is missing"),
        ({"task_type": "simpel_task"}, "unknown type 'simpel_task'; the nearest valid name is 'simple_task'"),
        ({"task_type": 3}, "index 0: task_type: must be a text, not a number"),
        ({"description": None}, "index 0: description: is missing"),
        ({"description": " "}, "index 0: description: is empty"),
        ({"description": "\ud800"}, "index 0: description: holds a control character or half a character"),
        ({"inputs": ...}, "index 0: inputs: is missing (also spelt test_input)"),
        ({"inputs": [1]}, "index 0: inputs: must be an object, not a list"),
        ({"inputs": {"a": [{"b": float("nan")}]}}, "index 0: inputs.a[0].b: is not a number that JSON knows"),
        ({"inputs": {"a": float("-inf")}}, "index 0: inputs.a: is not a number that JSON knows"),
        ({"inputs": {"a": 2**70}}, "index 0: inputs.a: is a number beyond 64 bits"),
        ({"inputs": {"a": 10**4000}}, "index 0: inputs.a: is not a number that JSON knows, or is too large"),
        ({"inputs": {"a": "x" * 100_001}}, "index 0: has more than 100,000 characters"),
        ({"test_input": {}}, "index 0: inputs: says something else than test_input, which means the same"),
        ({"expected_outputs": "text"}, "index 0: expected_outputs: must be an object, not a text"),
        ({"required_tools": ...}, "index 0: required_tools: is missing"),
        ({"required_tools": []}, "index 0: required_tools: is empty"),
        ({"required_tools": "x"}, "index 0: required_tools: must be a list, not a text"),
        ({"required_tools": [7]}, "index 0: required_tools[0]: must be a text, not a number"),
        (
            {"required_tools": ["file_operation_reader"]},
            "index 0: required_tools[0]: unknown tool 'file_operation_reader'; "
            "the nearest valid name is 'file_operations_reader'",
        ),
        (
            {"required_tools": ["network_router", "network_router"]},
            "index 0: required_tools[1]: 'network_router' is needed twice",
        ),
        ({"required_tools": list(builtin_tools())}, "are 30 tools; at most 10 fit into a trial"),
        ({"constraints": {"timeout": "long"}}, "index 0: constraints.timeout: must be a number, not a text"),
        ({"constraints": {"max_retries": -1}}, "index 0: constraints.max_retries: is too small"),
        ({"constraints": []}, "index 0: constraints: must be an object, not a list"),
        ({"complexity": []}, "index 0: complexity: must be a text, not a list"),
        ({"metadata": "x"}, "index 0: metadata: must be an object, not a text"),
        ({"workflow": 3}, "index 0: workflow: must be a list of steps, not a number"),
        ({"workflow": ["network_router"]}, "index 0: workflow: does not call each of the required_tools once"),
        ({"workflow": ["file_operations_reader", 5]}, "index 0: workflow: does not call each of the required_tools"),
    ],
)
def test_a_bad_task_is_told_by_index_and_field(changes: dict[str, object], told: str) -> None:
    result = loaded(task(**changes))
    assert result.tasks == ()
    assert told in only(result)
    assert result.problems[0].source == "own.json"


def step(tool: str = "file_operations_reader", **changes: object) -> dict[str, object]:
    return {"tool": tool, "arguments": {"path": "/a"}, **changes}


def parse(**arguments: object) -> dict[str, object]:
    return {"tool": "data_processing_parser", "arguments": {"source_format": "csv", **arguments}}


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([step(arguments={})], "workflow[0].arguments: hold nothing that decides"),
        ([step(arguments=7)], "workflow[0].arguments: must be an object, not a number"),
        ([step(arguments={"paht": "/a"})], "unknown parameter 'paht'; the nearest valid name is 'path'"),
        ([step(arguments={"path": "a"})], "workflow[0].arguments.path: parameter 'path' must start with /"),
        ([step(arguments={"encoding": "utf-8"})], "would refuse them: missing required parameter 'path'"),
        ([step(after=[0])], "workflow[0].after: '0' is no earlier step"),
        ([step(after=7)], "workflow[0].after: must be a list, not a number"),
        ([step(after=[1]), parse(content="<content of step 1>")], "workflow[0].after: '1' is no earlier step"),
        ([step(), parse(content="<content of step 2>")], "<content of step 2> is no earlier step"),
        ([step(), parse(content="<content of step 0>")], "<content of step 0> is no earlier step"),
        ([step(), parse(content="<contents of step 1>")], "the nearest valid name is 'content'"),
        ([step(), parse(content="<size_bytes of step 1>")], "takes no result such as <size_bytes of step 1>"),
    ],
)
def test_a_bad_workflow_is_told_by_step(steps: list[dict[str, object]], told: str) -> None:
    result = loaded(task(workflow=steps, required_tools=[one["tool"] for one in steps]))
    assert result.tasks == ()
    assert any(told in one.text for one in result.problems), [one.text for one in result.problems]


def test_duplicate_ids_and_codes_are_told_and_the_first_is_kept() -> None:
    marked = {"metadata": {"code": "ZZ-123"}}
    result = loaded(PLAIN, task(**marked, id="b"), task(description="Other."), task(**marked, id="c"))
    assert [one.task_id for one in result.tasks] == ["a", "b"]
    assert [one.text for one in result.problems] == [
        "index 2: id: 'a' is also the id of index 0",
        "index 3: metadata.code: ZZ-123 is also the code of an earlier task",
    ]


def test_a_key_that_is_stated_twice_is_told() -> None:
    one = json.dumps(PLAIN)
    twice = load_tasks(f'{{"a": {one}, "a": {one}}}'.encode(), "own.json", builtin_tools())
    assert len(twice.tasks) == 1
    assert "'a' is also the id of index 0" in only(twice)
    inner = one.replace('"path": "/a"', '"path": "/a", "path": "/b"')
    assert "inputs: states 'path' more than once" in only(load_tasks(inner.encode(), "own.json", builtin_tools()))


def test_a_key_and_an_id_that_differ_are_told() -> None:
    result = load_tasks(json.dumps({"x": PLAIN}).encode(), "own.json", builtin_tools())
    assert "index 0 ('x'): id: 'a' is not the key it stands under" in only(result)


def test_all_that_is_wrong_with_a_task_is_told_at_once() -> None:
    result = loaded(PLAIN, {"id": 7, "task_type": "x", "required_tools": ["y"]})
    assert {one.field for one in result.problems} == {
        "task_type",
        "description",
        "inputs",
        "expected_outputs",
        "required_tools[0]",
    }
    assert {one.place for one in result.problems} == {"index 1"}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (b"", "the document is empty"),
        (b" \n", "the document is empty"),
        (b"[]", "the document holds no tasks"),
        (b"{}", "the document holds no tasks"),
        (b'{"tasks": []}', "the document holds no tasks"),
        (b"7", "the document must be a list or an object of tasks, not a number"),
        (b"[{]", "the document is not JSON: "),
        (b'[{"id": "a"}', "at line 1, column 13"),
        (b'{"tasks": [', "the document is not JSON: "),
        (b"\xff\xfe[\x00]\x00", "the document is not UTF-8: byte 0 cannot be read"),
        (b'["\xe9"]', "the document is not UTF-8: byte 2 cannot be read"),
        (b"[" * 200_000, "the document is nested too deeply"),
        (b'{"a":' * 200_000, "the document is nested too deeply"),
        (b"[7]", "index 0: must be an object, not a number"),
        (b'{"a": []}', "index 0 ('a'): must be an object, not a list"),
        (b'{"\\u001b[31m": {}}', "index 0 ('\\x1b[31m'): its key holds a control character"),
        (b"[" + b'{"a":' * 60 + b"1" + b"}" * 60 + b"]", "is nested more than 32 levels deep"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a pointer of Git LFS"),
    ],
)
def test_a_document_that_cannot_be_used_says_why(document: bytes, told: str) -> None:
    for result in (
        load_tasks(document, "own.json", builtin_tools()),
        load_tools(document.replace(b"tasks", b"tools"), "own.json"),
    ):
        told_here = told if isinstance(result, LoadedTasks) else told.replace("tasks", "tools")
        assert told_here in only(result)
        with pytest.raises(UsageError, match=r"^own\.json: 1 problem: "):
            _use(result, skip_invalid=True)


def _use(result: LoadedTasks | LoadedTools, *, skip_invalid: bool) -> object:
    if isinstance(result, LoadedTasks):
        return library_of(result, skip_invalid=skip_invalid)
    return tools_of(result, skip_invalid=skip_invalid)


def test_a_document_of_200_mb_is_refused_before_it_is_read() -> None:
    document = b" " * 200_000_000
    assert len(document) > MOST_BYTES
    tracemalloc.start()
    result = load_tasks(document, "huge.json", builtin_tools())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert only(result) == "the document is 191 MiB long; at most 64 MiB are read"
    assert peak < 1_000_000


def test_a_document_of_a_million_entries_is_refused() -> None:
    for document in (b"[" + b"1," * 10**6 + b"1]", b'{"id": "a"}\n' * (10**6 + 1)):
        assert "holds 1,000,001 " in only(load_tasks(document, "many.json", builtin_tools()))


def test_invalid_tasks_stop_the_run_unless_they_are_skipped() -> None:
    result = loaded(PLAIN, *(task(id=f"b{number}", task_type="x") for number in range(5)))
    with pytest.raises(UsageError) as stop:
        library_of(result)
    text = str(stop.value)
    assert text.startswith("own.json: 5 problems: index 1: task_type: unknown type 'x'")
    assert "index 3" in text
    assert "index 4" not in text
    assert "and 2 more (--skip-invalid goes on with the 1 valid tasks)" in text
    assert "\n" not in text
    assert len(library_of(result, skip_invalid=True)) == 1


def test_skipping_does_not_help_if_nothing_valid_is_left() -> None:
    with pytest.raises(UsageError, match="no valid tasks left"):
        library_of(loaded(task(id=...)), skip_invalid=True)


def tool(**changes: object) -> dict[str, object]:
    return {name: value for name, value in {**PING, **changes}.items() if value is not ...}


def with_parameter(**changes: object) -> dict[str, object]:
    return tool(parameters=[{"name": "x", "type": "string", **changes}])


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (tool(name=...), "index 0: name: is missing"),
        (tool(name="Ping"), "index 0: name: 'Ping' is no valid name"),
        (tool(name="own ping\n"), "index 0: name: 'own ping\\n' is no valid name"),
        (tool(name="finish"), "index 0: name: 'finish' is a word of the tool protocol"),
        (tool(description=...), "index 0: description: is missing"),
        (tool(parameters=...), "index 0: parameters: is missing"),
        (tool(parameters="x"), "index 0: parameters: must be a list, not a text"),
        (tool(parameters=["x"]), "index 0: parameters[0]: must be an object, not a text"),
        (tool(returns=...), "index 0: returns: is missing"),
        (tool(returns=[{"name": "a"}]), "index 0: returns[0].type: is missing"),
        (tool(returns=[{"name": "a b", "type": "string"}]), "index 0: returns[0].name: 'a b' is no valid name"),
        (tool(errors=7), "index 0: errors: must be a list, not a number"),
        (tool(errors=[{}]), "index 0: errors[0].code: is missing"),
        (tool(dependencies=["network_routr"]), "unknown tool 'network_routr'; the nearest valid name is 'network_"),
        (tool(dependencies=["own_ping"]), "the tool depends on itself: own_ping → own_ping"),
        (tool(dependencies=[{}]), "index 0: dependencies[0]: must be a text, not an object"),
        (tool(metadata=[]), "index 0: metadata: must be an object, not a list"),
        (
            with_parameter(type="strnig"),
            "parameters[0].type: unknown type 'strnig'; the nearest valid name is 'string'",
        ),
        (with_parameter(name="x y"), "parameters[0].name: 'x y' is no valid name"),
        (with_parameter(required="yes"), "parameters[0].required: must be true or false, not a text"),
        (with_parameter(default=[]), "parameters[0].default: parameter 'x' must be of type string"),
        (with_parameter(constraints={"minimum": 1}), "constraints.minimum: does not go with type string"),
        (with_parameter(constraints={"enum": ["a"]}), "constraints.enum: must hold two different values"),
        (with_parameter(constraints={"enum": "ab"}), "constraints.enum: must be a list, not a text"),
        (with_parameter(constraints={"enum": ["a", 1]}), "constraints.enum: holds a number that is not of type"),
        (with_parameter(constraints={"prefix": [1]}), "constraints.prefix: must be a text, or a list of texts"),
        (with_parameter(constraints={"minLength": 1.5}), "constraints.minLength: must be a whole number"),
        (with_parameter(constraints={"min_length": 9, "max_length": 2}), "constraints.min_length: is above max_"),
        (with_parameter(type="int", accepts=["records"]), "accepts: a parameter of type integer cannot take"),
        (tool(parameters=PING["parameters"] * 2), "index 0: parameters: 'host' is there more than once"),
    ],
)
def test_a_bad_tool_is_told_by_index_and_field(document: dict[str, object], told: str) -> None:
    result = loaded_tools(document)
    assert not result.tools
    assert told in only(result)
    with pytest.raises(UsageError, match=r"^tools\.json: 1 problem: index 0"):
        tools_of(result, skip_invalid=True)


def test_cycles_in_dependencies_name_each_tool_on_them_and_no_other() -> None:
    needs = {"a_x": ["b_x"], "b_x": ["c_x"], "c_x": ["a_x"], "d_x": ["a_x"], "e_x": []}
    result = loaded_tools(*(tool(name=name, dependencies=these) for name, these in needs.items()))
    assert set(result.tools) == {"d_x", "e_x"}
    assert [one.text for one in result.problems] == [
        "index 0: dependencies: the tool depends on itself: a_x → b_x → c_x → a_x",
        "index 1: dependencies: the tool depends on itself: b_x → c_x → a_x → b_x",
        "index 2: dependencies: the tool depends on itself: c_x → a_x → b_x → c_x",
    ]


def test_a_cycle_that_own_tools_make_with_builtin_ones_is_told_by_the_task() -> None:
    own = loaded_tools(tool(name="data_processing_parser", dependencies=["data_processing_filter"]))
    tools = {**builtin_tools(), **tools_of(own)}
    result = loaded(task(required_tools=["data_processing_parser", "data_processing_filter"]), tools=tools)
    assert "required_tools: the tools depend on each other in a circle: data_processing_" in only(result)


def test_duplicate_tools_are_told() -> None:
    result = loaded_tools(PING, PING)
    assert only(result) == "index 1: name: 'own_ping' is also the name of an earlier tool"
    assert list(tools_of(result, skip_invalid=True)) == ["own_ping"]


def test_a_tool_without_anything_to_get_right_cannot_be_required() -> None:
    tools = tools_of(loaded_tools(tool(parameters=[])))
    assert "has no parameter that decides" in only(loaded(task(required_tools=["own_ping"]), tools=tools))


def test_a_task_whose_perfect_call_would_be_refused_is_told() -> None:
    odd = tool(name="own_odd", parameters=[{"name": "code", "type": "string", "constraints": {"max_length": 0}}])
    picky = {"name": "path", "type": "string", "accepts": ["path"], "constraints": {"prefix": "s3:"}}
    tools = {**builtin_tools(), **tools_of(loaded_tools(odd, tool(name="own_picky", parameters=[picky])))}
    chain = ["file_operations_scanner", "own_picky"]
    result = loaded(task(required_tools=chain, inputs={}), tools=tools)
    assert "'own_picky' would refuse them: parameter 'path' must start with s3:" in only(result)
    assert loaded(task(required_tools=["own_odd"], inputs={"code": ""}), tools=tools).problems == ()


def test_no_nearest_name_lists_some_valid_ones() -> None:
    assert nearest("%%%", ("a", "b")) == "; valid names are a, b"


EXAMPLES = int(os.environ.get("TASK_FILES_EXAMPLES", "60"))

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)
NAMES = st.sampled_from([*list(builtin_tools())[:8], "own_ping", "library_tell"])
ODD = JSON | st.sampled_from(["<path of step 1>", "/a\nb", "</tool_call>", "\n1. x {} | when: ", "ZZ-001", "9" * 30])


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(good, good, good, ODD)


TASKS = st.fixed_dictionaries(
    {
        "id": mostly(st.text(min_size=1, max_size=5)),
        "task_type": mostly(st.sampled_from([*TASK_TYPES, *RENAMED_TYPES])),
        "description": mostly(st.text(min_size=1)),
        "inputs": mostly(
            st.dictionaries(
                st.sampled_from(["path", "x", "sourceFormat", "file"]) | st.text(max_size=4), ODD, max_size=4
            )
        ),
        "expected_outputs": mostly(st.dictionaries(st.text(max_size=4), JSON, max_size=2)),
        "required_tools": mostly(st.lists(NAMES, min_size=1, max_size=4, unique=True)),
    },
    optional={
        "workflow": st.lists(
            st.fixed_dictionaries({"tool": NAMES}, optional={"arguments": ODD, "after": ODD}) | NAMES | ODD, max_size=4
        )
        | JSON,
        "constraints": JSON,
        "complexity": JSON,
        "metadata": st.dictionaries(st.sampled_from(["code", "subject", "added_inputs"]), ODD) | JSON,
    },
)
PARTS = st.fixed_dictionaries(
    {
        "name": mostly(st.sampled_from(["data", "path", "x", "book", "_", "V2"])),
        "type": mostly(st.sampled_from(["string", "int", "number", "bool", "object", "list"])),
    },
    optional={
        "required": mostly(st.booleans()),
        "default": JSON,
        "constraints": st.dictionaries(
            st.sampled_from(["enum", "minimum", "maximum", "minLength", "max_length", "prefix", "pattern"]),
            st.integers(-5, 5) | st.lists(SCALARS, max_size=3) | JSON,
            max_size=2,
        ),
        "accepts": st.lists(st.sampled_from(["path", "records", "number", "x"]), max_size=2) | JSON,
        "kind": st.sampled_from(["path", "records", "count", "number", "x"]) | JSON,
        "free": st.booleans(),
        "description": JSON,
    },
)
TOOLS = st.fixed_dictionaries(
    {
        "name": mostly(NAMES),
        "description": mostly(st.text(min_size=1)),
        "parameters": mostly(st.lists(PARTS, max_size=3, unique_by=lambda one: str(one["name"]))),
        "returns": mostly(st.lists(PARTS, max_size=3, unique_by=lambda one: str(one["name"]))),
    },
    optional={"errors": JSON, "dependencies": st.lists(NAMES, max_size=2) | JSON, "metadata": JSON},
)


def check_usable(tasks: LoadedTasks) -> None:
    for problem in tasks.problems:
        assert problem.source == "fuzz"
        assert problem.reason
        assert problem.text.isprintable()
    assert tasks.tasks or tasks.problems
    if not tasks.tasks:
        with pytest.raises(UsageError):
            library_of(tasks, skip_invalid=True)
        return
    library = library_of(tasks, skip_invalid=True)
    assert run_all(library, knowing, prompt_type="baseline", tool_protocol="native") == [FULL] * len(library)
    assert run_all(library, obeying, prompt_type="optimal") == [FULL] * len(library)
    for flaw in FLAWS:
        run_all(library, obeying, prompt_type=f"flawed_{flaw}", severity="severe")
    again = load_tasks(export_tasks(library, [one.task_id for one in library]), "fuzz", tasks.tasks[0].toolset)
    assert again.problems == ()
    assert all(same_task(one, other) for one, other in zip(library, again.tasks, strict=True))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_document_whatever_raises(document: bytes) -> None:
    check_usable(load_tasks(document, "fuzz", builtin_tools()))
    result = load_tools(document, "fuzz")
    assert result.tools or result.problems


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(TASKS, max_size=3), st.lists(TOOLS, max_size=3))
def test_nearly_right_documents_load_into_tasks_that_work_or_into_problems(
    tasks: list[object], tools: list[object]
) -> None:
    own = load_tools(json.dumps(tools).encode(), "fuzz")
    assert all(one.text.isprintable() for one in own.problems)
    check_usable(load_tasks(json.dumps(tasks).encode(), "fuzz", {**all_tools(), **own.tools}))
