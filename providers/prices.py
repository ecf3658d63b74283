"""What a model's tokens cost: as the catalog says, else as the package genai-prices knows it.

The package carries its data with it, so nothing is fetched; how recent they are is a matter of updating it. Only the
list of the provider itself is asked: a model that somebody else serves as well may cost anything there. What is found
is the price of fresh tokens for short prompts; discounts (for prompts a provider has cached, for batches) are not
counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from providers.catalog import endpoint_of
from trials.words import Price

if TYPE_CHECKING:
    from providers.catalog import Entry

_SAMPLE_TOKENS = 1000
_HERE = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0"})


def price_of(entry: Entry, environment: Mapping[str, str]) -> Price | None:
    """Return what a model costs, or None if that is not known; a quarter of a second where the package is needed."""
    if isinstance(entry.price, Price):
        return entry.price
    if entry.price:
        provider, _, model = entry.price.partition(":")
        return _listed(model.strip(), provider=provider.strip())
    names = dict.fromkeys((entry.instances[0].api_model, entry.model))
    url = endpoint_of(entry, environment)
    if urlsplit(url).hostname in _HERE:
        return None  # what somebody serves at home is on no list, and need not wait for one to be read
    found = [_listed(name, url=url) for name in names] + [_listed(name, provider=entry.provider) for name in names]
    return next((price for price in found if price is not None), None)


def _listed(model: str, *, provider: str = "", url: str = "") -> Price | None:
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=_SAMPLE_TOKENS, output_tokens=_SAMPLE_TOKENS)
    try:
        if url:
            found = calc_price(usage, model, provider_api_url=url)
        else:
            found = calc_price(usage, model, provider_id=provider)
    except (LookupError, ValueError):
        return None
    if found.model_price.input_mtok is None or found.model_price.output_mtok is None:
        return None
    per_million = 1_000_000 // _SAMPLE_TOKENS
    return Price(input=float(found.input_price * per_million), output=float(found.output_price * per_million))
