"""Reads the input lines of OpenAI's batch API: ``custom_id``, and a ``body`` with messages and parameters.

Source of the form: OpenAI's API reference, "Batch", the request input object. ``model``, ``method`` and ``url`` say who
was to be asked and are ignored; all other parameters must be the same in every line, since a run asks in one way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from questions.rows import as_json
from trials.errors import UsageError

_ENVELOPE = ("body", "method", "url")
_IGNORED = ("messages", "model")


def is_batch_line(row: Mapping[str, Any]) -> bool:
    """Say whether a row is a line of a batch file."""
    return "custom_id" in row and isinstance(row.get("body"), dict)


class BatchLines:
    """Turns batch lines into rows with ``custom_id``, ``messages`` and what else stands beside the body.

    ``parameters`` are those of the first line, which all others must share. Not for several threads.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self._first = ""

    def row(self, line: Mapping[str, Any], place: str) -> dict[str, Any]:
        """Return the row of a line. Raises UsageError if it asks for something else, or in another way."""
        if not is_batch_line(line):
            raise UsageError(f"{place} is no line of a batch file like {self._first or 'the others'}: it needs a body")
        body = line["body"]
        if not isinstance(body.get("messages"), list):
            raise UsageError(f"{place}: its body has no messages; only chat completions can be asked")
        given = {name: value for name, value in body.items() if name not in _IGNORED and value is not None}
        parameters = as_json(given)
        if not self._first:
            self.parameters, self._first = parameters, place
        elif parameters != self.parameters:
            self._refuse(parameters, place)
        return {name: value for name, value in line.items() if name not in _ENVELOPE} | {"messages": body["messages"]}

    def _refuse(self, parameters: Mapping[str, Any], place: str) -> None:
        names = sorted({*parameters, *self.parameters})
        name = next(name for name in names if parameters.get(name) != self.parameters.get(name))
        told = (
            f"{self.parameters.get(name, 'not given')} in {self._first}, {parameters.get(name, 'not given')} in {place}"
        )
        raise UsageError(f"'{name}' differs between batch lines ({told}); a run asks in one way: split the file")
