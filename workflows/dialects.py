"""The ways in which models really call tools, and how to speak each of them.

``parsing.parse_reply`` reads them all; ``write_call`` is its inverse. Sources: the chat templates that the models'
makers publish (Qwen, Hermes, Llama, DeepSeek, Mistral, Kimi, GLM), and the message formats of OpenAI and Anthropic.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from trials.record import record
from trials.words import ToolCall

DIALECTS: Mapping[str, str] = {
    "tag": "JSON in a closed tag, as the prompt asks; also Qwen and Hermes",
    "tag_unclosed": "JSON after an opening tag that is never closed",
    "tag_case_space": "tags with other case, spaces and line breaks",
    "tag_fenced": "a Markdown fence with JSON inside the tag",
    "tag_name_json": "the name as text in the tag, then the arguments as JSON",
    "tag_python": "a Python call in the tag",
    "tag_attributes": "name and arguments as attributes of the tag",
    "tag_children": "name and arguments as tags within the tag",
    "tag_quotes": "a Python dict instead of JSON in the tag",
    "tag_unbalanced": "JSON in a tag that lacks its last bracket",
    "string_arguments": "JSON in a tag whose arguments are JSON text in a string",
    "arg_key_value": "GLM: the name, then a tag for each key and value",
    "fenced": "JSON in a Markdown fence",
    "bare_json": "JSON with nothing around it",
    "openai_tool_calls": "native tool calls",
    "function_call": "the older native function call, which has no id",
    "function_call_text": "the older function call as JSON in the text",
    "function_tag": "Llama 3: <function=name> with JSON",
    "function_parameters": "Qwen coder: <function=name> with a tag for each parameter",
    "invoke": "Anthropic: <invoke name=…> with a tag for each parameter",
    "pythonic": "Llama 3 and 4: a Python list of calls",
    "python_tag": "Llama 3: JSON after <|python_tag|>",
    "python_tag_call": "Llama 3: a Python call after <|python_tag|>",
    "deepseek": "DeepSeek V3 and R1: special tokens, the arguments in a fence",
    "deepseek_v31": "DeepSeek V3.1: special tokens, the arguments as JSON",
    "mistral": "Mistral: [TOOL_CALLS] with a JSON list",
    "mistral_args": "Mistral, newer: [TOOL_CALLS]name[ARGS] with JSON",
    "kimi": "Kimi K2: special tokens, functions.name:0",
    "harmony": "gpt-oss: a message to=functions.name",
    "think": "a <think> block before a call in a tag",
}


@record
class Spoken:
    """What a model says to make a call: text, native calls, or both."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


def write_call(dialect: str, name: str, arguments: Mapping[str, Any], call_id: str = "call_0") -> Spoken:
    """Write one call in a dialect. Several calls of one reply are their texts on lines of their own.

    ``tool_search``, ``tool_info`` and ``finish`` can be written like any tool. Raises KeyError for an unknown dialect.
    """
    given = dict(arguments)
    if dialect == "openai_tool_calls":
        return Spoken(tool_calls=(ToolCall(id=call_id, name=name, arguments=_json(given)),))
    if dialect == "function_call":
        return Spoken(tool_calls=(ToolCall(id="", name=name, arguments=_json(given)),))
    return Spoken(text=_WRITERS[dialect](name, given))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _call(name: str, given: Mapping[str, Any]) -> str:
    return _json({"name": name, "arguments": given})


