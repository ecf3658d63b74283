"""The sub-command ``verify`` as a user meets it: what it prints, and its exit codes."""

from __future__ import annotations

import json

import pytest
from sample_specs import spec_of

from commands.options import run_program
from questions.bank import BankSource, prepare_bank
from stores.journal import JournalWriter
from stores.results import open_store, read_store
from stores.run_directory import open_or_create
from ultra_parallel_runner import cli


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a run, its store and a bank, as a user's working directory."""
    monkeypatch.chdir(tmp_path)
    store = open_store(tmp_path / "results", simulated=True, form="parquet")
    run = open_or_create(tmp_path / "logs", spec_of(simulated=True), store.path, fresh=False)
    journal = JournalWriter(run.journal_path(1))
    row = {"trial_key": "k", "status": "scored", "outcome": "full", "model": "m", "prompt_type": "optimal"}
    row |= {"difficulty": "easy", "task_type": "simple_task", "tool_success_rate": 0.8, "variant": "v"}
    row |= {"simulated": True, "ended_at": 1.0}
    journal.append({"kind": "ended", "number": 0, "row": row, "conversation": [], "detail": {}})
    journal.close()
    store.merge([run])
    (tmp_path / "bank.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    prepare_bank(BankSource(path="bank.jsonl"), run.banks_dir, print)
    return tmp_path


def verify(capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        run_program(cli, ["verify", *arguments])
    said = capsys.readouterr()
    return left.value.code, said.out, said.err


def test_sound_results_take_one_line_and_exit_code_0(place, capsys):
    code, said, _ = verify(capsys)
    assert code == 0
    assert said.startswith(f"sound: {place / 'results'}, 1 trials, ")
    assert len(said.splitlines()) == 1


def test_damage_is_told_with_what_to_do_then_mended_then_gone(place, capsys):
    part = place / "results" / "trials" / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    code, said, _ = verify(capsys)
    assert code == 1
    assert f"damaged    {part}: cannot be trusted" in said
    assert "to do: run verify with --repair" in said
    assert said.splitlines()[-1].startswith("DAMAGED: ")
    code, said, _ = verify(capsys, "--repair")
    assert code == 0
    assert f"moved      {part}" in said
    assert "restored   1 rows" in said
    assert verify(capsys)[0] == 0


def test_json_is_one_object(place, capsys):
    (place / "results" / "summary.json").unlink()
    code, said, _ = verify(capsys, "--json")
    told = json.loads(said)
    assert code == 1
    assert told["sound"] is False
    assert [one["severity"] for one in told["findings"]] == ["damaged"]
    code, said, _ = verify(capsys, "--json", "--repair")
    assert (code, json.loads(said)["sound"]) == (0, True)


def test_a_damaged_bank_is_told_and_moved_aside(place, capsys):
    (bank,) = (place / "logs" / "banks").glob("*.arrow")
    bank.write_bytes(bank.read_bytes().replace(b"1 + 1?", b"1 + 2?"))
    code, said, _ = verify(capsys)
    assert code == 1
    assert str(bank.relative_to(place)) in said
    assert verify(capsys, "--repair")[0] == 0
    assert len(list((place / "logs").glob("damaged/*/banks/*.arrow"))) == 1


def test_names_in_files_reach_the_terminal_without_their_control_characters(place, capsys):
    (place / "results" / "\x1b]0;title\x07").write_text("")
    code, said, _ = verify(capsys)
    assert code == 0
    assert "unknown here" in said
    assert "\x1b" not in said


def test_a_store_that_is_gone_comes_back_from_its_runs(place, capsys):
    for path in sorted((place / "results").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    code, said, _ = verify(capsys)
    assert code == 1
    assert "1 ended trials are not merged yet" in said
    assert verify(capsys, "--repair")[0] == 0
    assert len(list(read_store(place / "results").rows())) == 1


def test_a_store_whose_folder_is_gone_is_told(place, capsys):
    (place / "results").rename(place / "elsewhere")
    code, said, _ = verify(capsys)
    assert code == 0
    assert "is not there, but runs are for it" in said
    code, said, _ = verify(capsys, "--results-dir", "elsewhere")
    assert code == 0
    assert said.startswith("sound: elsewhere, 1 trials")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--results-dir", "nowhere"], "--results-dir"),
        (["--results-dir", "logs"], "no results store here"),
        (["--logs-dir", "nowhere"], "--logs-dir"),
        (["--unknown"], "--unknown"),
    ],
)
def test_what_cannot_be_checked_is_a_mistake_of_use(place, capsys, arguments, words):
    code, said, wrong = verify(capsys, *arguments)
    assert code == 2
    assert said == ""
    assert words in wrong
    assert len(wrong.splitlines()) == 1
    assert not (place / "logs" / ".lock").exists()
