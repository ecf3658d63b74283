"""What a run uses of its machine: CPU and memory of its processes, and GPUs where there are NVIDIA's.

Looks only when asked, from the thread that asks. What cannot be seen is left out. GPUs need the package
``nvidia-ml-py``; their names are those of OpenTelemetry's conventions for hardware
(docs/hardware/gpu.md of open-telemetry/semantic-conventions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from telemetry.metrics import counter, gauge, label

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

SUPERVISOR, SHARD, OTHER = "supervisor", "shard", "simulator"
_Role = tuple[str, str]


class ProcessUsage:
    """The CPU time and memory of this process and its children. One thread at a time.

    A shard that was started again goes on counting where its dead process was last seen.
    """

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._seen: dict[_Role, tuple[int, float]] = {}
        self._before: dict[_Role, float] = {}

    def families(self, shards: Mapping[int, int]) -> Iterator[Metric]:
        """Yield the metrics; ``shards`` are the shards' numbers by process id."""
        cpu = counter("eval_process_cpu_seconds", "User and system time of a process.", ("process", "shard"))
        memory = gauge("eval_process_resident_memory_bytes", "Resident memory of a process.", ("process", "shard"))
        resident: dict[_Role, int] = {}
        for role, process in self._processes(shards):
            with suppress(psutil.Error), process.oneshot():
                times, bytes_now = process.cpu_times(), process.memory_info().rss
                self._count(role, process.pid, times.user + times.system)
                resident[role] = resident.get(role, 0) + bytes_now
        for role, (_, seconds) in self._seen.items():
            cpu.add_metric(role, self._before.get(role, 0.0) + seconds)
        for role, size in resident.items():
            memory.add_metric(role, size)
        yield from (cpu, memory)

    def _processes(self, shards: Mapping[int, int]) -> Iterator[tuple[_Role, psutil.Process]]:
        yield (SUPERVISOR, ""), self._own
        with suppress(psutil.Error):
            for child in self._own.children():
                number = shards.get(child.pid)
                yield ((SHARD, str(number)) if number is not None else (OTHER, "")), child

    def _count(self, role: _Role, pid: int, seconds: float) -> None:
        known = self._seen.get(role)
        if known is not None and (known[0] != pid or seconds < known[1]):
            self._before[role] = self._before.get(role, 0.0) + known[1]
        self._seen[role] = pid, seconds


class Gpus:
    """NVIDIA's GPUs of this machine; none where the package, the driver or the hardware is missing."""

    def __init__(self) -> None:
        self._library: Any = None
        self._handles: list[tuple[tuple[str, str], Any]] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            for number in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(number)
                name = _text(pynvml.nvmlDeviceGetUUID(handle)), _text(pynvml.nvmlDeviceGetName(handle))
                self._handles.append((name, handle))
            self._library = pynvml
        except Exception:  # whatever a driver can be missing: a run does not need to see its GPUs
            self._handles = []

    def families(self) -> Iterator[Metric]:
        """Yield the metrics, or nothing at all without a GPU."""
        if not self._handles:
            return
        labels = ("hw_id", "hw_name")
        busy = gauge("hw_gpu_utilization_ratio", "Share of the last moment in which the GPU computed.", labels)
        used = gauge("hw_gpu_memory_usage_bytes", "Memory in use.", labels)
        limit = gauge("hw_gpu_memory_limit_bytes", "Memory that there is.", labels)
        for name, handle in self._handles:
            with suppress(Exception):  # one that has fallen off the bus
                busy.add_metric(name, self._library.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
                memory = self._library.nvmlDeviceGetMemoryInfo(handle)
                used.add_metric(name, memory.used)
                limit.add_metric(name, memory.total)
        yield from (busy, used, limit)


def _text(value: str | bytes) -> str:
    """Return a name, which older versions of the library give as bytes."""
    return label(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
