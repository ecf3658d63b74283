"""Fixtures of the acceptance tests: a house per test, from which no process may be left over, and simulators."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from real_runs import House, Simulator


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
