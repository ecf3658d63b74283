"""The table of simulated models, and files that change it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from simulator.models import load_models
from trials.errors import UsageError
from workflows.dialects import DIALECTS

CATALOGUE = (
    *("DeepSeek-V3-0324", "DeepSeek-R1-0528", "Llama-3.3-70B-Instruct", "deepseek-v3.1"),
    *(f"qwen2.5-{size}b-instruct" for size in (72, 32, 14, 7, 3)),
    *("gpt-4o-mini", "gpt-5-mini", "o3-0416-global", "gemini-2.5-flash-06-17", "kimi-k2", "claude_sonnet4"),
)


def test_every_model_of_the_catalogue_has_a_skill_of_its_own() -> None:
    models = load_models(None, DIALECTS)
    assert set(models.names) == set(CATALOGUE)
    assert len({models.get(name).skill for name in CATALOGUE}) == len(CATALOGUE)


def test_smaller_qwen_models_are_less_skilled_in_everything() -> None:
    models = load_models(None, DIALECTS)
    skills = [models.get(f"qwen2.5-{size}b-instruct").skill for size in (72, 32, 14, 7, 3)]
    for better, worse in pairwise(skills):
        assert better.p_right > worse.p_right
        assert better.p_follow > worse.p_follow
        assert better.p_recover > worse.p_recover
        assert better.p_arguments > worse.p_arguments
        assert better.answering > worse.answering
        assert better.p_judge > worse.p_judge


def test_deployment_name_finds_its_model_and_an_unknown_name_the_default() -> None:
    models = load_models(None, DIALECTS)
    assert models.get("DeepSeek-V3-0324-2") == models.get("DeepSeek-V3-0324")
    assert models.get("kimi-k20") == models.get("never-heard-of") == models.get("default")


def test_file_changes_some_fields_and_adds_models(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text('["kimi-k2"]\ndialect = "tag"\n[new]\np_right = 1\n')
    built_in, models = load_models(None, DIALECTS), load_models(path, DIALECTS)
    assert models.get("kimi-k2").dialect == "tag"
    assert models.get("kimi-k2").skill == built_in.get("kimi-k2").skill
    assert models.get("new").skill.p_right == 1.0
    assert models.get("new").dialect == built_in.get("default").dialect


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[x]\np_right = 2", "x: p_right = 2 is not a number from 0 to 1"),
        ("[x]\np_right = true", "p_right = True"),
        ("[x]\np_wrong = 0", "'p_wrong' is none of dialect, reasoning, p_right"),
        ('[x]\ndialect = "latin"', "dialect 'latin' is none of"),
        ('[x]\nreasoning = "loud"', "reasoning 'loud' is none of field, tags"),
        ("[x]\ndialect = [1]", "dialect [1] is none of"),
        ("x = 1", "table"),
        ("[", "not TOML"),
    ],
)
def test_mistake_in_a_file_names_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_models(path, DIALECTS)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)
