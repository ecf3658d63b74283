"""The catalog against the requirements' table, a user's own file, and every way to get such a file wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from providers.catalog import deployments_of, load_catalog, simulated
from providers.endpoints import chat_url
from trials.errors import UsageError
from trials.words import Deployment, Sampling

WriteCatalog = Callable[[str], Path]

# family, model, (names of shards), QPS, then workers each: adaptive with 1 and 3 prompt types, fixed with 1 and 3
TABLE = [
    ("azure_open", "DeepSeek-V3-0324", ("DeepSeek-V3-0324", "DeepSeek-V3-0324-2", "DeepSeek-V3-0324-3"), 200,
     100, 300, 50, 150),
    ("ideallab_open", "qwen2.5-72b-instruct", ("qwen-key0", "qwen-key1", "qwen-key2"), 10, 5, 5, 3, 3),
    ("azure_closed", "gpt-4o-mini", ("gpt-4o-mini",), 200, 200, 600, 100, 300),
    ("ideallab_closed", "kimi-k2", ("kimi-k2",), 5, 1, 1, 1, 1),
    ("deepseek", "deepseek-v3.1", ("deepseek-v3.1",), 100, 64, 64, 32, 32),
]  # fmt: skip

MODELS = {
    "azure_open": {"DeepSeek-V3-0324", "DeepSeek-R1-0528", "Llama-3.3-70B-Instruct"},
    "ideallab_open": {f"qwen2.5-{size}b-instruct" for size in (72, 32, 14, 7, 3)},
    "azure_closed": {"gpt-4o-mini", "gpt-5-mini"},
    "ideallab_closed": {"o3-0416-global", "gemini-2.5-flash-06-17", "kimi-k2", "claude_sonnet4"},
    "deepseek": {"deepseek-v3.1"},
}

ENVIRONMENT = {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com/", "IDEALLAB_BASE_URL": "https://lab/v1"}


def resolve(model: str, catalog_file: Path | None = None, **options: object) -> tuple[Deployment, ...]:
    settings: dict[str, object] = {"n_prompt_types": 1, "rate_mode": "adaptive", "environment": ENVIRONMENT}
    return deployments_of(load_catalog(catalog_file).model(model), **(settings | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_plan_equals_the_requirements_table(row: tuple[object, ...]) -> None:
    family, model, names, qps, *workers = row
    found = []
    for rate_mode in ("adaptive", "fixed"):
        for n_prompt_types in (1, 3):
            deployments = resolve(str(model), rate_mode=rate_mode, n_prompt_types=n_prompt_types)
            assert tuple(one.name for one in deployments) == names
            assert {(one.family, one.model, one.qps) for one in deployments} == {(family, model, qps)}
            found.append({one.workers for one in deployments})
    assert found == [{number} for number in workers]


def test_every_model_of_the_requirements_is_in_its_family() -> None:
    families: dict[str, set[str]] = {}
    for name, entry in load_catalog().models.items():
        families.setdefault(entry.family, set()).add(name)
    assert families == MODELS


def test_azure_deployments_are_asked_by_their_own_name_and_filed_under_the_base_name() -> None:
    deployments = resolve("DeepSeek-V3-0324")
    assert [(one.api_model, one.model) for one in deployments] == [
        ("DeepSeek-V3-0324", "DeepSeek-V3-0324"),
        ("DeepSeek-V3-0324-2", "DeepSeek-V3-0324"),
        ("DeepSeek-V3-0324-3", "DeepSeek-V3-0324"),
    ]
    assert deployments[0].base_url == "https://mine.openai.azure.com/"


def test_qwen_keys_are_virtual_instances_of_one_model() -> None:
    deployments = resolve("qwen2.5-7b-instruct")
    assert {one.api_model for one in deployments} == {"qwen2.5-7b-instruct"}
    assert [one.key_names for one in deployments] == [
        (f"IDEALLAB_API_KEY_{number}", f"IDEALLAB_API_KEYS#{number}") for number in range(3)
    ]


def test_deepseek_has_the_documented_client_settings() -> None:
    entry = load_catalog().model("deepseek-v3.1")
    (one,) = resolve("deepseek-v3.1")
    assert (one.base_url, one.timeout_s, one.max_attempts) == ("https://platform.deepseek.com/agent/v3", 30, 4)
    assert one.key_names == ("DS_API_KEY", "DEEPSEEK_API_KEY")
    assert entry.sampling == Sampling(temperature=0.0, max_tokens=512)


@pytest.mark.parametrize("model", ["gpt-5-mini", "o3-0416-global"])
def test_reasoning_models_get_their_own_token_field_and_no_temperature(model: str) -> None:
    (one,) = resolve(model)
    assert (one.max_tokens_field, one.omit) == ("max_completion_tokens", ("temperature",))


def test_start_delays_count_from_the_shard_before_and_the_last_repeats(write_catalog: WriteCatalog) -> None:
    names = ", ".join(f'{{ name = "k{number}" }}' for number in range(5))
    mine = write_catalog(f'[models.x]\nfamily = "generic"\ninstances = [{names}]')
    assert [one.start_delay_s for one in resolve("x", mine)] == [0, 30, 20, 20, 20]


def test_overrides_are_final_and_shards_keep_the_first() -> None:
    deployments = resolve(
        "DeepSeek-V3-0324", n_prompt_types=3, shards=2, max_workers=7, qps=1.5, timeout_s=9.0, max_attempts=2
    )
    assert [one.name for one in deployments] == ["DeepSeek-V3-0324", "DeepSeek-V3-0324-2"]
    assert {(one.workers, one.qps, one.timeout_s, one.max_attempts) for one in deployments} == {(7, 1.5, 9.0, 2)}
    assert len(resolve("gpt-4o-mini", shards=3)) == 1


def test_limits_of_several_models_on_a_key_are_apart_unless_joint(write_catalog: WriteCatalog) -> None:
    apart = {(one.scope, one.key_names[0]) for model in MODELS["ideallab_open"] for one in resolve(model)}
    assert len(apart) == 15
    mine = write_catalog("[families.ideallab_open]\njoint_limits = true")
    joint = {(one.scope, one.key_names[0]) for model in MODELS["ideallab_open"] for one in resolve(model, mine)}
    assert len(joint) == 3


def test_environment_overrides_the_default_endpoint_and_api_version() -> None:
    (one,) = resolve("deepseek-v3.1", environment={"DEEPSEEK_BASE_URL": "http://10.0.0.1/v1"})
    assert one.base_url == "http://10.0.0.1/v1"
    assert resolve("gpt-4o-mini")[0].api_version
    (two,) = resolve("gpt-4o-mini", environment=ENVIRONMENT | {"AZURE_OPENAI_API_VERSION": "2030-01-01"})
    assert two.api_version == "2030-01-01"


@pytest.mark.parametrize("value", ["", "  ", "mine.openai.azure.com", "https://me:pw@host", "https://[bad"])
def test_endpoint_that_is_missing_or_wrong_is_spelt_as_its_variable(value: str) -> None:
    (one,) = resolve("gpt-4o-mini", environment={"AZURE_OPENAI_ENDPOINT": value})
    assert one.base_url == "$AZURE_OPENAI_ENDPOINT"


def test_simulated_deployment_keeps_its_url_form() -> None:
    azure = simulated(resolve("DeepSeek-V3-0324")[1], "http://127.0.0.1:8000/")
    assert chat_url(azure).startswith(
        "http://127.0.0.1:8000/openai/deployments/DeepSeek-V3-0324-2/chat/completions?api-version="
    )
    for url in ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/"):
        other = simulated(resolve("kimi-k2")[0], url)
        assert chat_url(other) == "http://127.0.0.1:8000/v1/chat/completions"
        assert other.simulated
        assert replace(other, simulated=False, base_url="https://lab/v1") == resolve("kimi-k2")[0]


def test_any_model_can_be_asked_at_any_endpoint() -> None:
    entry = load_catalog().adhoc("any/name", "http://127.0.0.1:1234/v1", "MY_KEY")
    (one,) = deployments_of(
        entry, n_prompt_types=3, rate_mode="adaptive", environment={"OPENAI_BASE_URL": "http://other/v1"}
    )
    assert (one.name, one.model, one.api_model) == ("any/name",) * 3
    assert (one.base_url, one.key_names, one.workers) == ("http://127.0.0.1:1234/v1", ("MY_KEY",), 8)


def test_adhoc_model_without_url_or_key_uses_openai_variables() -> None:
    entry = load_catalog().adhoc("gpt-x")
    options = {"n_prompt_types": 1, "rate_mode": "fixed"}
    (own,) = deployments_of(entry, environment={"OPENAI_BASE_URL": "http://other/v1"}, **options)  # type: ignore[arg-type]
    (default,) = deployments_of(entry, environment={}, **options)  # type: ignore[arg-type]
    assert (own.base_url, own.key_names, own.workers) == ("http://other/v1", ("OPENAI_API_KEY",), 4)
    assert default.base_url == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    "url", ["localhost:1234", "ftp://host", "http://", "http://h/v1/chat/completions", "http://h:x"]
)
def test_adhoc_endpoint_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        load_catalog().adhoc("m", url)


def test_key_given_in_place_of_its_name_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError, match="--api-key-env") as caught:
        load_catalog().adhoc("m", "http://h/v1", "sk-very-secret")
    assert "very" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("deepseek-v3-0324", "'DeepSeek-V3-0324'"),
        ("gpt-4o-mni", "'gpt-4o-mini'"),
        ("QWEN2.5-72B-INSTRUCT", "'qwen2.5-72b-instruct'"),
        ("zzz", "known: DeepSeek-R1-0528"),
    ],
)
def test_unknown_model_is_told_with_the_nearest_names(name: str, suggested: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_catalog().model(name)
    assert repr(name) in str(caught.value)
    assert suggested in str(caught.value)


def test_user_file_adds_a_family_and_a_model(write_catalog: WriteCatalog) -> None:
    mine = write_catalog("""
        [families.local]
        provider = "vllm"
        api = "openai"
        base_url = "http://127.0.0.1:8001/v1"
        key_names = ["LOCAL_KEY"]
        workers = 16
        qps = 50
        [models."llama-3.1"]
        family = "local"
        api_model = "meta/llama-3.1"
        temperature = 0.7
        extra = { prefix_cache = true, top_k = 5 }
        instances = [
            { name = "left", qps = 30 },
            { name = "right", base_url = "http://127.0.0.1:8002/v1", workers = 4 },
        ]
    """)
    left, right = resolve("llama-3.1", mine, n_prompt_types=3, rate_mode="fixed")
    assert (left.name, left.api_model, left.qps, left.workers) == ("left", "meta/llama-3.1", 30, 16)
    assert (right.base_url, right.qps, right.workers) == ("http://127.0.0.1:8002/v1", 50, 4)
    sampling = load_catalog(mine).model("llama-3.1").sampling
    assert sampling == Sampling(temperature=0.7, max_tokens=2048, extra={"prefix_cache": True, "top_k": 5})


def test_user_file_overrides_single_fields_and_leaves_the_rest(write_catalog: WriteCatalog) -> None:
    mine = write_catalog("[families.ideallab_open]\nqps = 3\n[models.kimi-k2]\nmax_tokens = 99")
    assert resolve("qwen2.5-3b-instruct", mine)[2].qps == 3
    assert resolve("qwen2.5-3b-instruct", mine)[2].name == "qwen-key2"
    assert load_catalog(mine).model("kimi-k2").sampling.max_tokens == 99


def test_endpoint_of_one_model_is_not_moved_by_its_familys_variable(write_catalog: WriteCatalog) -> None:
    mine = write_catalog('[models.own]\nfamily = "azure_closed"\nbase_url = "https://second.azure.com"')
    assert resolve("own", mine)[0].base_url == "https://second.azure.com"


GENERIC = '[models.x]\nfamily = "generic"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[models", "is not valid TOML"),
        ("families = 3", "[families] must be a table"),
        ("[model.x]\nfamily = 'generic'", "unknown table 'model'; did you mean 'models'?"),
        ("[models]\nx = 3", "[models.x] must be a table"),
        ("[models.x]\nqps = 3", "[models.x] field 'family' is missing"),
        ("[models.x]\nfamily = 'azur_open'", "unknown family 'azur_open'; did you mean 'azure_open'"),
        ("[models.qwen2.5-7b]\nfamily = 'generic'", "needs quotes"),
        ("[families.f]\nprovider = 'p'\n[models.x]\nfamily = 'f'", "[families.f] field 'api' is missing"),
        (GENERIC + "worker = 3", "[models.x] unknown field 'worker'; did you mean 'workers'"),
        (GENERIC + "workers = 0", "[models.x] workers must be a whole number from 1"),
        (GENERIC + "workers = true", "workers must be"),
        (GENERIC + "workers = { adaptive = 3 }", "workers must be"),
        (GENERIC + "workers = { adaptive = 3, fixed = 2.5 }", "workers must be"),
        (GENERIC + "qps = 0", "qps must be a number above 0"),
        (GENERIC + "qps = -1", "qps must be"),
        (GENERIC + "qps = nan", "qps must be"),
        (GENERIC + "qps = inf", "qps must be"),
        (GENERIC + "qps = '5'", "qps must be"),
        (GENERIC + "api = 'anthropic'", "api must be 'openai' or 'azure'"),
        (GENERIC + "api = 'azure'", "field 'api_version' is missing"),
        (GENERIC + "base_url = 'localhost'", "base_url must start with http:// or https://"),
        (GENERIC + "key_names = 'KEY'", "key_names must be a list"),
        (GENERIC + "key_names = ['sk-1-secret']", "key_names must name an environment variable"),
        (GENERIC + "prompt_multiplier = 'yes'", "prompt_multiplier must be true or false"),
        (GENERIC + "temperature = 3", "temperature must be"),
        (GENERIC + "max_tokens = 1.5", "max_tokens must be a whole number"),
        (GENERIC + "omit = ['messages']", "omit must be"),
        (GENERIC + "extra = { stream = true }", "extra must not set 'stream'"),
        (GENERIC + "extra = { day = 2026-01-01 }", "extra must hold nothing but"),
        (GENERIC + "extra = { big = 99999999999999999999 }", "extra must hold nothing but"),
        (GENERIC + "instances = []", "instances must be a list"),
        (GENERIC + "instances = [{ qps = 3 }]", "instances item 1: field 'name' is missing"),
        (GENERIC + "instances = [{ name = 'a' }, { name = 'a' }]", "the same name"),
        (GENERIC + "instances = [{ name = 'a', qsp = 1 }]", "item 1: unknown field 'qsp'; did you mean 'qps'"),
        (GENERIC + "provider = ''", "provider must be a text"),
    ],
)  # fmt: skip
def test_wrong_catalog_is_told_in_one_line_with_its_place(write_catalog: WriteCatalog, text: str, told: str) -> None:
    mine = write_catalog(text)
    with pytest.raises(UsageError) as caught:
        load_catalog(mine)
    assert told in str(caught.value)
    assert str(mine) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_catalog_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(UsageError, match="cannot be read"):
            load_catalog(path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not valid TOML"):
        load_catalog(tmp_path / "binary.toml")
