"""A name service that fails for a while costs attempts while it fails, and none afterwards; on both transports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_proxy import FaultProxy, Reply
from io_shim import A_NAME, NAME_LATER, NAME_UNKNOWN, Shim, build, compiler

ROOT = Path(__file__).resolve().parents[2]
ASKER = """
import sys
from providers.transport import HttpRequest, open_transport
from trials.errors import ProviderError

transport = open_transport(sys.argv[1])
for _ in sys.stdin:
    try:
        reply = transport.send(HttpRequest(url=sys.argv[2], headers={"A": "b"}, body=b"{}"), 5.0)
        print(reply.status, flush=True)
    except ProviderError as error:
        print(error.kind, error.retryable, "not known" in str(error), flush=True)
"""
FAILED = "connection True True"


async def answer(request: bytes) -> Reply:
    """Say yes to everything."""
    return Reply(200, ("Content-Type: application/json",), b"{}")


class Asker:
    """A process with one thread that asks by name, with a name service that can fail."""

    def __init__(self, transport: str, library: Path, folder: Path) -> None:
        self.shim = Shim(library, folder / "shim", (folder,), logs=False)
        self.proxy = FaultProxy(answer)
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", ASKER, transport, f"http://{A_NAME}:{self.proxy.port}/"],
            cwd=ROOT,
            env={**clean, **self.shim.environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("ask\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self.proxy.close()


@pytest.fixture(params=["curl", "requests"])
def asker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asker]:
    if compiler() is None:
        pytest.skip("there is no C compiler for io_shim.c")
    made = Asker(request.param, build(tmp_path), tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("error", [NAME_UNKNOWN, NAME_LATER], ids=["unknown", "try again later"])
def test_a_name_that_was_not_known_for_a_while_is_looked_up_again_at_the_next_attempt(asker: Asker, error: int) -> None:
    asker.shim.set(name_error=error)
    assert [asker.ask(), asker.ask()] == [FAILED, FAILED]
    asker.shim.set(name_error=0)
    assert asker.ask() == "200"


def test_a_kept_connection_needs_no_name_and_a_new_one_does(asker: Asker) -> None:
    assert asker.ask() == "200"
    asker.shim.set(name_error=NAME_UNKNOWN)
    assert asker.ask() == "200"
    asker.proxy.cut()
    time.sleep(0.1)  # until the reset has arrived
    assert asker.ask() == FAILED
    asker.shim.set(name_error=0)
    assert [asker.ask(), asker.ask()] == ["200", "200"]
