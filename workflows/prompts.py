"""The messages that a trial begins with.

All prompt types share every word but their own part: ``cot`` adds a request to reason, ``optimal`` and the flawed ones
a plan under one and the same heading. Nothing tells a flawed plan from an optimal one.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from trials.words import Cell, Message
from workflows.flaws import FLAWS, damage
from workflows.plans import Plan, PlanStep, optimal_plan, read_steps, write_plan
from workflows.tasks import Task
from workflows.tools import Parameter, Tool

FLAWED = "flawed_"
PROMPT_TYPES = ("baseline", "cot", "optimal", *(FLAWED + flaw for flaw in FLAWS))
PROMPT_GROUPS: Mapping[str, tuple[str, ...]] = {"all": PROMPT_TYPES[:3], "flawed": PROMPT_TYPES[3:]}

TOOL_SEARCH, TOOL_INFO, FINISH = "tool_search", "tool_info", "finish"
NATIVE = "native"

TEMPLATES: Mapping[str, str] = {
    "rules": (
        "You carry out work orders with tools. You have at most {max_turns} replies. What a tool returns is passed on "
        "to other tools exactly as it was returned. A call may fail by chance; it may then be repeated."
    ),
    "tags": (
        "Ask for what you need with these tags:\n"
        "<tool_search>what the tool should do</tool_search> finds the five best matching tools.\n"
        "<tool_info>tool_name</tool_info> tells a tool's parameters and results.\n"
        '<tool_call>{"name": "tool_name", "arguments": {"parameter": "value"}}</tool_call> calls a tool.\n'
        "<finish>one sentence</finish>, alone in a reply, ends the work.\n"
        "A reply may hold several tags; they are answered in order in the next message."
    ),
    NATIVE: (
        "Call the functions you are given. A reply may hold several calls; they are answered in order. "
        "Call finish, alone in a reply, to end the work."
    ),
    "task": "{description}\n\nInputs:\n{inputs}\n\nGoals:\n{goals}\n\nAvailable tools: {tools}",
    "goal": "- every part of the work order is done with the tool made for it\n- these results exist: {results}",
    "cot": (
        "Before you act, think step by step: which tools the work order needs, what each of them takes, which "
        "results feed which call, and so in which order to call them. Then act, and think again after each result."
    ),
    "plan": "Follow this plan:\n{plan}",
}

_TOOL_SEARCH = "Find the five tools that best match a description."
_TOOL_INFO = "Tell a tool's parameters and results."
_FINISH = "End the work. Call it alone, when everything is done or nothing more can be done."


def opening(task: Task, cell: Cell) -> list[Message]:
    """Return the messages that a trial begins with: the rules, then the task.

    Raises ValueError if the cell's prompt is flawed and the task too short for the flaw.
    """
    rules = TEMPLATES["rules"].format(max_turns=cell.max_turns)
    protocol = TEMPLATES[NATIVE if cell.tool_protocol == NATIVE else "tags"]
    return [
        {"role": "system", "content": f"{rules}\n\n{protocol}"},
        {"role": "user", "content": "\n\n".join((_asked(task, cell.difficulty), *_own_part(task, cell)))},
    ]


def plan_for(task: Task, cell: Cell) -> Plan | None:
    """Return the plan that a cell's prompt shows, or None if it shows none (or the task is too short for the flaw)."""
    if cell.prompt_type in PROMPT_GROUPS["all"][:2]:
        return None
    plan = optimal_plan(task, cell.tool_success_rate, cell.max_turns)
    flaw = flaw_of(cell)
    return damage(task, plan, flaw, cell.severity or "severe") if flaw else plan


def flaw_of(cell: Cell) -> str:
    """Return the flaw of a cell's prompt, or an empty string."""
    return cell.prompt_type.removeprefix(FLAWED) if cell.prompt_type.startswith(FLAWED) else ""


def read_plan(messages: Sequence[Message]) -> tuple[PlanStep, ...]:
    """Read the plan out of a trial's opening; empty if it has none."""
    heading = TEMPLATES["plan"].format(plan="")
    for message in messages:
        if message["role"] == "user":
            _, found, plan = str(message["content"]).partition(f"\n\n{heading}")
            return read_steps(plan) if found else ()
    return ()


def plan_diff(optimal: Plan, damaged: Plan) -> str:
    """Return a unified diff without context from the optimal plan to the damaged one."""
    lines = difflib.unified_diff(write_plan(optimal).splitlines(), write_plan(damaged).splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


def native_tools(task: Task, cell: Cell) -> list[dict[str, Any]] | None:
    """Return the tools in OpenAI's function form for the native protocol, None for tags."""
    return _functions(task, cell.difficulty) if cell.tool_protocol == NATIVE else None


@lru_cache(maxsize=4096)
def _asked(task: Task, difficulty: str) -> str:
    """The part that all prompt types share."""
    results = ", ".join(task.expected_outputs) or "none"
    return TEMPLATES["task"].format(
        description=task.description(difficulty),
        inputs=json.dumps(dict(task.inputs), ensure_ascii=False),
        goals=TEMPLATES["goal"].format(results=results),
        tools=", ".join(task.visible_tools(difficulty)),
    )


def _own_part(task: Task, cell: Cell) -> tuple[str, ...]:
    if cell.prompt_type == "baseline":
        return ()
    if cell.prompt_type == "cot":
        return (TEMPLATES["cot"],)
    plan = plan_for(task, cell)
    if plan is None:
        raise ValueError(f"task {task.task_id} is too short for {cell.prompt_type}")
    return (TEMPLATES["plan"].format(plan=write_plan(plan)),)


@lru_cache(maxsize=2048)
def _functions(task: Task, difficulty: str) -> list[dict[str, Any]]:
    shown = [_function(task.toolset[name]) for name in task.visible_tools(difficulty)]
    return [
        *shown,
        _plain_function(TOOL_SEARCH, _TOOL_SEARCH, "query"),
        _plain_function(TOOL_INFO, _TOOL_INFO, "name"),
        _plain_function(FINISH, _FINISH, "summary"),
    ]


def _function(tool: Tool) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {one.name: _schema(one) for one in tool.parameters},
        "required": [one.name for one in tool.parameters if one.required],
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": schema},
    }


def _schema(parameter: Parameter) -> dict[str, Any]:
    names = {"min_length": "minLength", "max_length": "maxLength"}
    bounds = {names.get(name, name): value for name, value in parameter.constraints.items() if name != "prefix"}
    return {"type": parameter.type, "description": parameter.description, **bounds}


def _plain_function(name: str, description: str, parameter: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
