"""Every form of a bank is read alike, from here or from S3, and bad files are told by name and row."""

from __future__ import annotations

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from questions.formats import read_pieces
from questions.places import find_files, name_of
from questions.reading import BankReader
from trials.errors import UsageError

ROWS = [{"id": "a", "question": "Eins?", "answer": "1"}, {"id": "b", "question": '二?\n, "x"', "answer": "2"}]


def write_jsonl(path, rows=ROWS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path, rows=ROWS, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **settings)


def write_csv(path, rows=ROWS, delimiter=","):
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def read(path, **given):
    return list(BankReader(path=str(path), given=given, subject="s"))


def texts(path, **given):
    return [(question.question_id, question.text, question.target) for question, _ in read(path, **given)]


EXPECTED = [(row["id"], row["question"], row["answer"]) for row in ROWS]


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_forms_hold_the_same_questions(in_folder):
    write_jsonl(in_folder / "q.jsonl")
    (in_folder / "z.jsonl.gz").write_bytes(gzip.compress((in_folder / "q.jsonl").read_bytes()))
    (in_folder / "bom.jsonl").write_bytes(b"\xef\xbb\xbf\n" + (in_folder / "q.jsonl").read_bytes())
    write_parquet(in_folder / "q.parquet")
    write_csv(in_folder / "q.csv")
    write_csv(in_folder / "q.tsv", delimiter="\t")
    for name in ("q.jsonl", "z.jsonl.gz", "bom.jsonl", "q.parquet", "q.csv", "q.tsv", f"file://{in_folder}/q.csv"):
        assert texts(name) == EXPECTED, name


def test_a_folder_is_read_to_the_bottom_in_the_order_of_names(in_folder):
    write_parquet(in_folder / "bank/part-2.parquet", [{"question": "3"}])
    write_parquet(in_folder / "bank/part-1/x.parquet", [{"question": "1"}, {"question": "2"}])
    (in_folder / "bank/_SUCCESS").touch()
    (in_folder / "bank/README.md").write_text("about")
    (in_folder / "bank/.hidden.jsonl").write_text("?")
    assert texts("bank") == [("0", "1", None), ("1", "2", None), ("2", "3", None)]
    assert texts(in_folder / "bank/") == texts("bank")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("bank/*.jsonl", "ab"),
        ("b*/[b-z].jsonl", "b"),
        ("bank/**/*.jsonl", "abc"),
        ("bank/?/c.jsonl", "c"),
        ("./bank/*.jsonl", "ab"),
    ],
)
def test_globs(in_folder, pattern, expected):
    for place in ("a", "b", "d/c"):
        write_jsonl(in_folder / f"bank/{place}.jsonl", [{"question": place[-1]}])
    for path in (pattern, str(in_folder / pattern)):
        assert "".join(text for _, text, _ in texts(path)) == expected
    if "?" not in pattern:  # in a URI that begins the query
        found = texts(f"file://{in_folder}/{pattern.removeprefix('./')}")
        assert "".join(text for _, text, _ in found) == expected


def test_a_file_whose_name_looks_like_a_glob_is_that_file(in_folder):
    write_jsonl(in_folder / "q[1].jsonl", [{"question": "x"}])
    assert texts("q[1].jsonl") == [("0", "x", None)]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/mmlu.test.parquet", "mmlu.test"),
        ("q.jsonl.gz", "q"),
        ("s3://bucket/exam/*.parquet?region=x", "exam"),
        ("banks/mmlu-*.parquet", "mmlu"),
        ("/*", "bank"),
        ("数学 题.csv", "数学-题"),
    ],
)
def test_names_are_short_and_readable(path, name):
    assert name_of(path) == name


def test_numbers_stay_as_they_were_written(in_folder):
    (in_folder / "q.jsonl").write_text('{"question": "?", "answer": 1.50}\n{"question": "?", "answer": 1e400}\n')
    (in_folder / "q.csv").write_text("question,answer,id\n?,1.50,007\n?,1e400,008\n")
    assert [target for _, _, target in texts("q.jsonl")] == ["1.50", "1e400"]
    assert [(name, target) for name, _, target in texts("q.csv")] == [("007", "1.50"), ("008", "1e400")]


def test_an_integer_of_thirty_digits_is_kept_whole(in_folder):
    number = "123456789012345678901234567890"
    (in_folder / "q.jsonl").write_text(f'{{"question": "?", "answer": {number}, "other": {number}}}\n')
    (question, _), *_ = read("q.jsonl")
    assert question.target == number
    assert question.fields == {"other": number}


