"""A process that asks for one reply in many threads at once: ``asking_process.py URL KEY THREADS SECONDS LEDGER``.

Its provider takes so many seconds and adds a line to the ledger at the beginning of every call. Prints what its threads
got as JSON: the texts, how many were cached, the warnings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def start_asking(url: str, key: str, threads: int, seconds: float, ledger: Path) -> subprocess.Popen[str]:
    """Start the process; ``communicate`` with it for what it prints."""
    command = [sys.executable, __file__, url, key, str(threads), str(seconds), str(ledger)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def calls(ledger: Path) -> int:
    """Return how many real calls were made."""
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def ask_all(url: str, key: str, threads: int, seconds: float, ledger: Path) -> dict[str, Any]:
    from stores.reply_cache import open_cache
    from trials.words import Completion

    def provider() -> Completion:
        with ledger.open("a") as file:
            file.write("called\n")
        time.sleep(seconds)
        return Completion(text="the answer")

    warnings: list[str] = []
    cache = open_cache(url, ttl_s=600, warn=warnings.append)
    assert cache
    stop = threading.Event()
    with ThreadPoolExecutor(threads) as pool:
        replies = list(pool.map(lambda _: cache.ask_once(key, provider, stop), range(threads)))
    cache.close()
    cached = sum(reply.cached for reply in replies)
    return {"texts": sorted({reply.text for reply in replies}), "cached": cached, "warnings": warnings}


if __name__ == "__main__":
    print(json.dumps(ask_all(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]))))
