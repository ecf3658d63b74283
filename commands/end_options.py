"""``--max-cost``, ``--deadline`` and ``--notify``: what may end a run early, and who hears of its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from commands.values import duration, number
from trials.errors import UsageError

if TYPE_CHECKING:
    from providers.catalog import Entry
    from providers.keys import Environment, Secret

_MOST_USD = 1e9
Values = Mapping[str, Any]


def max_cost(values: Values) -> float | None:
    """Return the US dollars that a run may cost, above 0: for nothing, nothing can be asked."""
    text = values["max_cost"]
    if text is None:
        return None
    usd = number("--max-cost", text.removeprefix("$"), -_MOST_USD, _MOST_USD)
    if usd <= 0:
        raise UsageError(f"--max-cost: {text} is not above 0; give US dollars, such as 2.50")
    return usd


def deadline_s(values: Values) -> float | None:
    """Return after how many seconds nothing more is to begin."""
    text = values["deadline"]
    return None if text is None else duration("--deadline", text)


def priced(entry: Entry, environment: Environment) -> Entry:
    """Return an entry with the price that its deployments will have."""
    from providers.prices import price_of

    return replace(entry, price=price_of(entry, environment) or "")


def check_prices(entries: list[Entry]) -> None:
    """Raise a UsageError for a model whose price is not known: what it spends could not be bounded."""
    for entry in entries:
        if not entry.price:
            raise UsageError(
                f"--max-cost: no price is known for {entry.model!r}; give it in a file for --catalog, field 'price' of "
                f'[models."{entry.model}"], as {{ input = 0.27, output = 1.10 }} in US dollars per million tokens'
            )


def notify_address(values: Values, environment: Environment) -> Secret | None:
    """Return the address that is told of the end, which may hold a secret, and is never quoted."""
    from providers.keys import Secret
    from providers.webhook import webhook_problem

    flag, url = ("--notify", values["notify"]) if values["notify"] else ("NOTIFY_URL", environment.get("NOTIFY_URL"))
    if not url:
        return None
    if problem := webhook_problem(url):
        raise UsageError(f"{flag}: the address {problem}")
    return Secret(url)
