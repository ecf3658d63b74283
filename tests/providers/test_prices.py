"""What tokens cost: from the catalog, from the package of prices, and what is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from providers.catalog import load_catalog
from providers.prices import price_of
from trials.errors import UsageError
from trials.words import Completion, Deployment, Price


def catalog_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "catalog.toml"
    path.write_text(text)
    return path


def price_in(tmp_path: Path, text: str, model: str) -> Price | None:
    return price_of(load_catalog(catalog_file(tmp_path, text)).model(model), {})


def test_a_completion_costs_its_tokens_at_their_price_and_a_cached_one_nothing() -> None:
    price = Price(input=0.27, output=1.10)
    reply = Completion(text="", prompt_tokens=2_000_000, completion_tokens=1_000_000)
    assert price.of(reply) == pytest.approx(2 * 0.27 + 1.10)
    assert price.of(Completion(text="", prompt_tokens=5, completion_tokens=5, cached=True)) == 0


def test_a_price_in_the_catalog_counts_for_a_model_and_for_a_family(tmp_path: Path) -> None:
    one = '[models."deepseek-v3.1"]\nprice = { input = 0.27, output = 1.10 }\n'
    assert price_in(tmp_path, one, "deepseek-v3.1") == Price(input=0.27, output=1.10)
    family = "[families.ideallab_open]\nprice = { input = 1, output = 2 }\n"
    assert price_in(tmp_path, family, "qwen2.5-7b-instruct") == Price(input=1, output=2)
    both = family + '[models."qwen2.5-7b-instruct"]\nprice = { input = 0, output = 0 }\n'
    assert price_in(tmp_path, both, "qwen2.5-7b-instruct") == Price(input=0, output=0)


def test_a_price_by_name_is_the_one_the_package_lists(tmp_path: Path) -> None:
    named = '[models."qwen2.5-7b-instruct"]\nprice = "openai:gpt-4o-mini"\n'
    catalog = load_catalog()
    assert price_in(tmp_path, named, "qwen2.5-7b-instruct") == price_of(catalog.adhoc("gpt-4o-mini"), {})
    assert price_in(tmp_path, named.replace("4o-mini", "none-such"), "qwen2.5-7b-instruct") is None


def test_every_price_that_the_catalog_names_is_listed() -> None:
    entries = [entry for entry in load_catalog().models.values() if entry.price]
    assert len(entries) >= 5
    for entry in entries:
        price = price_of(entry, {})
        assert price is not None, entry.model
        assert 0 < price.input <= price.output < 1000


def test_a_provider_is_known_by_its_name_or_its_address() -> None:
    catalog = load_catalog()
    assert price_of(catalog.model("gpt-4o-mini"), {}) == Price(input=0.15, output=0.6)
    assert price_of(catalog.adhoc("gpt-4o-mini"), {}) == Price(input=0.15, output=0.6)
    at_openai = catalog.adhoc("gpt-4o-mini", "https://api.openai.com/v1", "A_KEY")
    assert price_of(at_openai, {}) == Price(input=0.15, output=0.6)


@pytest.mark.parametrize("address", ["http://localhost:8000/v1", "https://llm.example.org/v1"])
def test_the_same_name_at_an_address_of_ones_own_has_no_price(address: str) -> None:
    catalog = load_catalog()
    assert price_of(catalog.adhoc("gpt-4o-mini", address, "A_KEY"), {}) is None
    assert price_of(catalog.adhoc("gpt-4o-mini"), {"OPENAI_BASE_URL": address}) is None
    assert price_of(catalog.model("qwen2.5-7b-instruct"), {}) is None


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("0.27", "must be a table"),
        ("{ input = 0.27 }", "must be a table"),
        ("{ input = 0.27, output = 1.1, cached = 0.1 }", "must be a table"),
        ("{ input = -0.27, output = 1.1 }", "input must be a number"),
        ("{ input = 0.27, output = nan }", "output must be a number"),
        ('{ input = "0.27", output = 1.1 }', "input must be a number"),
        ("{ input = true, output = 1.1 }", "input must be a number"),
        ('"gpt-4o-mini"', "'provider:model'"),
        ('":gpt"', "'provider:model'"),
    ],
)
def test_a_price_that_is_none_is_told_with_its_place(tmp_path: Path, written: str, told: str) -> None:
    with pytest.raises(UsageError, match=r"\[models.deepseek-v3.1\] price ") as problem:
        load_catalog(catalog_file(tmp_path, f'[models."deepseek-v3.1"]\nprice = {written}\n'))
    assert told in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_deployment_comes_back_from_json_with_its_price_and_from_older_files_without() -> None:
    from dataclasses import asdict, replace

    from providers.catalog import deployments_of

    entry = replace(load_catalog().model("deepseek-v3.1"), price=Price(input=1, output=2))
    (one,) = deployments_of(entry, n_prompt_types=1, rate_mode="adaptive", environment={})
    assert one.price == Price(input=1, output=2)
    assert Deployment.from_json(asdict(one)) == one
    older = {name: value for name, value in asdict(one).items() if name != "price"}
    assert Deployment.from_json(older) == replace(one, price=None)
