"""The scorer for structured replies: a JSON value against a JSON schema, and against the target, wholly or in part.

The value is the last fenced block that holds JSON, else the whole reply, else what begins at the first bracket; what is
damaged there is mended by json-repair, and ``detail["repaired"]`` says so. Nothing is ever fetched for a schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from questions.extraction import boxed, fences, final_text
from questions.verdicts import BAD_TARGET, UNCHECKABLE, WRONG, Verdict, failed
from trials.errors import UsageError

BAD_JSON, BAD_SHAPE = "bad_json", "schema_mismatch"
_MAX_MENDED = 20_000
"""json-repair's time grows with the square of what a reply made to hurt holds."""
MODES = ("subset", "equal")


class JsonScorer:
    """Right if the reply's JSON fits the schema, where one is given, and holds the target, where one is given.

    ``mode=subset`` (the default) wants every key of the target's objects, more may be there; ``mode=equal`` wants no
    others. Arrays are compared element by element and must be of equal length; 1 equals 1.0, but not true or "1".
    ``detail`` has ``matched`` and ``leaves`` (of the target) and the ``share`` of the two.
    """

    name = "json"

    def __init__(self, schema: str = "", mode: str = "subset") -> None:
        if mode not in MODES:
            raise UsageError(f"scorer json: option mode is {mode!r}; it must be one of {', '.join(MODES)}")
        self._mode = mode
        self._schema = _read_schema(schema) if schema else None
        self._validator = _validator(self._schema) if schema else None

    @property
    def definition(self) -> Mapping[str, Any]:
        return {"scorer": self.name, "version": 1, "mode": self._mode, "schema": self._schema}

    def close(self) -> None:
        return None

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        try:
            wanted = json.loads(target) if target.strip() else None
        except (ValueError, RecursionError) as error:
            return failed(BAD_TARGET, reason=f"the target is no JSON: {error}")
        try:
            value, repaired = json_of(final_text(reply))
        except ValueError as error:
            return failed(BAD_JSON, final_text(reply)[:100], reason=str(error))
        try:
            return self._compared(value, wanted, bool(target.strip()), repaired)
        except RecursionError:
            return failed(BAD_JSON, reason="nested too deeply")

    def _compared(self, value: Any, wanted: Any, labelled: bool, repaired: bool) -> Verdict:
        detail: dict[str, Any] = {"repaired": True} if repaired else {}
        answer = json.dumps(value, ensure_ascii=False)
        if self._validator is not None:
            from referencing.exceptions import Unresolvable

            try:
                error = next(iter(self._validator.iter_errors(value)), None)
            except (Unresolvable, TimeoutError) as problem:
                return failed(UNCHECKABLE, answer, reason=f"the schema: {problem}"[:300])
            if error is not None:
                return failed(BAD_SHAPE, answer, **detail, at=error.json_path, reason=error.message[:300])
        right = True
        if labelled:
            matched, leaves = matched_leaves(value, wanted)
            right = equal(value, wanted) if self._mode == "equal" else matched == leaves
            detail |= {"matched": matched, "leaves": leaves, "share": matched / leaves}
        return Verdict(score=float(right), answer=answer[:200], category="" if right else WRONG, detail=detail)


def json_of(text: str) -> tuple[Any, bool]:
    """Return (value, whether it had to be mended) of the JSON in a text. Raises ValueError if there is none."""
    for part in [*reversed(fences(text)), text, boxed(text) or ""]:
        try:
            return json.loads(part, parse_constant=_refused), False
        except (ValueError, RecursionError):
            continue
    for part in [*reversed(fences(text)), text]:
        begin = min((place for mark in "{[" if (place := part.find(mark)) >= 0), default=-1)
        if begin >= 0:
            return _mended(part[begin:])
    raise ValueError("the reply holds no JSON object or array")


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _mended(text: str) -> tuple[Any, bool]:
    try:
        return json.JSONDecoder(parse_constant=_refused).raw_decode(text)[0], False
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        pass
    if len(text) > _MAX_MENDED:
        raise ValueError(f"damaged, and longer than the {_MAX_MENDED:,} characters that can be mended")
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (RecursionError, ValueError, IndexError) as error:
        raise ValueError(f"beyond repair: {error}") from None
    if not isinstance(value, dict | list) or not value:
        raise ValueError("beyond repair")
    return value, True


def matched_leaves(value: Any, wanted: Any) -> tuple[int, int]:
    """Return (how many of the target's leaves the value holds at their place, how many the target has)."""
    if isinstance(wanted, dict) and wanted:
        held = value if isinstance(value, dict) else {}
        pairs = [matched_leaves(held[key], part) if key in held else (0, _leaves(part)) for key, part in wanted.items()]
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    if isinstance(wanted, list) and wanted:
        if not isinstance(value, list):
            return 0, _leaves(wanted)
        pairs = [matched_leaves(*pair) for pair in zip(value, wanted, strict=False)]
        missing = sum(_leaves(part) for part in wanted[len(value) :])
        surplus = 1 if len(value) > len(wanted) else 0
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs) + missing + surplus
    return int(isinstance(value, dict) if wanted == {} else equal(value, wanted)), 1


def _leaves(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(_leaves(part) for part in parts) or 1


def equal(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are equal; true and 1 are not."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(equal(*pair) for pair in zip(left, right, strict=True))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _read_schema(given: str) -> Any:
    text, place = given, "option schema"
    if not given.lstrip().startswith("{"):
        place = f"schema {given}"
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"scorer json: cannot read {place}: {error}; give a file or an object as text") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"scorer json: {place} is no JSON: {error}") from None


def _validator(schema: Any) -> Any:
    from jsonschema import Draft202012Validator, SchemaError, validators
    from referencing import Registry

    kind = validators.validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise UsageError(f"scorer json: the schema is none: {error.message} at {error.json_path}") from None
    # A schema's pattern may take for ever on a reply that is written for it, hence the search with a time limit.
    registry: Registry[Any] = Registry()
    return validators.extend(kind, {"pattern": _pattern})(schema, registry=registry)


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Any:
    import regex
    from jsonschema import ValidationError

    if validator.is_type(value, "string") and not regex.search(pattern, value, timeout=1.0):
        yield ValidationError(f"{value[:100]!r} does not match {pattern!r}")
