"""Where keys come from, what is said when they are missing, and that they never show."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from providers.catalog import deployments_of, load_catalog, simulated
from providers.keys import Environment, Secret, find_key, missing_message, redact
from trials.errors import UsageError
from trials.words import Deployment

Make = Callable[..., Deployment]
LIST = "IDEALLAB_API_KEYS"


def revealed(deployment: Deployment, environment: dict[str, str]) -> str | None:
    key = find_key(deployment, environment)
    return key.secret.reveal() if key else None


def test_first_name_that_is_set_wins(deployment_with: Make) -> None:
    environment = {"IDEALLAB_API_KEY_0": "own", LIST: "a,b,c"}
    key = find_key(deployment_with(), environment)
    assert key is not None
    assert (key.name, key.secret.reveal()) == ("IDEALLAB_API_KEY_0", "own")


def test_item_of_a_comma_list_is_found_by_its_number(deployment_with: Make) -> None:
    environment = {LIST: "a, b ,,d"}
    found = [revealed(deployment_with(key_names=(f"{LIST}#{number}",)), environment) for number in range(5)]
    assert found == ["a", "b", None, "d", None]


@pytest.mark.parametrize("value", ["", "   ", "\t\n"])
def test_blank_key_counts_as_not_set(deployment_with: Make, value: str) -> None:
    assert find_key(deployment_with(), {"IDEALLAB_API_KEY_0": value}) is None
    assert revealed(deployment_with(), {"IDEALLAB_API_KEY_0": value, LIST: "next"}) == "next"


@pytest.mark.parametrize(
    "value", ["sk-hidden\n", " sk-hidden", "sk hidden", "sk-hidden\r\nX: y", "sk-hidden-é", "ключ"]
)
def test_key_that_cannot_be_sent_is_told_by_its_variable_and_not_shown(deployment_with: Make, value: str) -> None:
    with pytest.raises(UsageError, match="IDEALLAB_API_KEY_0") as caught:
        find_key(deployment_with(), {"IDEALLAB_API_KEY_0": value})
    assert "hidden" not in str(caught.value)


def test_simulated_deployment_needs_no_key_and_gets_one_of_its_own(deployment_with: Make) -> None:
    first, second = (deployment_with(name=name, simulated=True) for name in ("qwen-key0", "qwen-key1"))
    assert revealed(first, {"IDEALLAB_API_KEY_0": "real"}) == "sim-qwen-key0"
    assert revealed(second, {}) == "sim-qwen-key1"


def test_missing_keys_and_endpoints_are_named_once_each_with_the_way_out() -> None:
    deployments = [
        deployment
        for model in ("qwen2.5-72b-instruct", "qwen2.5-7b-instruct", "gpt-4o-mini")
        for deployment in deployments_of(
            load_catalog().model(model), n_prompt_types=1, rate_mode="fixed", environment={}
        )
    ]
    message = missing_message(deployments, {"IDEALLAB_API_KEY_1": "k"})
    for name in ("IDEALLAB_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "IDEALLAB_API_KEY_2"):
        assert message.count(name) == 1
    assert "item 3 of IDEALLAB_API_KEYS" in message
    assert "IDEALLAB_API_KEY_1" not in message
    assert "--simulate" in message
    assert "\n" not in message


def test_wrong_endpoint_is_told_by_its_variable() -> None:
    environment = {"AZURE_OPENAI_ENDPOINT": "mine.azure.com", "AZURE_OPENAI_API_KEY": "k"}
    deployments = deployments_of(
        load_catalog().model("gpt-4o-mini"), n_prompt_types=1, rate_mode="fixed", environment=environment
    )
    assert "AZURE_OPENAI_ENDPOINT (endpoint of azure) must start with http" in missing_message(deployments, environment)


def test_nothing_is_missing_when_all_is_set_or_simulated() -> None:
    entry = load_catalog().model("qwen2.5-72b-instruct")
    environment = {"IDEALLAB_BASE_URL": "https://lab/v1", LIST: "a,b,c"}
    full = deployments_of(entry, n_prompt_types=1, rate_mode="fixed", environment=environment)
    assert missing_message(full, environment) == ""
    bare = deployments_of(entry, n_prompt_types=1, rate_mode="fixed", environment={})
    assert missing_message(bare, {}) != ""
    assert missing_message([simulated(one, "http://127.0.0.1:1") for one in bare], {}) == ""


def test_process_environment_lies_over_the_dotenv_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("ONE_KEY=file\nTWO_KEY='file two'\nBARE\n")
    monkeypatch.setenv("ONE_KEY", "process")
    environment = Environment.read(path)
    assert (environment["ONE_KEY"], environment["TWO_KEY"]) == ("process", "file two")
    assert "BARE" not in environment


def test_missing_dotenv_file_is_fine_and_an_unreadable_one_is_told(tmp_path: Path) -> None:
    assert "PATH" in Environment.read(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"A=\xff\xfe")
    for path in (tmp_path, tmp_path / "binary"):
        with pytest.raises(UsageError, match="cannot be read"):
            Environment.read(path)


def test_no_secret_shows_in_any_text_or_pickle(deployment_with: Make) -> None:
    environment = Environment({"IDEALLAB_API_KEY_0": "sk-hidden"})
    key = find_key(deployment_with(), environment)
    assert key is not None
    shown = f"{key} {key!r} {key.secret} {key.secret!r} {environment} {environment!r} {[key.secret]}"
    assert "hidden" not in shown
    assert shown.count("****") >= 4
    with pytest.raises(TypeError):
        pickle.dumps(key.secret)


def test_redact_hides_every_occurrence() -> None:
    assert redact("a sk-1 b sk-1, sk-2", [Secret("sk-1"), Secret("sk-2")]) == "a **** b ****, ****"
