"""Options of the fault campaign, and its report at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign import Campaign, report

CYCLES = 10
OPTIONS = {
    "cycles": (int, CYCLES, f"How many cycles; {CYCLES} in CI, 500 at night."),
    "seed": (int, 1, "Decides the faults, their moments and the runs they meet."),
    "only-cycle": (int, 0, "Run this cycle alone."),
    "only-fault": (str, "", "Run only faults whose title holds this text."),
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


@pytest.fixture(scope="session")
def campaign(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """What all cycles share; its table is printed at the very end."""
    made = Campaign(int(option(pytestconfig, "seed")), tmp_path_factory.mktemp("campaign"))
    pytestconfig.stash[running] = made
    yield made
    if path := str(option(pytestconfig, "campaign-report")):
        Path(path).write_text(report(made.outcomes, made.seed))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    made = config.stash.get(running, None)
    if made is not None and made.outcomes:
        terminalreporter.section("fault campaign")
        terminalreporter.write(report(made.outcomes, made.seed))
