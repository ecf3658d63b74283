"""Children and their pipes: messages both ways, silence and death noticed, nobody left behind."""

from __future__ import annotations

import os
import queue
import signal
import sys
import time

import psutil
import pytest

from processes.child import Child
from processes.messages import pack, unpack
from processes.parent import Parent

ECHO = (
    "import sys\nfrom processes.parent import Parent\n"
    "p = Parent(0, 1, silence_s=60)\np.send('ready')\n"
    "while not p.gone():\n"
    "    m = p.inbox.get()\n"
    "    p.send('echo', was=m)\n"
    "    print('stray words of a library', flush=True)\n"
)
SLEEPER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    inbox: queue.SimpleQueue = queue.SimpleQueue()
    children = []

    def start_one(program):
        child = Child([sys.executable, "-c", program], inbox=inbox, stderr_path=tmp_path / "stderr")
        children.append(child)
        return child, inbox

    yield start_one
    for child in children:
        child.kill()


def test_messages_go_both_ways_and_stray_output_is_passed_over(start):
    child, inbox = start(ECHO)
    assert inbox.get(timeout=20) == (child, {"type": "ready"})
    for number in range(3):
        child.send("assign", trials=[number])
        assert inbox.get(timeout=20)[1]["was"]["trials"] == [number]
    child.close(10)
    assert child.returncode is not None


def test_the_end_of_a_child_is_told_once(start):
    child, inbox = start('print(\'{"type":"bye"}\')')
    assert inbox.get(timeout=20)[1] == {"type": "bye"}
    assert inbox.get(timeout=20) == (child, None)
    assert child.returncode == 0
    with pytest.raises(queue.Empty):
        inbox.get(timeout=0.1)


def test_sending_to_a_stopped_child_does_not_block(start):
    child, inbox = start(ECHO)
    inbox.get(timeout=20)
    os.kill(child.pid, signal.SIGSTOP)
    for _ in range(300):
        child.send("assign", filler="x" * 1000)
    child.kill()
    while inbox.get(timeout=20)[1] is not None:
        pass
    assert child.returncode == -signal.SIGKILL


def test_killing_takes_grandchildren_along(start):
    child, inbox = start(SLEEPER)
    deadline = time.monotonic() + 20
    while not (family := psutil.Process(child.pid).children()) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    assert inbox.get(timeout=20)[1] is None
    psutil.wait_procs(family, timeout=20)
    assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


def test_usage_is_measured_and_zero_after_the_end(start):
    child, inbox = start(ECHO)
    inbox.get(timeout=20)
    assert child.usage()[0] > 1_000_000
    child.kill()
    inbox.get(timeout=20)
    assert child.usage() == (0, 0.0)


def pipes():
    to_shard, to_supervisor = os.pipe(), os.pipe()
    return to_shard, to_supervisor


def test_a_shard_notices_end_of_file():
    (source, feeder), (reader, target) = pipes()
    parent = Parent(source, target, silence_s=60)
    os.write(feeder, pack("beat"))
    assert parent.inbox.get(timeout=10) == {"type": "beat"}
    assert not parent.gone()
    os.close(feeder)
    deadline = time.monotonic() + 10
    while not parent.gone() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert parent.gone()
    os.close(reader)


def test_a_shard_notices_a_silent_supervisor_by_its_own_clock():
    (source, feeder), (_, target) = pipes()
    now = [0.0]
    parent = Parent(source, target, silence_s=30, clock=lambda: now[0])
    now[0] = 29.0
    assert not parent.gone()
    os.write(feeder, pack("beat"))
    parent.inbox.get(timeout=10)
    now[0] = 58.0
    assert not parent.gone()
    now[0] = 60.0
    assert parent.gone()
    os.close(feeder)


def test_sending_to_a_supervisor_that_has_gone_is_no_error():
    (source, feeder), (reader, target) = pipes()
    parent = Parent(source, target, silence_s=60)
    os.close(reader)
    parent.send("progress", progress={})
    parent.send("progress", progress={})
    assert parent.gone()
    os.close(feeder)


@pytest.mark.parametrize("line", [b"", b"words", b"[1]", b'{"no": "type"}', b'{"type": 3}', b"\xff\xfe"])
def test_what_is_no_message_is_none(line):
    assert unpack(line) is None
