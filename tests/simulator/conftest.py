"""Simulators for tests: one's own to set up and look into, or a plain one shared by all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from running_simulators import Server, running_servers


@pytest.fixture
def launch() -> Iterator[Callable[..., Server]]:
    """Start simulators for one test."""
    with running_servers() as start:
        yield start


@pytest.fixture(scope="session")
def plain() -> Iterator[Server]:
    """A simulator without options, shared by tests that do not look at its counts."""
    with running_servers() as start:
        yield start()
