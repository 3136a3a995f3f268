"""Settings of the property tests of this room."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says something about the machine, nothing about the statistics; and the same examples
# are tried in every run, so that a failure comes from a change.
settings.register_profile("stats", deadline=None, derandomize=True)
settings.load_profile("stats")
