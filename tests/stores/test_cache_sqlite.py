"""The reply cache in an SQLite file: bad files, files shared with others, locks and full disks."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from asking_process import ROOT
from redis_servers import until

from stores.reply_cache import open_cache
from trials.errors import UsageError
from trials.words import Completion

KEY = "ab" * 16
GOOD = Completion(text="42")


def ask(cache, key: str) -> Completion:
    return cache.ask_once(key, lambda: GOOD, threading.Event())


def store(path, key: str = KEY, ttl_s: float = 600) -> None:
    cache = open_cache(f"sqlite:{path}", ttl_s=ttl_s, warn=pytest.fail)
    ask(cache, key)
    cache.close()


def test_a_file_of_another_program_keeps_what_it_has(tmp_path):
    path = tmp_path / "shared.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript("PRAGMA user_version = 7; CREATE TABLE replies (x); INSERT INTO replies VALUES (1)")
    store(path)
    with closing(sqlite3.connect(path)) as theirs:
        assert theirs.execute("PRAGMA user_version").fetchone() == (7,)
        assert theirs.execute("SELECT * FROM replies").fetchall() == [(1,)]
    cache = open_cache(f"sqlite:{path}", ttl_s=600, warn=pytest.fail)
    assert set(cache.look_up([KEY])) == {KEY}
    cache.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but dear to somebody\n" * 50)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"notes\.txt"):
        open_cache(f"sqlite:{path}", ttl_s=600, warn=pytest.fail)
    assert path.read_bytes() == before


def test_a_path_that_cannot_be_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "c.db", "/proc/nowhere/c.db"):
        with pytest.raises(UsageError, match="--cache sqlite:"):
            open_cache(f"sqlite:{path}", ttl_s=600, warn=pytest.fail)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "{",
        "[]",
        "null",
        '{"text": "no time"}',
        '{"at": "x"}',
        '{"at": 9e9, "text": 5}',
        '{"at": 9e9, "text": "x", "new": 1}',
        '{"at": 9e9, "text": "x", "tool_calls": [{"id": 1, "name": "n", "arguments": "{}"}]}',
        '{"at": 9e9, "text": "x", "tool_calls": 5}',
        "\x1e\x1f\x1e",
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_value_is_a_miss_and_is_mended(tmp_path, value):
    path, other = tmp_path / "c.db", "cd" * 16
    store(path)
    store(path, other)
    with closing(sqlite3.connect(path)) as link, link:
        link.execute("UPDATE upr_replies_1 SET value = ? WHERE key = ?", (value, KEY))
    cache = open_cache(f"sqlite:{path}", ttl_s=600, warn=pytest.fail)
    assert set(cache.look_up([KEY, other])) == {other}
    assert ask(cache, KEY) == GOOD
    cache.close()
    cache = open_cache(f"sqlite:{path}", ttl_s=600, warn=pytest.fail)
    assert set(cache.look_up([KEY])) == {KEY}
    cache.close()


def test_what_expired_leaves_the_file_when_others_come(tmp_path):
    path = tmp_path / "c.db"
    for number in range(6):
        store(path, f"{number:032x}")
    with closing(sqlite3.connect(path)) as link, link:
        link.execute("UPDATE upr_replies_1 SET expires = 1")
    for number in range(10, 13):
        store(path, f"{number:032x}")
    with closing(sqlite3.connect(path)) as link:
        assert link.execute("SELECT count(*) FROM upr_replies_1").fetchone() == (3,)
        assert link.execute("SELECT count(*) FROM upr_claims_1").fetchone() == (0,)


def test_a_locked_file_is_passed_by_and_used_again_when_it_is_free(tmp_path):
    path, warnings = tmp_path / "c.db", []
    store(path)
    cache = open_cache(f"sqlite:{path}", ttl_s=600, warn=warnings.append)
    with closing(sqlite3.connect(path, isolation_level=None)) as hog:
        hog.execute("BEGIN EXCLUSIVE")
        assert [ask(cache, f"{number:032x}") for number in range(50)] == [GOOD] * 50
        hog.execute("ROLLBACK")
    until(lambda: cache.look_up([KEY]), "the cache does not come back")
    ask(cache, "ef" * 16)
    cache.close()
    assert len(warnings) == 1
    assert "locked" in warnings[0]
    assert cache.counts.errors >= 1
    assert cache.counts.puts == 1


def test_a_file_that_is_locked_from_the_beginning_is_passed_by(tmp_path):
    path, warnings = tmp_path / "c.db", []
    with closing(sqlite3.connect(path, isolation_level=None)) as hog:
        hog.execute("BEGIN EXCLUSIVE")
        cache = open_cache(f"sqlite:{path}", ttl_s=600, warn=warnings.append)
        assert ask(cache, KEY) == GOOD
        hog.execute("ROLLBACK")
    cache.close()
    assert len(warnings) == 1


FULL_DISK = """
import json, resource, threading
from stores.reply_cache import open_cache
from trials.words import Completion
warnings = []
cache = open_cache("sqlite:c.db", ttl_s=600, warn=warnings.append)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
reply = Completion(text="x" * 2000)
got = [cache.ask_once(f"{n:032x}", lambda: reply, threading.Event()) for n in range(2000)]
cache.close()
print(json.dumps([sum(one == reply for one in got), warnings, cache.counts.dropped]))
"""


def test_a_full_disk_costs_one_warning_and_no_answer(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answered, warnings, dropped = json.loads(done.stdout)
    assert (answered, len(warnings)) == (2000, 1)
    assert dropped > 0
    assert done.stderr == ""
