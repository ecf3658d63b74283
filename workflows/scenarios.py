"""The small world that tasks play in: subjects, and a value for each thing a task may state."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from workflows.tools import Parameter

T = TypeVar("T")

_THINGS = (
    *(
        "overdue invoices",
        "customer orders",
        "sensor readings",
        "web visits",
        "support tickets",
        "stock levels",
    ),
    *("shipping records", "energy meters", "hotel bookings", "lab results", "price lists", "payroll entries"),
    *("bus arrivals", "rain gauges", "loan requests", "parcel scans", "survey answers", "refund claims"),
    *("spare parts", "ticket sales", "water samples", "exam marks", "press mentions", "crash reports"),
)
_PLACES = (
    *("Lisbon", "Osaka", "Nairobi", "Quito", "Tallinn", "Adelaide", "Montreal", "Cork", "Leipzig", "Pune"),
    *("Tromsø", "Valparaíso"),
)
_FIELDS = ("status", "amount", "region", "priority", "owner", "created_on", "quantity", "score")
_FORMATS = ("json", "csv", "xml", "yaml")

_PREFIXES = {"content": "txt", "records": "rec", "report": "rep"}


class Scenario:
    """One task's setting. Each name is given one value, so that steps which share a name share the value."""

    def __init__(self, rng: Random, number: int) -> None:
        self._rng = rng
        self._number = number
        self._thing, self._place = self._one_of(_THINGS), self._one_of(_PLACES)
        self._slug = self._thing.replace(" ", "_")
        self._format = self._one_of(_FORMATS)
        self._known: dict[str, Any] = {}
        self.subject = f"the {self._thing} of the {self._place} office"

    def chance(self, probability: float) -> bool:
        """Draw yes or no."""
        return self._rng.random() < probability

    def value(self, parameter: Parameter) -> tuple[str, Any]:
        """Return the input's name and value for a parameter that the task has to state."""
        name = parameter.accepts[0] if parameter.accepts else parameter.name
        if name not in self._known:
            self._known[name] = self._draw(name, parameter)
        return name, self._known[name]

    def _one_of(self, options: Sequence[T]) -> T:
        return options[int(self._rng.random() * len(options))]

    def _between(self, low: int, high: int) -> int:
        return low + int(self._rng.random() * (high - low + 1))

    def _draw(self, name: str, parameter: Parameter) -> Any:
        bounds = parameter.constraints
        if name in ("source_format", "target_format"):
            others = [one for one in _FORMATS if one != self._format]
            return self._format if name == "source_format" else self._one_of(others)
        if "enum" in bounds:
            return self._one_of([one for one in bounds["enum"] if one != parameter.default])
        if parameter.type == "boolean":
            return not parameter.default
        if parameter.type == "integer":
            return self._between(bounds["minimum"], bounds["maximum"])
        return self._text(name)

    def _text(self, name: str) -> Any:
        slug, number, dotted = self._slug, self._number, self._slug.replace("_", "-")
        if name in _PREFIXES:
            return f"{_PREFIXES[name]}_{slug}_{number}"
        texts: dict[str, Any] = {
            "path": f"/data/{slug}/{number}.{self._format}",
            "directory": f"/data/{slug}/{self._between(2021, 2025)}",
            "name_pattern": f"*.{self._format}",
            "destination": f"/reports/{slug}_{number}",
            "url": f"https://api.example.com/{dotted}/{number}",
            "target_url": f"https://hooks.example.com/{dotted}/{number}",
            "endpoint": f"https://status.example.com/{dotted}",
            "service": f"{dotted}-service",
            "schema": f"{slug}_v{self._between(1, 9)}",
            "mapping": f"{slug}_to_{self._one_of(('erp', 'crm', 'ledger', 'archive'))}",
            "field": self._one_of(_FIELDS),
            "operand": str(self._between(10, 990)),
            "group_by": self._one_of(_FIELDS),
            "expression": f"{self._one_of(('sum', 'mean', 'max'))}({self._one_of(('amount', 'quantity', 'score'))})",
            "queue_name": f"{dotted}-in",
            "job_name": f"{dotted}-{number}",
            "run_at": f"{self._between(0, 23):02d}:{self._between(0, 11) * 5:02d}",
            "cache_key": f"{slug}:{number}",
            "metric": f"{slug}_total",
            "number": self._between(100, 9999) / 10,
            "recipient": f"{dotted}@{self._place.lower()}.example.com",
        }
        return texts[name]
