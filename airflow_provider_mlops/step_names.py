"""The steps of the lifecycle, one word each, in the order in which a pipeline runs them. Imports nothing."""

from __future__ import annotations

STEPS = (
    "extract",
    "analyze",
    "validate_data",
    "prepare",
    "train",
    "tune",
    "evaluate",
    "validate",
    "deploy",
    "rollout",
    "rollback",
    "monitor",
)
