"""Options of the fault campaign, and its report at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from campaign import Campaign
from fault_cycle import Fault

CYCLES = 25
AT_ONCE = 2
"""Cycles mostly wait: two of them keep one core busy."""

OPTIONS = {
    "cycles": (int, CYCLES, f"How many cycles; {CYCLES} in CI, 500 at night."),
    "seed": (int, 1, "Decides the faults, their moments and the runs they meet."),
    "only-cycle": (int, 0, "Run this cycle alone."),
    "only-fault": (str, "", "Run only faults whose title holds this text."),
    "cycles-at-once": (int, AT_ONCE, "How many cycles run at a time."),
    "campaign-report": (str, "", "Write the table of all cycles to this file."),
}
running = pytest.StashKey[Campaign]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register what the campaign can be told."""
    group = parser.getgroup("fault campaign")
    for name, (kind, default, text) in OPTIONS.items():
        group.addoption(f"--{name}", type=kind, default=default, help=text)


def option(config: pytest.Config, name: str) -> int | str:
    """Return an option, also where this file was found too late for the command line."""
    found: int | str = config.getoption(name.replace("-", "_"), default=OPTIONS[name][1])
    return found


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "campaign: cycles of the fault campaign (tests/faults)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each cycle."""
    if "numbered_fault" not in metafunc.fixturenames:
        return
    from campaign import FAULTS, draw_fault

    config = metafunc.config
    text, only = str(option(config, "only-fault")), int(option(config, "only-cycle"))
    faults = [fault for fault in FAULTS if text.lower() in fault.title.lower()]
    seed, cycles = int(option(config, "seed")), int(option(config, "cycles"))
    numbers = [only] if only else range(1, cycles + 1)
    drawn = [(number, draw_fault(seed, number, faults)) for number in numbers]
    ids = [f"{number:03d} {fault.title}" for number, fault in drawn]
    metafunc.parametrize("numbered_fault", drawn, ids=ids)


def _chosen(items: Iterable[pytest.Item]) -> Iterator[tuple[int, Fault]]:
    """Yield the cycles among the tests that were chosen."""
    for item in items:
        if isinstance(item, pytest.Function) and "numbered_fault" in item.fixturenames:
            numbered: tuple[int, Fault] = item.callspec.params["numbered_fault"]  # type: ignore[assignment]
            yield numbered


@pytest.fixture(scope="session")
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """What all cycles share, which begin here; its table is printed at the very end."""
    config = request.config
    folder = tmp_path_factory.mktemp("campaign")
    made = Campaign(int(option(config, "seed")), folder, int(option(config, "cycles-at-once")))
    config.stash[running] = made
    made.begin(_chosen(request.session.items))
    yield made
    made.close()
    if path := str(option(config, "campaign-report")):
        Path(path).write_text(made.report())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    made = config.stash.get(running, None)
    if made is not None and made.outcomes:
        terminalreporter.section("fault campaign")
        terminalreporter.write(made.report())
