"""Shows that the campaign can fail: takes one safeguard out of a copy of the product, and sees whether it is missed.

    python tests/faults/mutants.py            all of them, a line each; exit code 1 if one lives
    python tests/faults/mutants.py lock       only those whose name holds this

The copy stands in a temporary directory; the product itself is not touched.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", "logs", "results", "__pycache__", ".mypy_cache", "*.egg-info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A safeguard that is taken out (``text`` of ``file`` becomes ``instead``), and the faults that should miss it.

    ``also`` takes out a second one that mends what the first lets through.
    """

    name: str
    file: str
    text: str
    instead: str
    fault: str
    cycles: int = 3
    also: tuple[tuple[str, str, str], ...] = ()


MUTANTS = (
    Mutant(
        name="the journal is never synced while it is written",
        file="stores/journal.py",
        text="            os.fdatasync(self._file)\n",
        instead="            pass\n",
        fault="power cut",
        cycles=6,
    ),
    Mutant(
        name="names of new files and directories are not synced",
        file="stores/run_directory.py",
        text="    handle = os.open(path, os.O_RDONLY)\n",
        instead="    return\n    handle = os.open(path, os.O_RDONLY)\n",
        fault="power cut",
        cycles=4,
    ),
    Mutant(
        name="a merge takes up what it has merged already, and nobody removes the copies",
        file="stores/endings.py",
        text="                if offset > merged:\n",
        instead="                if True:\n",
        also=(("stores/results.py", "        moved = self.tidy()\n", "        moved = False\n"),),
        fault="supervisor: SIG",
        cycles=4,
    ),
    Mutant(
        name="the run's lock is not taken",
        file="stores/lock.py",
        text="            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)\n",
        instead="            pass\n",
        fault="lock:",
        cycles=4,
    ),
    Mutant(
        name="completions of begun trials are not taken up again",
        file="commands/ledger.py",
        text="            if len(completions) > len(found.get(number, ())):\n",
        instead="            if False:\n",
        fault="all: SIGKILL",
        cycles=3,
    ),
    Mutant(
        name="new lines may stand where merged ones were lost",
        file="stores/journal.py",
        text="    if written_bytes(path) >= least_bytes:\n",
        instead="    if True:\n",
        fault="tail after SIGTERM",
        cycles=5,
    ),
    Mutant(
        name="a reply that has not ended is taken for an empty answer",
        file="providers/wire.py",
        text="    if text is None and not tool_calls and not finish_reason:\n",
        instead="    if False:\n",
        fault="network: null content",
        cycles=2,
    ),
    Mutant(
        name="an attempt has no deadline",
        file="providers/deadlines.py",
        text="                if now >= exchange.due and exchange.sock is not None:\n",
        instead="                if False:\n",
        also=(
            (
                "providers/curl_transport.py",
                "            handle.setopt(pycurl.TIMEOUT_MS, max(1, round(timeout_s * 1000)))\n",
                "",
            ),
        ),
        fault="network: a byte a second",
        cycles=2,
    ),
    Mutant(
        name="a deadline ends nothing",
        file="commands/under_way.py",
        text="        if self._bounds.look(over=over):\n",
        instead="        if False:\n",
        fault="supervisor: --deadline",
        cycles=2,
    ),
    Mutant(
        name="a shard does not see that nobody feeds it any more",
        file="processes/parent.py",
        text="        return self._lost.is_set() or self._clock() - self._heard_at > self._silence_s\n",
        instead="        return False\n",
        fault="supervisor: SIGKILL",
        cycles=1,
    ),
)


def is_missed(mutant: Mutant, folder: Path) -> tuple[bool, str]:
    """Return whether the campaign fails without this safeguard, and its first complaint."""
    copy = folder / "copy"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    for name, text, instead in ((mutant.file, mutant.text, mutant.instead), *mutant.also):
        before = (copy / name).read_text()
        assert before.count(text) == 1, f"{mutant.name}: {name} has changed, and this file should too"
        (copy / name).write_text(before.replace(text, instead))
    command = [sys.executable, "-m", "pytest", "tests/faults", "-m", "campaign", "-x", "--tb=short", "--seed", "3"]
    choice = ["--only-fault", mutant.fault, "--cycles", str(mutant.cycles), "--basetemp", str(folder / "temporary")]
    ended = subprocess.run([*command, *choice], cwd=copy, capture_output=True, text=True, timeout=900, check=False)
    told = re.findall(r"^- cycle \d+ \((.*)$", ended.stdout, re.MULTILINE)
    if ended.returncode not in (0, 1):
        raise RuntimeError(ended.stdout + ended.stderr)
    return ended.returncode == 1 and bool(told), told[0] if told else ""


def main() -> int:
    """Try all mutants, or those that are named."""
    alive = 0
    for mutant in MUTANTS:
        if not any(word in mutant.name for word in sys.argv[1:] or [""]):
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            missed, told = is_missed(mutant, Path(folder))
        alive += not missed
        word = "caught" if missed else "ALIVE"
        print(f"{word} | {mutant.name} | {told[:220]} | {time.monotonic() - began:.0f} s", flush=True)
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
