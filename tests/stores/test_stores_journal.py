"""The journal survives what a crash leaves behind, and tells what it cannot read."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.journal import JournalWriter, decode, encode, read_events, replay, written_bytes
from trials.errors import StoreError

ROW = {"status": "scored", "outcome": "full"}


def written(path: Path, *events: dict) -> Path:
    journal = JournalWriter(path)
    for event in events:
        journal.append(event)
    journal.close()
    return path


def events_of(path: Path) -> list[dict]:
    return [event for _, event in read_events(path)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_any_event_comes_back_as_it_was(value):
    line = encode({"kind": "x", "value": value})
    assert line.count(b"\n") == 1
    assert decode(line)["value"] == value


@given(st.binary(min_size=1, max_size=1), st.data())
def test_a_changed_byte_is_noticed(byte, data):
    line = encode({"kind": "ended", "number": 7, "text": "some words"})
    place = data.draw(st.integers(0, len(line) - 2))
    damaged = line[:place] + byte + line[place + 1 :]
    if damaged != line:
        with pytest.raises(ValueError, match=r"."):
            decode(damaged)


def test_offsets_lead_back_to_their_lines(tmp_path):
    path = written(tmp_path / "j", *({"kind": "begun", "number": n} for n in range(5)))
    offsets = [offset for offset, _ in read_events(path)]
    assert offsets == [n * (path.stat().st_size // 5) for n in range(5)]
    assert [event["number"] for _, event in read_events(tmp_path / "j", offsets[3])] == [3, 4]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_torn_last_line_is_dropped_on_replay_and_on_reopening(tmp_path, cut):
    path = written(tmp_path / "j", {"kind": "begun", "number": 1}, {"kind": "begun", "number": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    told = []
    assert [event["number"] for _, event in read_events(path, 0, lambda *x: told.append(x))] == [1]
    assert told == []
    written(path, {"kind": "begun", "number": 3})
    assert [event["number"] for event in events_of(path)] == [1, 3]


def test_damaged_line_is_told_and_the_rest_is_read(tmp_path):
    path = written(tmp_path / "j", *({"kind": "begun", "number": n} for n in range(3)))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * (len(lines[1]) - 1) + b"\n" + lines[2])
    told = []
    numbers = [event["number"] for _, event in read_events(path, 0, lambda *x: told.append(x))]
    assert numbers == [0, 2]
    assert told == [(len(lines[0]), "checksum does not match")]


def test_a_missing_journal_has_no_events(tmp_path):
    assert events_of(tmp_path / "none") == []


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path):
    first = JournalWriter(tmp_path / "j")
    with pytest.raises(StoreError, match="another process"):
        JournalWriter(tmp_path / "j")
    first.close()
    JournalWriter(tmp_path / "j").close()


def test_threads_write_whole_lines(tmp_path):
    journal = JournalWriter(tmp_path / "j")

    def write(thread):
        for number in range(200):
            journal.append({"kind": "begun", "number": number, "thread": thread, "text": "x" * 500})

    threads = [threading.Thread(target=write, args=(one,)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    seen = {(event["thread"], event["number"]) for event in events_of(tmp_path / "j")}
    assert len(seen) == 1600


def test_everything_told_before_a_kill_is_there_after_it(tmp_path):
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom stores.journal import JournalWriter\n"
        "j = JournalWriter(Path(sys.argv[1]))\n"
        "for n in range(100000):\n"
        "    j.append({'kind': 'begun', 'number': n})\n"
        "    os.write(1, b'%d\\n' % n)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "j")], stdout=subprocess.PIPE)
    told = [int(process.stdout.readline()) for _ in range(500)]
    process.kill()
    told += [int(line) for line in process.stdout.read().split()]
    process.wait()
    numbers = [event["number"] for event in events_of(tmp_path / "j")]
    assert numbers[: len(told)] == told
    assert len(numbers) <= len(told) + 1


def test_a_full_disk_is_told_and_leaves_whole_lines_only(tmp_path):
    import resource
    import signal

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = JournalWriter(tmp_path / "j")
    journal.append({"kind": "begun", "number": 1})
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "j").stat().st_size + 30, limit[1]))
        with pytest.raises(StoreError, match="full"):
            journal.append({"kind": "begun", "number": 2, "text": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, old)
    with pytest.raises(StoreError, match="full"):
        journal.append({"kind": "begun", "number": 3})
    with pytest.raises(StoreError, match="full"):
        journal.sync()
    with pytest.raises(StoreError, match="full"):
        journal.close()
    assert [event["number"] for event in events_of(tmp_path / "j")] == [1]
    written(tmp_path / "j", {"kind": "begun", "number": 3})
    assert [event["number"] for event in events_of(tmp_path / "j")] == [1, 3]


def completion(number: int, index: int) -> dict:
    return {"kind": "completion", "number": number, "index": index, "completion": {"text": f"{number}.{index}"}}


def test_replay_gives_endings_and_the_completions_of_the_others(tmp_path):
    path = written(
        tmp_path / "j",
        {"kind": "begun", "number": 1},
        completion(1, 0),
        {"kind": "begun", "number": 2},
        completion(2, 0),
        {"kind": "ended", "number": 1, "row": ROW},
        completion(2, 1),
        {"kind": "begun", "number": 9},
    )
    endings, completions = replay(path, {1, 2})
    assert endings == {1: "full"}
    assert completions == {2: [{"text": "2.0"}, {"text": "2.1"}]}


def test_a_trial_asked_again_keeps_its_paid_replies_and_is_not_ended(tmp_path):
    path = written(
        tmp_path / "j",
        {"kind": "begun", "number": 1},
        completion(1, 0),
        {"kind": "ended", "number": 1, "row": {"status": "provider_error", "outcome": None}},
        {"kind": "begun", "number": 1},
        completion(1, 0),
        completion(1, 1),
    )
    endings, completions = replay(path, {1})
    assert endings == {}
    assert completions == {1: [{"text": "1.0"}, {"text": "1.1"}]}


def test_an_ending_of_an_earlier_run_does_not_count_for_a_trial_asked_again(tmp_path):
    failed = {"kind": "ended", "number": 1, "row": {"status": "provider_error", "outcome": None}}
    path = written(tmp_path / "j", {"kind": "begun", "number": 1}, completion(1, 0), failed)
    since = written_bytes(path)
    assert replay(path, {1}) == ({1: "provider_errors"}, {1: [{"text": "1.0"}]})
    assert replay(path, {1}, since) == ({}, {})
    path.write_bytes(path.read_bytes() + b'{"torn')
    assert written_bytes(path) == since
    written(path, failed)
    assert replay(path, {1}, since)[0] == {1: "provider_errors"}
    assert written_bytes(tmp_path / "none") == 0
