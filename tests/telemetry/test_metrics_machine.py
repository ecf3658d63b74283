"""CPU and memory of a run's processes, and its GPUs, which a stand-in for NVIDIA's library has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from telemetry.metrics_machine import Gpus, ProcessUsage

BURN = """
import sys, time
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
print("burnt", flush=True)
sys.stdin.read()
"""
STAND_IN = """
class Rates:
    gpu = 63
class Memory:
    used, total = 10, 40
def nvmlInit(): {init}
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(number): return number
def nvmlDeviceGetUUID(handle): return b"GPU-1"
def nvmlDeviceGetName(handle): return "A 100"
def nvmlDeviceGetUtilizationRates(handle): {look}
def nvmlDeviceGetMemoryInfo(handle): return Memory
"""


@pytest.fixture
def burn() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start processes that have used 0.3 s of CPU."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", BURN], stdin=-1, stdout=-1, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "burnt\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def look(usage: ProcessUsage, shards: dict[int, int]) -> dict[str, dict[tuple[str, str], float]]:
    return {
        family.name: {(one.labels["process"], one.labels["shard"]): one.value for one in family.samples}
        for family in usage.families(shards)
    }


def test_each_process_is_told_by_what_it_is(burn):
    shard, other = burn(), burn()
    found = look(ProcessUsage(), {shard.pid: 3})
    assert set(found["eval_process_cpu_seconds"]) == {("supervisor", ""), ("shard", "3"), ("simulator", "")}
    assert found["eval_process_cpu_seconds"]["shard", "3"] >= 0.3
    assert found["eval_process_resident_memory_bytes"]["simulator", ""] > 1e6
    assert other.poll() is None


def test_cpu_time_goes_on_counting_when_a_shard_is_started_again(burn):
    usage, first = ProcessUsage(), burn()
    before = look(usage, {first.pid: 3})["eval_process_cpu_seconds"]["shard", "3"]
    first.kill()
    first.communicate()
    gone = look(usage, {})
    assert gone["eval_process_cpu_seconds"]["shard", "3"] == before, "what is gone keeps what it had"
    assert ("shard", "3") not in gone["eval_process_resident_memory_bytes"]
    after = look(usage, {burn().pid: 3})["eval_process_cpu_seconds"]["shard", "3"]
    assert after >= before + 0.3


def test_a_shard_that_is_no_child_is_left_out():
    seen = look(ProcessUsage(), {os.getppid(): 1})["eval_process_cpu_seconds"]
    assert {role for role, _ in seen} <= {"supervisor", "simulator"}  # of other tests, a simulator may be about


@pytest.fixture
def library(tmp_path, monkeypatch) -> Callable[..., None]:
    def make(init: str = "pass", look: str = "return Rates") -> None:
        (tmp_path / "pynvml.py").write_text(STAND_IN.format(init=init, look=look))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "pynvml", raising=False)

    yield make
    sys.modules.pop("pynvml", None)


def test_a_gpu_is_told_as_shares_and_bytes(library):
    library()
    found = {family.name: family.samples for family in Gpus().families()}
    (busy,) = found["hw_gpu_utilization_ratio"]
    assert (busy.value, busy.labels) == (0.63, {"hw_id": "GPU-1", "hw_name": "A 100"})
    assert found["hw_gpu_memory_limit_bytes"][0].value == 40


@pytest.mark.parametrize("fault", ["raise RuntimeError('driver not loaded')", "raise OSError"])
def test_without_a_driver_there_are_no_gpus(library, fault):
    library(init=fault)
    assert list(Gpus().families()) == []


def test_a_gpu_that_is_lost_later_is_left_out(library):
    library(look="raise RuntimeError('GPU is lost')")
    assert not [sample for family in Gpus().families() for sample in family.samples]


def test_without_the_package_there_are_no_gpus(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert list(Gpus().families()) == []
