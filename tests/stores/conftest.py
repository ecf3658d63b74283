"""Fixtures of the stores' tests."""

from __future__ import annotations

import pytest
from sample_runs import Work


@pytest.fixture
def work(tmp_path) -> Work:
    return Work(tmp_path)
