"""Makes messages of questions, with Jinja2 templates in its immutable sandbox.

A template renders the user's message. It knows ``question``, ``choices``, ``letters``, ``subject``, ``difficulty``,
``examples`` (records with the same names and ``answer``) and every other column of the row by its name; never the row's
own answer. Block tags take their line with them (``trim_blocks``, ``lstrip_blocks``). What is not there, not allowed or
random is an error, so that a prompt is the same whenever it is made. Prompts and single operations are bounded, which
stops accidents; a template that is written to keep a processor busy can still do that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from questions.question import Question
from trials.errors import UsageError
from trials.words import Message

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_CHARACTERS = 1 << 26
"""A longer prompt is a template that runs away."""

_MOST_NUMBER, _MOST_POWER = 100_000, 1_000
_WIDE = re.compile(r"[%{][^%{}]*\d{6}")
"""A field in a pattern of ``format`` or ``%`` that would be wider than any prompt needs."""

AUTO = "auto"
"""The name that stands for the built-in template that fits the bank."""

_EXAMPLES = """\
{% for example in examples %}
{{ example.question }}
Answer: {{ example.answer }}

{% endfor %}
"""
_EXAMPLES_WITH_CHOICES = """\
{% for example in examples %}
{{ example.question }}

{% for choice in example.choices %}
{{ "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[loop.index0] }}. {{ choice }}
{% endfor %}

Answer: {{ example.answer }}

{% endfor %}
"""
BUILT_IN: Mapping[str, str] = {
    "plain": _EXAMPLES + "{{ question }}",
    "math": (
        "{% for example in examples %}\n{{ example.question }}\n"
        "Answer: \\boxed{{ '{' }}{{ example.answer }}{{ '}' }}\n\n{% endfor %}\n"
        "{{ question }}\n\nReason step by step, and put your final answer within \\boxed{}."
    ),
    "choice": (
        _EXAMPLES_WITH_CHOICES + "{{ question }}\n{% if choices %}\n\n{% for choice in choices %}\n"
        "{{ letters[loop.index0] }}. {{ choice }}\n{% endfor %}\n\nThink it over, then end with one line of the form "
        "\"Answer: X\", where X is one of the letters {{ letters | join(', ') }}.{% endif %}"
    ),
}
"""Name → text of the templates that come along."""


class Prompt:
    """How questions become messages: a system text, a template and examples, the same for every question.

    ``columns`` (role → column) lets a template call a question by its column's name as well. Thread-safe.
    Raises UsageError, at once for a template that is none, and while rendering for what a row lacks.
    """

    def __init__(
        self,
        *,
        template: str,
        name: str,
        system: str = "",
        examples: Sequence[Mapping[str, Any]] = (),
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self._system = system
        self._examples = list(examples)
        self._aliases = {
            role: column
            for role, column in (columns or {}).items()
            if role in ("question", "choices", "subject", "difficulty")
        }
        self._render: Callable[[Question], str] | None = None
        if examples or template != BUILT_IN["plain"]:
            self._name = name
            self._template = _compiled(template, name, few_shot=bool(examples))
            self._render = self._rendered

    def messages(self, question: Question) -> list[Message]:
        """Return what a question is asked with."""
        if question.messages:
            return [dict(message) for message in question.messages]
        text = self._render(question) if self._render else question.text
        user: Message = {"role": "user", "content": text}
        return [{"role": "system", "content": self._system}, user] if self._system else [user]

    def _rendered(self, question: Question) -> str:
        ours = {
            "question": question.text,
            "choices": list(question.choices),
            "subject": question.subject,
            "difficulty": question.difficulty,
        }
        named = {column: ours[role] for role, column in self._aliases.items()}
        letters = list(ascii_uppercase[: len(question.choices)])
        known = {**question.fields, **named, **ours, "letters": letters, "examples": self._examples}
        parts: list[str] = []
        size = 0
        try:
            for part in self._template.generate(known):
                size += len(part)
                if size > MOST_CHARACTERS:
                    raise OverflowError(f"the prompt grows beyond {MOST_CHARACTERS:,} characters")
                parts.append(part)
        except Exception as problem:  # a template is a program: there is nothing that it cannot raise
            raise _refused(self._name, _line(problem, self._template.filename), problem, known) from problem
        text = "".join(parts)
        if not text.strip():
            raise UsageError(f"template {self._name} makes an empty prompt")
        return text


def example_of(question: Question) -> dict[str, Any]:
    """Return a question as the record that templates see among their examples."""
    return {
        **question.fields,
        "question": question.text,
        "choices": list(question.choices),
        "answer": question.target,
        "subject": question.subject,
        "difficulty": question.difficulty,
    }


def _compiled(text: str, name: str, *, few_shot: bool) -> Any:
    from jinja2 import TemplateError, meta, nodes

    environment = _environment()
    try:
        tree = environment.parse(text)
        template = environment.from_string(tree)
    except (TemplateError, RecursionError) as problem:
        raise _refused(name, getattr(problem, "lineno", None), problem) from problem
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        wanted = getattr(node, "attr", None) or getattr(getattr(node, "arg", None), "value", None)
        if isinstance(wanted, str) and wanted.startswith("__"):
            raise _refused(name, node.lineno, f"'{wanted}' would reach into Python, which a template may not")
    if few_shot and "examples" not in meta.find_undeclared_variables(tree):
        raise UsageError(f"template {name} never uses 'examples', so that --few-shot would do nothing")
    return template


def _environment() -> Environment:
    from jinja2 import StrictUndefined, TemplateRuntimeError, Undefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        """Also keeps a single operation from filling the memory."""

        intercepted_binops = frozenset({"+", "*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _check_operation(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def call(self, context: Any, function: Any, /, *values: Any, **named: Any) -> Any:
            method = getattr(function, "__wrapped__", function)  # str.format, that is
            _check_numbers(*values, *named.values(), pattern=getattr(method, "__self__", None))
            return super().call(context, function, *values, **named)

    def printable(value: Any) -> Any:
        if not isinstance(value, Undefined) and (isinstance(value, Iterator) or callable(value)):
            raise TemplateRuntimeError(f"prints a {type(value).__name__}, which is no text; add |list or |join(', ')")
        return value

    environment = Sandbox(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, finalize=printable
    )
    del environment.globals["lipsum"], environment.filters["random"]  # not the same twice
    environment.filters.update({name: _bounded(function) for name, function in environment.filters.items()})
    return environment


def _check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise OverflowError for an operation whose result could not be held."""
    sizes = [len(value) for value in (left, right) if isinstance(value, (str, list, tuple))]
    counts = [value for value in (left, right) if isinstance(value, int)]
    if operator == "*" and sizes and counts and sizes[0] * counts[0] > MOST_CHARACTERS:
        raise OverflowError("the product is too long")
    if operator == "+" and sum(sizes) > MOST_CHARACTERS:
        raise OverflowError("the sum is too long")
    if operator == "**" and not (abs(left) < _MOST_NUMBER and abs(right) < _MOST_POWER):
        raise OverflowError("the power is too large")
    if operator == "%":
        _check_numbers(pattern=left)


def _check_numbers(*values: Any, pattern: Any = None) -> None:
    """Raise OverflowError for arguments, or widths in a text that is a pattern, by which a text could grow too long."""
    if any(isinstance(value, int) and abs(value) > _MOST_NUMBER for value in values):
        raise OverflowError(f"a number beyond {_MOST_NUMBER:,} is given to a function")
    if isinstance(pattern, str) and _WIDE.search(pattern):
        raise OverflowError("a width is too large")


def _bounded(filtered: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that takes any value, but no large numbers beside it."""
    own = 1 + hasattr(filtered, "jinja_pass_arg")

    @wraps(filtered)
    def within(*values: Any, **named: Any) -> Any:
        _check_numbers(
            *values[own:], *named.values(), pattern=values[own - 1] if filtered.__name__ == "do_format" else None
        )
        return filtered(*values, **named)

    return within


def _refused(
    name: str, line: int | None, problem: Exception | str, known: Mapping[str, Any] | None = None
) -> UsageError:
    from jinja2 import UndefinedError

    place = f"template {name}, line {line}" if line else f"template {name}"
    text = str(problem) or type(problem).__name__
    there = f"; there are {', '.join(sorted(known))}" if known and isinstance(problem, UndefinedError) else ""
    return UsageError(f"{place}: {text.rstrip('.')}{there}")


def _line(problem: BaseException, filename: str | None) -> int | None:
    """Return the template's line that raised; Jinja2 puts its own lines into tracebacks."""
    line = None
    trace = problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == (filename or "<template>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
