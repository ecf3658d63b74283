from __future__ import annotations

import fcntl
import io
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import TextIO

import pytest
from pseudo_terminal import Terminal

from telemetry.terminal import Keys, Look, Outlet, look_at, say, size_of

UTF8 = {"TERM": "xterm-256color", "LANG": "de_DE.UTF-8"}


def test_terminal_shows_everything_its_variables_allow(terminal: Terminal) -> None:
    everything = Look(terminal=True, colour=True, unicode=True)
    assert look_at(terminal.stream, UTF8) == everything
    assert look_at(terminal.stream, UTF8 | {"NO_COLOR": ""}) == everything
    assert look_at(terminal.stream, UTF8 | {"NO_COLOR": "1"}) == Look(terminal=True, unicode=True)
    assert look_at(terminal.stream, UTF8 | {"LC_ALL": "C"}) == Look(terminal=True, colour=True)
    assert look_at(terminal.stream, {"TERM": "xterm"}) == Look(terminal=True, colour=True)
    for term in ("dumb", "", "unknown"):
        assert look_at(terminal.stream, UTF8 | {"TERM": term}) == Look(unicode=True)


def test_files_closed_streams_and_none_are_no_terminals(tmp_path: Path) -> None:
    stream = (tmp_path / "out").open("w", encoding="utf-8")
    assert look_at(stream, UTF8) == Look(unicode=True)
    stream.close()
    assert not look_at(stream, UTF8).terminal
    assert look_at(None, UTF8) == Look()
    assert size_of(stream) == size_of(None) == size_of(io.StringIO()) == (80, 24)


def test_size_is_that_of_the_moment(terminal: Terminal) -> None:
    assert size_of(terminal.stream) == (100, 30)
    terminal.resize(44, 11)
    assert size_of(terminal.stream) == (44, 11)


def test_outlet_writes_all_in_order(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as stream:
        outlet = Outlet(stream)
        for number in range(500):
            outlet.send(f"{number}\n")
        outlet.close()
    assert (tmp_path / "out").read_text().split() == [str(number) for number in range(500)]


def test_outlet_falls_silent_when_the_reader_has_left() -> None:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w", encoding="utf-8")
    outlet = Outlet(stream)
    os.close(reading)
    outlet.send("x")
    outlet.close()
    assert outlet.silent
    outlet.send("y")
    print("nothing else stumbles", file=stream, flush=True)
    stream.close()


def test_outlet_falls_silent_when_the_terminal_is_gone() -> None:
    terminal = Terminal()
    terminal.hang_up()
    outlet = Outlet(terminal.stream)
    outlet.send("x")
    outlet.close()
    assert outlet.silent


def test_full_disk_silences_nothing_for_good() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        assert say(stream, "x")


@pytest.mark.parametrize("stream", [None, "closed"])
def test_streams_that_are_none_are_borne(stream: TextIO | str | None, tmp_path: Path) -> None:
    if isinstance(stream, str):
        stream = (tmp_path / "out").open("w")
        stream.close()
    outlet = Outlet(stream)
    outlet.send("x")
    outlet.close()
    assert outlet.silent


def test_reader_that_stands_still_does_not_hold_up_the_sender() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        outlet = Outlet(stream)
        for _ in range(3000):
            outlet.send("x" * 1000)
        assert not outlet.idle
        outlet.close(timeout_s=0.01)
        os.close(reading)  # lets the writing thread go


def test_text_that_the_stream_cannot_spell_is_borne(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as stream:
        assert say(stream, "a → b\n")
    assert (tmp_path / "out").read_text() == "a ? b\n"


def test_process_whose_reader_has_left_ends_with_its_own_exit_code() -> None:
    code = (
        "import sys; from telemetry.terminal import Outlet; o = Outlet(sys.stdout)\n"
        "sys.stdin.readline()\n"
        "o.send('x'); o.close(); print('afterwards'); sys.exit(7)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.close()
    child.stdin.write(b"go\n")
    child.stdin.close()
    assert child.wait() == 7


LOOK = "import sys; from telemetry.terminal import look_at; print(look_at(sys.stdout).unicode)"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows how a process was started")
@pytest.mark.parametrize(
    ("variables", "unicode"),
    [
        ({}, False),
        ({"LANG": "C"}, False),
        ({"LANG": "C.UTF-8"}, True),
        ({"LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, True),
        ({"LANG": "C.UTF-8", "LC_ALL": "POSIX"}, False),
    ],
)
def test_a_process_in_the_c_locale_writes_ascii_whatever_python_makes_of_it(
    variables: dict[str, str], unicode: bool
) -> None:
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run(
        [sys.executable, "-c", LOOK], env=variables, cwd=root, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == str(unicode)


def test_a_key_is_read_without_enter_and_the_terminal_is_as_it_was() -> None:
    program = (
        "import sys; from telemetry.terminal import Keys\n"
        "with Keys(sys.stdin) as keys:\n"
        "    print('ready', flush=True)\n"
        "    print('got', repr(keys.pressed(20)), flush=True)\n"
    )
    root = Path(__file__).resolve().parents[2]
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=slave,
        stdout=subprocess.PIPE,
        cwd=root,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.write(master, b"q")
    assert process.stdout.readline() == "got 'q'\n"
    assert process.wait(20) == 0
    assert termios.tcgetattr(slave) == before
    for end in (master, slave):
        os.close(end)


def test_where_there_is_no_terminal_no_key_is_pressed(tmp_path: Path) -> None:
    with (tmp_path / "input").open("w+") as stream, Keys(stream) as keys:
        assert keys.pressed(0.0) == ""
    with Keys(None) as keys:
        assert keys.pressed(0.0) == ""