def test_mmlu_as_it_is_published_is_read(in_folder):
    rows = [{"question": "?", "subject": "law", "choices": ["w", "x", "y", "z"], "answer": 2}]
    write_parquet(in_folder / "mmlu.parquet", rows)
    (question, _), *_ = read("mmlu.parquet")
    assert (question.target, question.choices, question.subject) == ("C", ("w", "x", "y", "z"), "law")


def test_a_question_of_ten_megabytes_is_read_from_every_form(in_folder):
    rows = [{"question": "long " * 2_000_000, "answer": "1"}, {"question": "short", "answer": "2"}]
    write_jsonl(in_folder / "q.jsonl", rows)
    write_parquet(in_folder / "q.parquet", rows)
    write_csv(in_folder / "q.csv", rows)
    for name in ("q.jsonl", "q.parquet", "q.csv"):
        assert [len(text) for _, text, _ in texts(name)] == [10_000_000, 5], name


def test_pieces_stay_small_however_large_the_rows(in_folder):
    write_parquet(in_folder / "q.parquet", [{"question": os.urandom(500_000).hex()} for _ in range(12)])
    (file,) = find_files("q.parquet")
    assert max(len(piece.rows) for piece in read_pieces(file)) <= 4


def batch_line(number, **body):
    messages = [{"role": "user", "content": f"question {number}"}]
    asked = {"model": f"m{number}", "messages": messages, **body}
    return {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": asked, "answer": number}


def test_batch_lines_bring_messages_and_parameters(in_folder):
    write_jsonl(in_folder / "q.jsonl", [batch_line(number, temperature=0.5, max_tokens=9) for number in (1, 2)])
    reader = BankReader(path="q.jsonl", given={}, subject="s")
    first, second = (question for question, _ in reader)
    assert (first.question_id, first.target, first.text) == ("r1", "1", "question 1")
    assert second.messages == ({"role": "user", "content": "question 2"},)
    assert reader.parameters == {"temperature": 0.5, "max_tokens": 9}


def test_batch_lines_that_ask_in_different_ways_are_refused(in_folder):
    write_jsonl(in_folder / "q.jsonl", [batch_line(1, temperature=0), batch_line(2, temperature=0), batch_line(3)])
    with pytest.raises(UsageError) as refused:
        read("q.jsonl")
    assert str(refused.value) == (
        "'temperature' differs between batch lines (0 in q.jsonl, line 1, not given in q.jsonl, line 3); "
        "a run asks in one way: split the file"
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("q.jsonl", b'{"question": "x"}\n{"question": "\xff"}\n', "q.jsonl, line 2 is not UTF-8"),
        ("q.csv", b"question\nx\n\xff\n", "q.csv, line 3 is not UTF-8"),
        ("q.jsonl", '{"question": "x"}\n'.encode("utf-16"), "line 1 is not UTF-8"),
        ("q.jsonl", b'{"question": "x"}\n\n{"questi', "q.jsonl, line 3 is not JSON"),
        ("q.jsonl", b'[{"question": "x"},\n', "jq -c"),
        ("q.jsonl", b'{"question": "x"}\n5\n', "line 2 holds a number, where an object"),
        ("q.jsonl", b'[{"question": "x"}]', "line 1 holds a list, where an object"),
        ("q.jsonl", b'{"question": "x"}\n{"question": 5}\n', "line 2: column 'question' holds a number"),
        ("q.jsonl", b'{"question": "x"}\n{"question": ["y"]}\n', "line 2: column 'question' holds a list"),
        ("q.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("q.csv", b'question,answer\nx,1\n"y\nz",2\nw\n', "line 5 has 1 cells where the first line names 2"),
        ("q.csv", b'question,answer\nx,1\n"y,2\n', "line 3 is not CSV"),
        ("q.csv", b"question,question\nx,1\n", "two columns named 'question'"),
        ("q.parquet", b"PAR1", "damaged or truncated Parquet"),
        ("q.parquet", b"", "damaged or truncated Parquet"),
        ("q.jsonl.gz", gzip.compress(b'{"question": "x"}\n' * 100)[:-12], "damaged or truncated"),
    ],
)
def test_bad_files_are_told_by_name_and_row(in_folder, name, content, words):
    (in_folder / name).write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read(name)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_truncated_parquet_file_is_told(in_folder):
    write_parquet(in_folder / "q.parquet", ROWS * 1000)
    content = (in_folder / "q.parquet").read_bytes()
    (in_folder / "cut.parquet").write_bytes(content[:-100])
    with pytest.raises(UsageError, match=r"^cut\.parquet: damaged or truncated Parquet"):
        read("cut.parquet")


def test_a_parquet_file_that_is_damaged_in_the_middle_is_told(in_folder):
    write_parquet(in_folder / "q.parquet", [{"question": f"number {n}"} for n in range(5000)], compression="zstd")
    content = bytearray((in_folder / "q.parquet").read_bytes())
    content[100:2000] = bytes(1900)
    (in_folder / "q.parquet").write_bytes(content)
    with pytest.raises(UsageError, match=r"^q\.parquet: damaged or truncated Parquet"):
        read("q.parquet")


def test_places_where_no_bank_is(in_folder):
    write_jsonl(in_folder / "mixed/a.jsonl")
    write_parquet(in_folder / "mixed/b.parquet")
    (in_folder / "empty").mkdir()
    (in_folder / "notes").mkdir()
    (in_folder / "notes/a.txt").touch()
    for path, words in {
        "~nobody-of-that-name/q.csv": "cannot be read",
        "nowhere.csv": "there is no such file or folder",
        "*.nothing": "the pattern matches no file",
        "nowhere/*.csv": "cannot be read",
        "empty": "the folder holds no files",
        "notes": "cannot tell the format of a.txt",
        "notes/a.txt": "cannot tell the format of a.txt",
        "mixed": "mixes formats (mixed/a.jsonl, mixed/b.parquet)",
        "https://host/q.csv": "cannot be read",
        "what://host/q.csv": "cannot be read",
    }.items():
        with pytest.raises(UsageError) as refused:
            read(path)
        assert f"--questions {path}" in str(refused.value)
        assert words in str(refused.value)


def test_an_address_with_keys_is_refused_and_not_repeated():
    for address in ("s3://key:s3cr3t@bucket/q.parquet", "abfs://:s3cr3t@account/x/*.csv"):
        with pytest.raises(UsageError, match=r"^--questions: an address with keys") as refused:
            read(address)
        assert "s3cr3t" not in str(refused.value)


def test_files_of_a_folder_must_have_the_same_roles(in_folder):
    write_jsonl(in_folder / "bank/a.jsonl", [{"question": "x", "answer": "1"}])
    write_jsonl(in_folder / "bank/b.jsonl", [{"Question": "x", "Answer": "1"}])
    assert len(read("bank")) == 2
    write_jsonl(in_folder / "bank/c.jsonl", [{"question": "x"}])
    with pytest.raises(UsageError, match=r"bank/c\.jsonl has not the same columns .* differ in answer"):
        read("bank")


@pytest.fixture
def s3(monkeypatch):
    """Moto's S3 with a bucket, where the AWS variables say."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="bucket")
    yield client
    server.stop()


def test_banks_are_read_from_s3(s3, in_folder):
    write_parquet(in_folder / "q.parquet", ROWS[:1])
    write_parquet(in_folder / "r.parquet", ROWS[1:])
    write_jsonl(in_folder / "q.jsonl")
    for name, key in (("q.parquet", "a.parquet"), ("r.parquet", "b 2.parquet"), ("q.jsonl", "deep/q.jsonl")):
        s3.put_object(Bucket="bucket", Key=f"questions/{key}", Body=(in_folder / name).read_bytes())
    assert texts("s3://bucket/questions/*.parquet") == EXPECTED
    assert texts("s3://bucket/questions/*.parquet?region=us-east-1") == EXPECTED
    assert texts("s3://bucket/questions/deep") == EXPECTED
    assert texts("s3://bucket/**/q.jsonl") == EXPECTED
    (_, place), *_ = read("s3://bucket/questions/b 2.parquet")
    assert place == "s3://bucket/questions/b 2.parquet, row 1"
    for path in ("s3://nobucket/q.parquet", "s3://bucket/other.parquet", "s3://nobucket/*.parquet"):
        with pytest.raises(UsageError, match="bucket"):
            read(path)


def test_an_s3_that_cannot_be_reached_is_told(monkeypatch):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name, value in (
        ("ACCESS_KEY_ID", "k"),
        ("SECRET_ACCESS_KEY", "s"),
        ("REGION", "x"),
        ("ENDPOINT_URL", endpoint),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(UsageError) as refused:
        read("s3://bucket/q.parquet")
    assert "--questions s3://bucket/q.parquet cannot be read" in str(refused.value)
    assert "NETWORK_CONNECTION" in str(refused.value)
