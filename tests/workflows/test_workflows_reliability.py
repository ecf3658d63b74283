from __future__ import annotations

import pytest

from workflows.reliability import UNMET, chance, fault, luck, payload
from workflows.tools import INVALID_INPUT, builtin_tools

CALLS = 100_000


@pytest.fixture(scope="module")
def draws() -> list[float]:
    tools = list(builtin_tools())
    return [
        luck(42, f"data_pipeline-{number % 200:03d}", number // 6000, tools[number % 30], number // 200 % 30)
        for number in range(CALLS)
    ]


@pytest.mark.parametrize("rate", [0.0, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_luck_is_within_half_a_point_of_nominal(draws: list[float], rate: float) -> None:
    share = sum(draw < chance(rate, True) for draw in draws) / CALLS
    assert abs(share - rate) < (0.005 if 0 < rate < 1 else 1e-12)


def test_luck_depends_on_each_of_its_parts_and_on_nothing_else() -> None:
    plain = luck(42, "a", 0, "t", 0)
    assert luck(42, "a", 0, "t", 0) == plain
    others = {luck(43, "a", 0, "t", 0), luck(42, "b", 0, "t", 0), luck(42, "a", 1, "t", 0)}
    others |= {luck(42, "a", 0, "u", 0), luck(42, "a", 0, "t", 1)}
    assert len(others | {plain}) == 6


def test_a_call_before_its_dependency_is_less_likely_at_every_rate_but_zero() -> None:
    assert chance(0.0, False) == 0
    for rate in (0.1, 0.8, 1.0):
        assert chance(rate, False) == UNMET * rate < chance(rate, True) == rate


def test_failures_are_the_tools_own_errors_and_never_blame_the_arguments() -> None:
    for tool in builtin_tools().values():
        codes = {fault(tool, 42, "task", 0, index) for index in range(60)}
        assert codes == {one.code for one in tool.errors} - {INVALID_INPUT}


def test_results_have_every_field_and_differ_by_epoch() -> None:
    for tool in builtin_tools().values():
        first = payload(tool, {}, 42, "task", 0)
        assert set(first) == {one.name for one in tool.returns}
        assert first == payload(tool, {}, 42, "task", 0)
        assert first != payload(tool, {}, 42, "task", 1)
