"""The simulated models: how skilled each is, and in which dialect it speaks. Data is in models.toml.

``p_answer`` is the share of questions that a model knows the answer of, ``p_right`` if the table does not say;
``p_judge`` the share of answers that it judges rightly. The numbers are made up: plausible, and distinct, so that a
report has something to tell apart. They say nothing of the real models whose names they bear.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from trials.errors import UsageError

DEFAULT = "default"
_REASONING = frozenset({"tags", "field"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """How often a simulated model does well; all are probabilities. See brain.py, and answering.py for the last two."""

    p_right: float
    p_follow: float
    p_recover: float
    p_arguments: float
    p_answer: float | None = None
    p_judge: float = 0.95

    @property
    def answering(self) -> float:
        """The probability of a right answer to a question, if one is given."""
        return self.p_right if self.p_answer is None else self.p_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedModel:
    """A skill and a dialect, which vary apart: the first decides what is done, the second how it is written.

    ``reasoning`` is where it thinks aloud before it answers a question: in ``tags`` of its text, in a ``field`` of the
    reply, or nowhere if empty; a model that does so in its dialect always thinks.
    """

    skill: Skill
    dialect: str
    reasoning: str = ""

    @property
    def thinks(self) -> bool:
        """Whether an answer comes with a thought."""
        return bool(self.reasoning) or self.dialect == "think"


class ModelTable:
    """Simulated models by name. A name that is not in it is the default model."""

    def __init__(self, models: Mapping[str, SimulatedModel]) -> None:
        self._models = dict(models)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all models but the default."""
        return tuple(name for name in self._models if name != DEFAULT)

    def get(self, name: str) -> SimulatedModel:
        """Return the model of this name, else of the longest name that begins it (``…-2`` of a deployment)."""
        if name in self._models:
            return self._models[name]
        beginnings = [known for known in self.names if name.startswith(known + "-")]
        return self._models[max(beginnings, key=len, default=DEFAULT)]


def load_models(extra: Path | None, dialects: Iterable[str]) -> ModelTable:
    """Read the built-in table, and ``extra`` over it: a file of the same form whose entries may be partial.

    Raises UsageError that names the file, the model and the field at fault.
    """
    known = frozenset(dialects)
    built_in = resources.files("simulator").joinpath("models.toml").read_text(encoding="utf-8")
    models = _merge({}, _parse(built_in), "models.toml", known)
    if extra is not None:
        models = _merge(models, _read(extra), str(extra), known)
    return ModelTable(models)


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: is not TOML: {error}") from error


def _parse(text: str) -> dict[str, Any]:
    """Parse TOML; raises ValueError. The standard library does so from Python 3.11 on."""
    tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    table: dict[str, Any] = tomllib.loads(text)
    return table


def _merge(
    models: Mapping[str, SimulatedModel], table: Mapping[str, Any], where: str, dialects: frozenset[str]
) -> dict[str, SimulatedModel]:
    merged = dict(models)
    for name, entry in table.items():
        if not isinstance(entry, dict):
            raise UsageError(f'{where}: {name}: expected a table of its own, as in ["{name}"]')
        base = merged.get(name) or merged.get(DEFAULT)
        merged[name] = _model(entry, base, f"{where}: {name}", dialects)
    return merged


def _model(
    entry: Mapping[str, Any], base: SimulatedModel | None, where: str, dialects: frozenset[str]
) -> SimulatedModel:
    skills = [field.name for field in fields(Skill)]
    words = {"dialect": dialects, "reasoning": _REASONING}
    for name, value in entry.items():
        if name in words:
            if not isinstance(value, str) or value not in words[name]:
                raise UsageError(f"{where}: {name} {value!r} is none of {', '.join(sorted(words[name]))}")
        elif name not in skills:
            raise UsageError(f"{where}: {name!r} is none of {', '.join((*words, *skills))}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise UsageError(f"{where}: {name} = {value!r} is not a number from 0 to 1")
    values = {name: float(value) for name, value in entry.items() if name not in words}
    said = {name: entry[name] for name in words if name in entry}
    if base is None:
        return SimulatedModel(skill=Skill(**values), **said)
    return replace(base, skill=replace(base.skill, **values), **said)
