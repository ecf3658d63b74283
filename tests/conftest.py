"""Settings for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# At home every run looks at other examples; CI looks at the same ones, so that a failure there is about the change.
# No example has a deadline: how long one takes is the machine's affair.
settings.register_profile("home", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "home")
