"""Every scorer against hand-checked pairs of reply and target, and against what users may get wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from questions.scorers import SCORERS, Scorer, open_scorer
from trials.digest import canonical
from trials.errors import UsageError

PAIRS = [
    json.loads(line) for line in (Path(__file__).parent.parent / "data" / "answer_pairs.jsonl").read_text().splitlines()
]


@pytest.fixture(scope="module")
def opened() -> Iterator[dict[str, Scorer]]:
    scorers: dict[str, Scorer] = {}
    yield scorers
    for scorer in scorers.values():
        scorer.close()


def test_there_are_pairs_for_every_scorer_right_and_wrong():
    assert len(PAIRS) >= 300
    marks = Counter((pair["scorer"], pair["score"]) for pair in PAIRS)
    assert all(marks[name, score] >= 2 for name in SCORERS for score in (0, 1))


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_a_hand_checked_pair_is_marked_as_by_hand(number: int, opened: dict[str, Scorer]):
    pair = PAIRS[number]
    key = json.dumps([pair["scorer"], pair["options"]])
    scorer = opened.get(key) or opened.setdefault(key, open_scorer(pair["scorer"], pair["options"]))
    verdict = scorer.mark(pair["reply"], pair["target"], pair["choices"])
    assert verdict.score == pair["score"], (pair, verdict)
    assert bool(verdict.category) != bool(verdict.score)
    assert verdict.category != "uncheckable"


@pytest.mark.parametrize("name", SCORERS)
def test_a_definition_is_json_and_names_the_scorer(name: str):
    scorer = open_scorer(name, {})
    assert json.loads(canonical(scorer.definition))["scorer"] == name == scorer.name
    scorer.close()
    scorer.close()


def test_options_are_part_of_the_definition():
    given = [("numeric", {"relative": "0.1"}), ("regex", {"pattern": "x"}), ("json", {"mode": "equal"})]
    for name, options in given:
        assert open_scorer(name, options).definition != open_scorer(name, {}).definition


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("code", {}, "sandbox"),
        ("exactly", {}, "choose one of exact, normalised"),
        ("exact", {"case": "no"}, "no option 'case'"),
        ("numeric", {"tolerance": "1"}, "relative, absolute, percent"),
        ("numeric", {"relative": "much"}, "relative"),
        ("numeric", {"absolute": "-1"}, "absolute"),
        ("numeric", {"absolute": "nan"}, "absolute"),
        ("numeric", {"percent": "yes"}, "either or value"),
        ("choice", {"index_base": "2"}, "0 or 1"),
        ("regex", {"pattern": "(unclosed"}, "unclosed"),
        ("math", {"time_limit_s": "0"}, "time_limit_s"),
        ("json", {"mode": "same"}, "subset, equal"),
        ("json", {"schema": "missing.json"}, "missing.json"),
        ("json", {"schema": "{not json"}, "no JSON"),
        ("json", {"schema": '{"type": "nonsense"}'}, "nonsense"),
    ],
)
def test_a_wrong_request_is_refused_and_told(name: str, options: dict[str, str], told: str):
    with pytest.raises(UsageError) as refused:
        open_scorer(name, options)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "target"), [("choice", "Madrid"), ("numeric", "many"), ("json", "{"), ("regex", "("), ("math", " ")]
)
def test_a_label_that_cannot_be_used_is_no_failure_of_the_model(name: str, target: str):
    scorer = open_scorer(name, {})
    assert scorer.mark("A", target, ("Rome", "Paris")).category == "bad_target"
    scorer.close()


def test_a_search_that_would_never_end_is_uncheckable():
    verdict = open_scorer("regex", {}).mark("a" * 5000 + "!", r"^(a|aa)+$")
    assert verdict.category == "uncheckable"


def test_a_schema_pattern_that_would_never_end_is_uncheckable():
    scorer = open_scorer("json", {"schema": json.dumps({"pattern": "^(a|aa)+$"})})
    assert scorer.mark(json.dumps("a" * 5000 + "!"), "").category == "uncheckable"


def test_a_schema_is_never_fetched():
    scorer = open_scorer("json", {"schema": '{"$ref": "http://127.0.0.1:9/schema.json"}'})
    assert scorer.mark("{}", "").category == "uncheckable"


def test_a_schema_is_read_from_a_file(tmp_path: Path):
    path = tmp_path / "schema.json"
    path.write_text('{"required": ["a"]}')
    scorer = open_scorer("json", {"schema": str(path)})
    assert scorer.mark('{"a": 1}', "").score == 1
    assert scorer.mark("{}", "").category == "schema_mismatch"


def test_the_share_of_matched_leaves_is_told():
    verdict = open_scorer("json", {}).mark('{"a": 1, "b": [1, 5]}', '{"a": 1, "b": [1, 2], "c": {"d": null}}')
    assert verdict.detail == {"matched": 2, "leaves": 4, "share": 0.5}


@pytest.mark.parametrize("name", [name for name in SCORERS if name != "regex"])
@pytest.mark.parametrize(
    "part", ["\\boxed{", "\\[", "$", "答案", "1.", "1,", "[", '{"a":', "<think>", "A, ", "\ud83d", "\x00"]
)
def test_replies_made_to_hurt_are_marked_all_the_same(name: str, part: str, opened: dict[str, Scorer]):
    scorer = opened.get(name) or opened.setdefault(name, open_scorer(name, {}))
    target = {"choice": "B", "numeric": "5", "math": "x+1", "json": "[]"}.get(name, "Paris")
    verdict = scorer.mark(part * 20_000, target, ("Rome", "Paris"))
    assert verdict.score == float(name == "none" and part != "<think>")
    assert len(verdict.answer) <= 200
