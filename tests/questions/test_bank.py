"""A bank is checked once, written once, and read at random by any process and thread."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from questions.bank import MOST_DIFFICULTIES, MOST_SUBJECTS, BankSource, open_bank, prepare_bank
from trials.errors import StoreError, UsageError

ROOT = Path(__file__).resolve().parents[2]


def some_rows(count=10):
    return [
        {"id": f"q{n}", "question": f"{n} + 1 = ?", "answer": n + 1, "subject": "odd" if n % 2 else "even", "hint": n}
        for n in range(count)
    ]


@pytest.fixture
def place(tmp_path):
    class Place:
        """Writes banks as JSON Lines, and prepares them below ``banks``."""

        directory = tmp_path / "banks"

        def write(self, rows, name="exam.jsonl"):
            (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
            return str(tmp_path / name)

        def prepare(self, rows, name="exam.jsonl", **settings):
            self.told = []
            source = BankSource(path=self.write(rows, name), **settings)
            return prepare_bank(source, self.directory, self.told.append)

        def refused(self, rows, **settings):
            with pytest.raises(UsageError) as refused:
                self.prepare(rows, **settings)
            assert not self.directory.exists() or list(self.directory.iterdir()) == []
            assert "\n" not in str(refused.value)
            return str(refused.value)

    return Place()


def test_a_bank_gives_back_every_question(place):
    bank = place.prepare(some_rows(), system="Be brief.")
    question = bank.question(3)
    assert (question.question_id, question.text, question.target, question.truth) == ("q3", "3 + 1 = ?", "4", "4")
    assert (question.subject, question.difficulty, question.fields) == ("odd", "any", {"subject": "odd", "hint": 3})
    assert bank.messages(question) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "3 + 1 = ?"},
    ]
    assert (len(bank), bank.name, bank.has_targets, bank.has_choices) == (10, "exam", True, False)
    assert bank.cells == {("even", "any"): 5, ("odd", "any"): 5}
    assert [bank.cell_of(number) for number in (0, 1)] == [("even", "any"), ("odd", "any")]
    assert [bank.id_of(number) for number in range(10)] == [row["id"] for row in some_rows()]
    assert len({bank.key(number) for number in range(10)}) == 10
    for number in (-1, 10):
        with pytest.raises(IndexError):
            bank.key(number)


def test_another_process_needs_the_file_alone(place, tmp_path):
    example = place.write([{"question": "1 + 1 = ?", "answer": 2}], "examples.jsonl")
    bank = place.prepare(
        some_rows(),
        template="{{ examples[0].question }} {{ examples[0].answer }}; {{ question }} ({{ hint }})",
        template_name="own.j2",
        examples_path=example,
        examples_count=1,
    )
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()
    program = (
        "import sys, json; from pathlib import Path; from questions.bank import open_bank\n"
        "bank = open_bank(Path(sys.argv[1]))\n"
        "print(json.dumps([bank.digest, bank.key(4), bank.messages(bank.question(4))[0]['content'], *bank.remarks()]))"
    )
    path = place.directory / f"{bank.digest}.arrow"
    told = subprocess.run([sys.executable, "-c", program, path], cwd=ROOT, capture_output=True, text=True, check=True)
    digest, key, content, *remarks = json.loads(told.stdout)
    assert (digest, key, content) == (bank.digest, bank.key(4), "1 + 1 = ? 2; 4 + 1 = ? (4)")
    assert remarks == bank.remarks()
    assert "10 questions" in remarks[0]
    assert "own.j2, 1 examples" in remarks[1]


def test_many_blocks_are_read_alike_by_many_threads(place):
    rows = [{"question": f"{n} " + "x" * (n % 700), "choices": ["a", f"é{n}"], "answer": n % 2} for n in range(10_000)]
    bank = place.prepare(rows)

    def wrong(number):
        question = bank.question(number)
        row = rows[number]
        same = (question.question_id, question.text, list(question.choices), question.target) == (
            str(number), row["question"], row["choices"], "AB"[row["answer"]],
        )  # fmt: skip
        return not same or not bank.messages(question)[0]["content"].startswith(row["question"] + "\n\nA. a\nB. é")

    numbers = random.Random(1).sample(range(10_000), 4_000)
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(wrong, numbers))


def test_the_same_content_has_the_same_digest_and_is_written_once(place):
    bank = place.prepare(some_rows())
    (path,) = place.directory.iterdir()
    before = path.stat()
    again = place.prepare(some_rows())
    assert again.digest == bank.digest == path.stem
    assert path.stat().st_ino == before.st_ino
    assert stat.S_IMODE(before.st_mode) == 0o600
    assert [entry.name for entry in place.directory.iterdir()] == [path.name]


def test_the_form_of_the_file_makes_no_difference(place, tmp_path):
    bank = place.prepare(some_rows())
    pq.write_table(pa.Table.from_pylist(some_rows()), tmp_path / "exam.parquet")
    other = prepare_bank(BankSource(path=str(tmp_path / "exam.parquet")), place.directory, print)
    assert (other.digest, other.input_digest) == (bank.digest, bank.input_digest)
    assert (other.source, bank.source) == (str(tmp_path / "exam.parquet"), str(tmp_path / "exam.jsonl"))
    assert bank.question(9) == other.question(9)  # the file that was replaced stays readable


@pytest.mark.parametrize(
    "change",
    [
        {"template_name": "math"},
        {"template": "{{ question }}!", "template_name": "x"},
        {"system": "s"},
        {"limit": 9},
        {"columns": {"answer": "hint"}},
        {"columns": {"subject": ""}},
        {"columns": {"simulated_truth": "hint"}},
    ],
)
def test_everything_that_decides_what_is_asked_or_marked_changes_the_digest(place, change):
    assert place.prepare(some_rows(), **change).digest != place.prepare(some_rows()).digest


@pytest.mark.parametrize("field", ["id", "question", "answer", "subject"])
def test_a_key_changes_with_its_row_and_others_stay(place, field):
    rows = some_rows()
    rows[1][field] = "other"
    one, other = place.prepare(some_rows()), place.prepare(rows)
    assert [one.key(n) == other.key(n) for n in range(3)] == [True, False, True]


def test_a_damaged_prepared_bank_is_made_anew(place):
    bank = place.prepare(some_rows())
    path = place.directory / f"{bank.digest}.arrow"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(StoreError, match="damaged"):
        open_bank(path)
    assert place.prepare(some_rows()).question(2) == open_bank(path).question(2)


def test_a_bank_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StoreError, match="--questions"):
        open_bank(tmp_path / "x.arrow")


def test_a_directory_that_cannot_be_written_is_told(place, tmp_path):
    (tmp_path / "banks").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"):
        place.prepare(some_rows())


def test_what_a_killed_process_left_is_removed_after_a_day(place):
    place.directory.mkdir()
    old, young = place.directory / ".bank-old.tmp", place.directory / ".bank-young.tmp"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    place.prepare(some_rows())
    assert (old.exists(), young.exists()) == (False, True)


def test_an_id_that_is_there_twice_is_refused_with_both_rows(place):
    rows = [*some_rows(5000), {"id": "q17", "question": "again"}]
    told = place.refused(rows)
    assert "the id 'q17'" in told
    assert "exam.jsonl, line 18 and " in told
    assert "exam.jsonl, line 5001" in told
    assert place.prepare(rows, columns={"id": ""}).id_of(5000) == "5000"


def test_empty_questions_are_counted_and_left_out_on_request(place):
    rows = some_rows(4)
    rows[1]["question"], rows[3]["question"] = None, " \n"
    told = place.refused(rows)
    assert "2 rows without a question" in told
    assert "exam.jsonl, line 2" in told
    assert "--skip-invalid" in told
    for row in rows:
        del row["id"]
    bank = place.prepare(rows, skip_invalid=True)
    assert [question.question_id for question in bank] == ["0", "2"]
    assert bank.skipped == 2
    assert any("left out 2 rows" in note for note in place.told)


def test_an_empty_bank_is_refused(place):
    assert "holds no questions" in place.refused([])
    assert "holds no questions" in place.refused([{"question": ""}], skip_invalid=True)


def test_a_limit_takes_the_first_questions_only(place):
    rows = [*some_rows(3), {"id": "q0", "question": "the same id"}, {"id": "x", "question": 5}]
    assert len(place.prepare(rows, limit=3)) == 3
    assert len(place.prepare(some_rows(3), limit=5)) == 3


def test_rows_without_an_answer_are_counted(place):
    bank = place.prepare([{"question": "a", "answer": "1"}, {"question": "b", "answer": None}])
    assert bank.targets == 1
    assert bank.question(1).target is None
    assert "1 of 2 questions have no answer to mark against" in place.told
    assert not place.prepare([{"question": "a"}]).has_targets


def test_half_a_surrogate_pair_is_refused_with_its_row(place):
    assert "exam.jsonl, line 2" in place.refused([{"question": "a"}, {"question": "\ud83d"}])
    assert "exam.jsonl, line 1" in place.refused([{"question": "a", "other": "\ud83d"}])
    assert "exam.jsonl, line 1" in place.refused([{"question": "a", "answer": "\ud83d"}])


@pytest.mark.parametrize(
    ("role", "column", "most"), [("subject", "type", MOST_SUBJECTS), ("difficulty", "level", MOST_DIFFICULTIES)]
)
def test_a_column_with_a_value_per_row_is_no_group(place, role, column, most):
    rows = [{"question": f"{n}?", column: f"v{n}"} for n in range(most + 1)]
    bank = place.prepare(rows, template="{{ question }} {{ " + column + " }}", template_name="t")
    assert bank.cells == {("exam", "any"): most + 1}
    assert bank.messages(bank.question(most))[0]["content"] == f"{most}? v{most}"
    assert any(f"column '{column}'" in note and role in note for note in place.told)
    assert len(place.prepare(rows[:-1]).cells) == most


def test_the_template_fits_the_bank_unless_one_is_named(place):
    with_choices = [{"question": "?", "choices": ["a", "b"], "answer": "B"}]
    assert place.prepare(with_choices).template_name == "choice"
    assert place.prepare(with_choices).has_choices
    assert place.prepare(with_choices, template_name="plain").template_name == "plain"
    assert place.prepare(some_rows()).template_name == "plain"


def test_a_template_that_fails_is_told_with_its_line_and_row(place):
    told = place.refused(some_rows(), template="a\n{{ nothing }}", template_name="own.j2")
    assert told.startswith("template own.j2, line 2: 'nothing' is undefined")
    assert told.endswith("exam.jsonl, line 1)")
    rows = some_rows(3)
    del rows[2]["hint"]
    assert "exam.jsonl, line 3)" in place.refused(rows, template="{{ hint }}", template_name="own.j2")
    assert "no built-in template 'poem'" in place.refused(some_rows(), template_name="poem")


def test_a_template_that_says_nothing_is_refused(place):
    assert "makes an empty prompt" in place.refused(some_rows(), template="{# nothing #} ", template_name="own.j2")


def test_the_prompt_at_run_time_is_the_one_that_was_checked(place, tmp_path):
    from datetime import date

    rows = [{"question": "?", "day": date(2024, 1, 2), "size": 1.5, "big": 2**63 + 5, "raw": b"\xff"}]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(
        [("question", "string"), ("day", pa.date32()), ("size", "float64"), ("big", "uint64"), ("raw", "binary")]
    )), tmp_path / "q.parquet")  # fmt: skip
    source = BankSource(path=str(tmp_path / "q.parquet"), template="{{ day }} {{ size * 2 }} {{ big }} {{ raw }}")
    bank = prepare_bank(source, place.directory, print)
    assert bank.messages(bank.question(0))[0]["content"] == f"2024-01-02 3.0 {2**63 + 5} None"


def test_examples_come_from_another_bank_with_other_columns(place):
    examples = place.write([{"problem": f"e{n}", "solution": n} for n in range(9)], "examples.jsonl")
    rows = [{"text2": "?", "answer": "x"}]
    bank = place.prepare(rows, columns={"question": "text2"}, examples_path=examples, examples_count=2)
    assert bank.messages(bank.question(0))[0]["content"] == "e0\nAnswer: 0\n\ne1\nAnswer: 1\n\n?"
    place.prepare(rows, columns={"question": "text2"}, examples_path=examples, examples_count=20)
    assert any("holds 9 examples, not 20" in note for note in place.told)


def test_examples_that_give_answers_away_are_told(place):
    examples = place.write(some_rows(2), "examples.jsonl")
    place.prepare(some_rows(), examples_path=examples, examples_count=2)
    assert any(note.startswith("2 of the few-shot examples are questions of the bank") for note in place.told)


def test_examples_without_answers_are_refused(place):
    examples = place.write([{"question": "?"}], "examples.jsonl")
    assert "examples.jsonl, line 1 has no answer" in place.refused(some_rows(), examples_path=examples)
    assert place.refused(some_rows(), examples_path="no.csv").startswith("--few-shot no.csv: there is no such file")


def test_whole_messages_are_sent_as_they_are(place):
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    rows = [{"messages": messages, "answer": "1"}]
    bank = place.prepare(rows, template_name="math")
    assert bank.messages(bank.question(0)) == messages
    assert any("template 'math' is not used" in note for note in place.told)


@pytest.mark.parametrize("settings", [{"template": "{{ question }}", "template_name": "t"}, {"system": "s"}])
def test_a_template_for_whole_messages_is_refused(place, settings):
    told = place.refused([{"messages": [{"role": "user", "content": "u"}]}], **settings)
    assert "brings whole messages" in told


def test_batch_parameters_reach_the_bank(place):
    body = {"model": "m", "messages": [{"role": "user", "content": "u"}], "temperature": 0.5}
    bank = place.prepare([{"custom_id": "a", "body": body}])
    assert bank.parameters == {"temperature": 0.5}
    assert bank.id_of(0) == "a"
    other = place.prepare([{"custom_id": "a", "body": {**body, "temperature": 0}}])
    assert other.digest != bank.digest


def test_memory_stays_flat_while_a_large_bank_is_prepared(tmp_path):
    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for number in range(6_000):
            file.write(json.dumps({"question": f"{number} " + "word " * 4_000, "answer": "1"}) + "\n")
    program = (
        "import sys, resource; from pathlib import Path; from questions.bank import BankSource, prepare_bank\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "source = BankSource(path=sys.argv[1], limit=400)\n"
        "prepare_bank(source, Path(sys.argv[2]), print); before = peak()\n"
        "prepare_bank(BankSource(path=sys.argv[1]), Path(sys.argv[2]), print); print(peak() - before)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path / "banks"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(told.stdout) < 40 << 10, "KiB more for 120 MB than for 8 MB"
