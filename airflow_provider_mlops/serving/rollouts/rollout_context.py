"""The fields that a log record has in addition if its request belongs to a rollout; see `RolloutContext`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_mlops.serving.log.rollout_fields import RolloutContext


def answer_context(
    rollout: str, step: int, *, context: Mapping[str, Any] | None = None, key: str | None = None
) -> RolloutContext:
    """Return the fields for an answer to a caller.

    >>> answer_context("f00d", 1)
    {'rollout': 'f00d', 'step': 1}
    """
    fields: RolloutContext = {"rollout": rollout, "step": step}
    if context is not None:
        fields["context"] = dict(context)
    if key is not None:
        fields["key"] = key
    return fields


def shadow_context(
    choice_context: RolloutContext | None,
    request_id: str,
    champion: Sequence[Any],
    shadow: Sequence[Any],
    tolerance: float,
) -> RolloutContext | None:
    """Return the fields for a shadow's answer; None if the copy belongs to no rollout.

    Parameters
    ----------
    choice_context
        Fields of the choice that was copied.
    request_id
        Id of the request that was copied.
    champion, shadow
        Predictions of both versions: one value, or a list of values, per row.
    tolerance
        Relative difference up to which two numbers agree.
    """
    if choice_context is None:
        return None
    agreed = sum(agree(first, second, tolerance) for first, second in zip(champion, shadow, strict=True))
    return {**choice_context, "shadow_of": request_id, "agreed": agreed}


def agree(champion: Any, shadow: Any, tolerance: float) -> bool:
    """Return whether two predictions are the same: floating-point numbers within the tolerance, all else exactly.

    >>> agree(1.0, 1.0000001, 1e-6), agree("a", "b", 1e-6), agree([1.0, 2.0], [1.0, 2.5], 1e-6), agree(1, 2, 9.0)
    (True, False, False, False)
    >>> agree(float("inf"), 5.0, 1e-6), agree(float("inf"), float("inf"), 1e-6)
    (False, True)
    """
    if isinstance(champion, list) and isinstance(shadow, list):
        return len(champion) == len(shadow) and all(map(lambda a, b: agree(a, b, tolerance), champion, shadow))
    if isinstance(champion, float) or isinstance(shadow, float):
        try:
            first, second = float(champion), float(shadow)
        except (TypeError, ValueError):
            return False
        if math.isnan(first) or math.isnan(second):
            return math.isnan(first) and math.isnan(second)
        if math.isinf(first) or math.isinf(second):
            # A tolerance relative to infinity would be infinite.
            return first == second
        return abs(first - second) <= tolerance * max(1.0, abs(first))
    return bool(champion == shadow)