def _python(name: str, given: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def _between_tags(value: Any) -> str:
    """Write a value so that it reads back as itself between two tags: text only if it cannot be mistaken."""
    if isinstance(value, str) and value and value == value.strip() and "<" not in value:
        try:
            json.loads(value)
        except ValueError:
            return value
    return _json(value).replace("<", "\\u003c")


def _parameters(given: Mapping[str, Any]) -> str:
    return "".join(f'<parameter name="{key}">{_between_tags(value)}</parameter>\n' for key, value in given.items())


def _qwen_parameters(given: Mapping[str, Any]) -> str:
    return "".join(f"<parameter={key}>\n{_between_tags(value)}\n</parameter>\n" for key, value in given.items())


def _arg_keys(given: Mapping[str, Any]) -> str:
    return "".join(
        f"<arg_key>{key}</arg_key>\n<arg_value>{_between_tags(value)}</arg_value>\n" for key, value in given.items()
    )


def _attribute(value: str) -> str:
    for char, entity in (("&", "&amp;"), ("'", "&#39;"), ("<", "&lt;"), (">", "&gt;")):
        value = value.replace(char, entity)
    return value


_WRITERS: Mapping[str, Callable[[str, dict[str, Any]], str]] = {
    "tag": lambda name, given: f"<tool_call>{_call(name, given)}</tool_call>",
    "tag_unclosed": lambda name, given: f"<tool_call>{_call(name, given)}",
    "tag_case_space": lambda name, given: f"< Tool_Call >\n{_call(name, given)}\n</ TOOL_CALL >",
    "tag_fenced": lambda name, given: f"<tool_call>\n```json\n{_call(name, given)}\n```\n</tool_call>",
    "tag_name_json": lambda name, given: f"<tool_call>{name}\n{_json(given)}</tool_call>",
    "tag_python": lambda name, given: f"<tool_call>{_python(name, given)}</tool_call>",
    "tag_attributes": lambda name, given: f"<tool_call name=\"{name}\" arguments='{_attribute(_json(given))}'/>",
    "tag_children": lambda name, given: (
        f"<tool_call><name>{name}</name><arguments>{_json(given)}</arguments></tool_call>"
    ),
    "tag_quotes": lambda name, given: f"<tool_call>{ {'name': name, 'arguments': given}!r}</tool_call>",
    "tag_unbalanced": lambda name, given: f"<tool_call>{_call(name, given)[:-1]}</tool_call>",
    "string_arguments": lambda name, given: (
        f"<tool_call>{_json({'name': name, 'arguments': _json(given)})}</tool_call>"
    ),
    "arg_key_value": lambda name, given: f"<tool_call>{name}\n{_arg_keys(given)}</tool_call>",
    "fenced": lambda name, given: f"```json\n{_call(name, given)}\n```",
    "bare_json": _call,
    "function_call_text": lambda name, given: _json({"function_call": {"name": name, "arguments": _json(given)}}),
    "function_tag": lambda name, given: f"<function={name}>{_json(given)}</function>",
    "function_parameters": lambda name, given: (
        f"<tool_call>\n<function={name}>\n{_qwen_parameters(given)}</function>\n</tool_call>"
    ),
    "invoke": lambda name, given: (
        f'<function_calls>\n<invoke name="{name}">\n{_parameters(given)}</invoke>\n</function_calls>'
    ),
    "pythonic": lambda name, given: f"[{_python(name, given)}]",
    "python_tag": lambda name, given: f"<|python_tag|>{_json({'name': name, 'parameters': given})}<|eom_id|>",
    "python_tag_call": lambda name, given: f"<|python_tag|>{_python(f'{name}.call', given)}<|eom_id|>",
    "deepseek": lambda name, given: (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>"
        f"{name}\n```json\n{_json(given)}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "deepseek_v31": lambda name, given: (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{_json(given)}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "mistral": lambda name, given: f"[TOOL_CALLS][{_call(name, given)}]",
    "mistral_args": lambda name, given: f"[TOOL_CALLS]{name}[ARGS]{_json(given)}",
    "kimi": lambda name, given: (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.{name}:0<|tool_call_argument_begin|>"
        f"{_json(given)}<|tool_call_end|><|tool_calls_section_end|>"
    ),
    "harmony": lambda name, given: (
        f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{_json(given)}<|call|>"
    ),
    "think": lambda name, given: (
        f"<think>What comes next?\nPerhaps this.</think>\n<tool_call>{_call(name, given)}</tool_call>"
    ),
}
