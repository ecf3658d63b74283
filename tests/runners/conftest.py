"""Fixtures of the acceptance tests: a house per test, from which no process may be left over, and simulators."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import pytest
from real_runs import Ended, House, Simulator

from commands.options import run_program
from ultra_parallel_runner import cli


@pytest.fixture
def new_house(tmp_path) -> Iterator[Callable[[str], House]]:
    """Make houses by name; all must be empty of processes at the end."""
    houses: list[House] = []

    def make(name: str) -> House:
        houses.append(House(tmp_path / name))
        return houses[-1]

    yield make
    try:
        for house in houses:
            house.wait_until_empty()
    finally:
        for house in houses:
            house.kill_everything()


@pytest.fixture
def house(new_house) -> House:
    return new_house("house")


@pytest.fixture
def command(house, monkeypatch, capsys) -> Callable[..., Ended]:
    """Run the supervisor's command line in this process, for all that ends before anything is started."""

    def run(*arguments: str, env: Mapping[str, str] | None = None, code: int = 0) -> Ended:
        with monkeypatch.context() as patch:
            patch.chdir(house.path)
            for name in os.environ:
                patch.delenv(name)
            for name, value in {**house.environment, **(env or {})}.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                run_program(cli, arguments)
        said = capsys.readouterr()
        assert left.value.code == code, said.out + said.err
        return Ended(said.out, said.err)

    return run


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Start simulators with these options for one test."""
    started: list[Simulator] = []

    def start(*options: str) -> Simulator:
        started.append(Simulator(*options))
        return started[-1]

    yield start
    for simulator in started:
        simulator.close()


@pytest.fixture(scope="session")
def _quick() -> Iterator[Simulator]:
    simulator = Simulator("--latency", "0.005")
    yield simulator
    simulator.close()


@pytest.fixture(scope="session")
def _slow() -> Iterator[Simulator]:
    simulator = Simulator("--latency", "0.1")
    yield simulator
    simulator.close()


@pytest.fixture
def simulator(_quick) -> Simulator:
    """A simulator without faults that hardly waits; its counts begin with the test."""
    _quick.reset()
    return _quick


@pytest.fixture
def slow_simulator(_slow) -> Simulator:
    """A simulator that answers slowly enough for a run to be caught in its middle; its counts begin with the test."""
    _slow.reset()
    return _slow
