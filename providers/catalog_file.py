"""Reads one catalog file and checks each field, so that a slip is told with its place and the nearest right name.

Says nothing about whether a model has all it needs: that shows once files are laid over each other (catalog.py).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from providers.endpoints import AZURE, OPENAI, url_problem
from providers.keys import key_name_problem
from trials.errors import UsageError

Table = dict[str, Any]
Check = Callable[[Any], str]
"""Says what is wrong with a value, as the end of a sentence, or returns an empty string."""

WRITTEN_BY_US = ("messages", "tools", "stream")
"""Request fields that a catalog must not touch: a trial asks what the benchmark says, and replies are read whole."""

MAX_WORKERS = 10_000
_PRICE_TABLE = "a table of US dollars per million tokens such as { input = 0.27, output = 1.10 }"


def nearest(name: str, known: Collection[str]) -> str:
    """Return ``; did you mean 'x'?`` or ``; known: …`` for a name that is not among ``known``."""
    by_case = [one for one in known if one.casefold() == name.casefold()]
    close = by_case or get_close_matches(name, list(known), n=3, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(repr(one) for one in close) + "?"
    return "; known: " + ", ".join(sorted(known))


def read_catalog_file(path: Path) -> Table:
    """Return ``{"families": {name: fields}, "models": {name: fields}}``, each field checked. Raises UsageError."""
    document = _parse(path)
    _check_names(document, ("families", "models"), f"catalog {path}:", "table")
    tables: Table = {}
    for kind, fields in (("families", FAMILY_FIELDS), ("models", MODEL_FIELDS)):
        tables[kind] = document.get(kind, {})
        if not isinstance(tables[kind], dict):
            raise UsageError(f"catalog {path}: [{kind}] must be a table")
        for name, table in tables[kind].items():
            check_table(table, fields, f"catalog {path}: [{kind}.{name}]")
            if problem := _text(name):
                raise UsageError(f"catalog {path}: a name in [{kind}] {problem}")
    return tables


def check_table(table: Any, fields: Mapping[str, Check], place: str) -> None:
    """Raise UsageError unless ``table`` is one and holds nothing but ``fields`` with values in order."""
    if not isinstance(table, dict):
        raise UsageError(f"{place} must be a table")
    _check_names(table, fields, place, "field")
    for name, value in table.items():
        if problem := fields[name](value):
            raise UsageError(f"{place} {name} {problem}")


def _parse(path: Path) -> Table:
    tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document: Table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"catalog {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"catalog {path} is not valid TOML: {' '.join(str(error).split())}") from error
    return document


def _check_names(table: Table, known: Collection[str], place: str, what: str) -> None:
    for name, value in table.items():
        if name not in known:
            hint = " (a name that holds a dot needs quotes)" if what == "field" and isinstance(value, dict) else ""
            raise UsageError(f"{place} unknown {what} {name!r}{hint}{nearest(name, known)}")


def _text(value: Any) -> str:
    right = isinstance(value, str) and value.strip() and value.isprintable()
    return "" if right else "must be a text in one line, and not empty"


def _variables(value: Any) -> str:
    if not isinstance(value, list) or not value or any(map(_text, value)):
        return "must be a list of names of environment variables, and not empty"
    return next(filter(None, map(key_name_problem, value)), "")


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> str:
        right = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return "" if right else f"must be a whole number from {low} to {high}"

    return check


def _number(low: float, high: float, *, above: bool = False) -> Check:
    def check(value: Any) -> str:
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        right = right and (low < value <= high if above else low <= value <= high)
        return "" if right else f"must be a number {'above' if above else 'from'} {low:g} and at most {high:g}"

    return check


def _one_of(*options: str) -> Check:
    def check(value: Any) -> str:
        return "" if value in options else "must be " + " or ".join(repr(one) for one in options)

    return check


def _subset(*options: str) -> Check:
    def check(value: Any) -> str:
        right = isinstance(value, list) and all(one in options for one in value)
        return "" if right else f"must be a list of any of {', '.join(map(repr, options))}"

    return check


def _url(value: Any) -> str:
    return _text(value) or url_problem(value)


def _extra(value: Any) -> str:
    if not isinstance(value, dict):
        return "must be a table"
    taken = [name for name in value if name in WRITTEN_BY_US]
    if taken:
        return f"must not set {taken[0]!r}, which the benchmark writes itself"
    return (
        ""
        if _is_json(value)
        else "must hold nothing but texts, numbers that JSON can hold, true, false, lists and tables"
    )


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, int):
        return abs(value) < 2**63
    return isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def _price(value: Any) -> str:
    if isinstance(value, str):
        provider, _, model = value.partition(":")
        right = not _text(value) and provider.strip() and model.strip()
        return "" if right else f"must be a name of the form 'provider:model', or {_PRICE_TABLE}"
    if not isinstance(value, dict) or set(value) != {"input", "output"}:
        return f"must be {_PRICE_TABLE}"
    problems = ((name, _number(0, 1e6)(dollars)) for name, dollars in value.items())
    return next((f"{name} {problem}" for name, problem in problems if problem), "")


def _workers(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"adaptive", "fixed"}:
        return next(filter(None, map(_whole(1, MAX_WORKERS), value.values())), "")
    return _whole(1, MAX_WORKERS)(value) and (
        f"must be a whole number from 1 to {MAX_WORKERS}, or a table of one each for adaptive and fixed"
    )


def _instances(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return "must be a list of tables, and not empty"
    for place, instance in enumerate(value, 1):
        try:
            check_table(instance, INSTANCE_FIELDS, f"item {place}:")
        except UsageError as error:
            return str(error)
        if "name" not in instance:
            return f"item {place}: field 'name' is missing"
    names = [instance["name"] for instance in value]
    return "" if len(set(names)) == len(names) else "must not give two items the same name"


INSTANCE_FIELDS: dict[str, Check] = {
    "name": _text,
    "api_model": _text,
    "base_url": _url,
    "base_url_names": _variables,
    "key_names": _variables,
    "workers": _workers,
    "qps": _number(0, 1e6, above=True),
}
FAMILY_FIELDS: dict[str, Check] = {
    **{name: check for name, check in INSTANCE_FIELDS.items() if name not in ("name", "api_model")},
    "provider": _text,
    "api": _one_of(OPENAI, AZURE),
    "api_version": _text,
    "api_version_names": _variables,
    "prompt_multiplier": _flag,
    "joint_limits": _flag,
    "timeout_s": _number(0, 86_400, above=True),
    "max_attempts": _whole(1, 100),
    "temperature": _number(0, 2),
    "max_tokens": _whole(1, 10_000_000),
    "max_tokens_field": _text,
    "omit": _subset("temperature", "max_tokens", "model"),
    "extra": _extra,
    "price": _price,
    "instances": _instances,
}
MODEL_FIELDS: dict[str, Check] = {"family": _text, "api_model": _text, **FAMILY_FIELDS}
