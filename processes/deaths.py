"""How a process died: in words for people, and whether it was its own doing or somebody's outside.

Told apart by what the kernel says. A crash signal or an exit without a word is a process's own doing, SIGKILL and the
like are sent by others, unless the kernel has just killed for want of memory (``oom_kill`` in /proc/vmstat, proc(5)).
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

CRASHES = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
_COUNTS = Path("/proc/vmstat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end of a process that was not asked to end; ``words`` go behind its name.

    It came ``in_order`` if the process had said that it leaves, in which case it was no trial's fault.
    """

    words: str
    own_doing: bool
    in_order: bool = False


def death_of(code: int | None, *, in_order: bool, hung: bool, out_of_memory: bool) -> Death:
    """Judge an end by its exit code, negative for a signal.

    ``hung``: it was ended by us since it was silent, though nobody had stopped it. ``out_of_memory``: the kernel has
    killed for want of memory while it ran.
    """
    if hung:
        return Death(words="was silent and had to be ended", own_doing=True)
    if code is None or code >= 0:
        return Death(words=f"ended with exit code {code}", own_doing=not in_order, in_order=in_order)
    for_memory = -code == signal.SIGKILL and out_of_memory
    words = f"was killed by signal {-code}{' for want of memory' if for_memory else ''}"
    return Death(words=words, own_doing=-code in CRASHES or for_memory)


def out_of_memory_kills() -> int:
    """Return how often the kernel has killed a process for want of memory since it started; 0 where it does not say."""
    try:
        lines = _COUNTS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
