"""Settings for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# At home every run looks at other examples; CI looks at the same ones, so that a failure there is about the change.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
