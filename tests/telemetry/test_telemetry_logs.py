from __future__ import annotations

import base64
import json
import logging
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import logs
from telemetry.logs import close_log, open_log, redactor

SECRET = "sk-Abc+d/9é=key with space"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[logging.Logger]:
    logger = open_log(tmp_path / "run" / "shard-01.log", debug=False, secrets=[SECRET])
    yield logger
    close_log(logger)


def text_of(tmp_path: Path) -> str:
    return (tmp_path / "run" / "shard-01.log").read_text(encoding="utf-8")


def test_line_has_time_level_role_and_message(log: logging.Logger, tmp_path: Path) -> None:
    log.info("asked %s times", 3)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d INFO    shard-01 MainThread asked 3 times\n",
        text_of(tmp_path),
    )


def test_debug_lines_are_written_only_when_asked_for(log: logging.Logger, tmp_path: Path) -> None:
    log.debug("request")
    chatty = open_log(tmp_path / "chatty.log", debug=True, secrets=[], role="supervisor")
    chatty.debug("request")
    close_log(chatty)
    assert not (tmp_path / "run").exists()
    assert "DEBUG   supervisor" in (tmp_path / "chatty.log").read_text()


def test_only_the_owner_may_read_the_log(log: logging.Logger, tmp_path: Path) -> None:
    log.info("x")
    assert stat.S_IMODE((tmp_path / "run" / "shard-01.log").stat().st_mode) == 0o600


def test_secret_is_blotted_out_wherever_it_comes_from(log: logging.Logger, tmp_path: Path) -> None:
    log.info("plain " + SECRET)
    log.info("argument %s and %r", SECRET, {"authorization": f"Bearer {SECRET}"})
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError:
        log.exception("failed with %s", SECRET)
    text = text_of(tmp_path)
    assert SECRET not in text
    assert text.count("****") >= 5
    assert "ValueError: refused ****" in text


@pytest.mark.parametrize("user", ["", "a", "ab", "user"])
def test_secret_is_blotted_out_of_basic_authorisation(user: str) -> None:
    header = base64.b64encode(f"{user}:{SECRET}:more".encode()).decode()
    blotted = redactor([SECRET])(f"Authorization: Basic {header}")
    assert "****" in blotted
    left = blotted.removeprefix("Authorization: Basic ").replace("****", "")
    assert len(left) <= len(header) - len(SECRET)


@given(st.text(min_size=8) | st.text("aé/+=:", min_size=8), st.binary(max_size=4), st.binary(max_size=4))
def test_no_spelling_of_a_secret_survives(secret: str, before: bytes, after: bytes) -> None:
    secret = secret.strip()
    try:
        raw = secret.encode()
    except UnicodeEncodeError:
        return
    if len(raw) < 8:
        return
    redact = redactor([secret])
    spellings = [secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]]
    for spelling in spellings:
        assert redact(spelling) == "****"
    assert redact(re.sub("%..", lambda code: code[0].lower(), quote(secret, safe=""))) == "****"
    # Whatever stands around the key, its middle bytes cannot be read back from base64.
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert "****" in redact(encode(before + raw + after).decode())


def test_longer_of_two_keys_leaves_nothing_behind() -> None:
    assert redactor(["key-1", "key-12345"])("key-12345 key-1") == "**** ****"


def test_empty_secrets_blot_nothing() -> None:
    assert redactor(["", "  "])("text") == "text"


def test_strangers_text_cannot_pose_as_a_line_or_move_the_cursor(log: logging.Logger, tmp_path: Path) -> None:
    log.info("reply: %s", "ok\n2025-01-01T00:00:00 ERROR forged\x1b[2J\x9b")
    lines = text_of(tmp_path).splitlines()
    assert lines[1].startswith("    2025-01-01")
    assert "\x1b" not in lines[1]
    assert "\\x1b[2J\\x9b" in lines[1]


def test_log_is_rotated_and_old_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_SIZE_BYTES", 2000)
    logger = open_log(tmp_path / "a.log", debug=False, secrets=[])
    for number in range(200):
        logger.info("line %d %s", number, "x" * 50)
    close_log(logger)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 1 + logs.OLD_FILES
    assert all(one.stat().st_size <= 2000 and stat.S_IMODE(one.stat().st_mode) == 0o600 for one in files)
    assert "line 199" in (tmp_path / "a.log").read_text()


def test_full_disk_is_told_once_and_borne(tmp_path: Path) -> None:
    (tmp_path / "full.log").symlink_to("/dev/full")
    told: list[str] = []
    logger = open_log(tmp_path / "full.log", debug=False, secrets=[], warn=told.append)
    for _ in range(5):
        logger.info("x")
    close_log(logger)
    assert len(told) == 1
    assert "No space left on device" in told[0]


def test_log_that_cannot_be_opened_is_told_once_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = (
        "from telemetry.logs import *\n"
        f"log = open_log({str(tmp_path / 'file' / 'a.log')!r}, debug=False, secrets=[])\n"
        "log.info('a'); log.info('b'); print('went on')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "went on\n"
    assert len(ran.stderr.splitlines()) == 1
    assert "cannot write the log" in ran.stderr


def test_broken_format_of_one_line_does_not_end_anything(log: logging.Logger, tmp_path: Path) -> None:
    log.info("%d", "no number")
    log.info("next")
    assert "next" in text_of(tmp_path)
