"""Fixtures of the commands' tests."""

from __future__ import annotations

import pytest
from question_runs import Banks


@pytest.fixture
def banks(tmp_path) -> Banks:
    return Banks(tmp_path)
