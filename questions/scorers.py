"""The scorers by name: what ``--scorer`` offers, with their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from questions.verdicts import Scorer, Verdict
from trials.errors import UsageError

__all__ = ["SCORERS", "Scorer", "Verdict", "open_scorer"]

SCORERS = ("exact", "normalised", "includes", "regex", "choice", "numeric", "math", "json", "none")

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "regex": ("pattern",),
    "choice": ("index_base",),
    "numeric": ("relative", "absolute", "percent"),
    "math": ("time_limit_s",),
    "json": ("schema", "mode"),
}
_MAX_TIME_LIMIT_S = 300.0


def open_scorer(name: str, options: Mapping[str, str]) -> Scorer:
    """Return the scorer of a name; ``close`` it at the end. Raises UsageError for unknown names and unusable options.

    Options: regex ``pattern``; choice ``index_base`` (0 or 1: what a number as target counts from); numeric
    ``relative`` and ``absolute`` (tolerances), ``percent`` (either or value); math ``time_limit_s``; json ``schema``
    (a file, or the object itself) and ``mode`` (subset or equal).
    """
    if name == "code":
        raise UsageError(
            "scorer code: running code is not supported outside a sandbox, and there is none; use another scorer"
        )
    if name not in SCORERS:
        raise UsageError(f"there is no scorer {name!r}; choose one of {', '.join(SCORERS)}")
    known = _OPTIONS.get(name, ())
    for option in options:
        if option not in known:
            offered = f"its options are {', '.join(known)}" if known else "it has none"
            raise UsageError(f"scorer {name} has no option {option!r}; {offered}")
    return _OPENERS[name](options)


def _text(name: str) -> Callable[[Mapping[str, str]], Scorer]:
    def open_text(options: Mapping[str, str]) -> Scorer:
        from questions import scorer_text

        kinds: Mapping[str, Callable[[], Scorer]] = {
            "exact": scorer_text.ExactScorer,
            "normalised": scorer_text.NormalisedScorer,
            "includes": scorer_text.IncludesScorer,
            "none": scorer_text.NoScorer,
        }
        return kinds[name]()

    return open_text


def _regex(options: Mapping[str, str]) -> Scorer:
    from questions.scorer_text import RegexScorer

    return RegexScorer(options.get("pattern", ""))


def _choice(options: Mapping[str, str]) -> Scorer:
    from questions.scorer_choice import ChoiceScorer

    base = options.get("index_base", "0")
    if base not in ("0", "1"):
        raise UsageError(f"scorer choice: option index_base is {base!r}; it must be 0 or 1")
    return ChoiceScorer(int(base))


def _numeric(options: Mapping[str, str]) -> Scorer:
    from questions.scorer_numeric import NumericScorer

    percent = options.get("percent", "either")
    if percent not in ("either", "value"):
        raise UsageError(f"scorer numeric: option percent is {percent!r}; it must be either or value")
    relative = _tolerance("relative", options["relative"]) if "relative" in options else None
    return NumericScorer(relative, _tolerance("absolute", options.get("absolute", "0")), percent)


def _tolerance(option: str, value: str) -> Fraction:
    try:
        number = float(value)
        if 0 <= number < float("inf"):
            return Fraction(value.strip())
    except ValueError:
        pass
    raise UsageError(f"scorer numeric: option {option} is {value!r}; it must be a number, 0 or more")


def _math(options: Mapping[str, str]) -> Scorer:
    from importlib.util import find_spec

    from questions.scorer_math import MathScorer

    given = options.get("time_limit_s", "5")
    try:
        limit_s = float(given)
    except ValueError:
        limit_s = 0.0
    if not 0 < limit_s <= _MAX_TIME_LIMIT_S:
        raise UsageError(f"scorer math: option time_limit_s is {given!r}; it must be seconds, over 0 and up to 300")
    if find_spec("math_verify") is None:
        raise UsageError(
            "scorer math needs the package math-verify; install it with: pip install 'math-verify[antlr4-13-2]'"
        )
    return MathScorer(limit_s)


def _json(options: Mapping[str, str]) -> Scorer:
    from questions.scorer_json import JsonScorer

    return JsonScorer(options.get("schema", ""), options.get("mode", "subset"))


_OPENERS: Mapping[str, Callable[[Mapping[str, str]], Scorer]] = {
    **{name: _text(name) for name in ("exact", "normalised", "includes", "none")},
    "regex": _regex,
    "choice": _choice,
    "numeric": _numeric,
    "math": _math,
    "json": _json,
}
