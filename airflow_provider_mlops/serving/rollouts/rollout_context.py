"""What the log's record of an answer holds besides, where the answer belongs to a rollout.

- `rollout`: the rollout's id, and `step`: the step that it was at. The first two keys after the record's id.
- `context`: the declared features of the request, for policies that learn from them.
- `key`: of a sticky request, a hash by which the same key can be known again within the rollout.
- `shadow_of`: of an answer to a copy, the id of the request that was copied, and `agreed`: on how many rows both
  versions said the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

NEARBY = 100
"""How many bytes of a line are enough to see whether it has marks: the id before them has 32 digits."""


def marks(
    rollout: str, step: int, *, context: Mapping[str, Any] | None = None, key: str | None = None
) -> dict[str, Any]:
    """The marks of an answer to a caller.

    >>> marks("f00d", 1)
    {'rollout': 'f00d', 'step': 1}
    """
    found: dict[str, Any] = {"rollout": rollout, "step": step}
    if context is not None:
        found["context"] = dict(context)
    if key is not None:
        found["key"] = key
    return found


def shadow_marks(
    of: Mapping[str, Any], request_id: str, champion: Sequence[Any], shadow: Sequence[Any], tolerance: float
) -> dict[str, Any]:
    """The marks of an answer to a copy.

    :param of: the marks of the choice that was copied.
    :param champion: what the champion answered, a value or a list of values for each row; `shadow` alike.
    """
    agreed = sum(agree(one, other, tolerance) for one, other in zip(champion, shadow, strict=True))
    return {**of, "shadow_of": request_id, "agreed": agreed}


def agree(champion: Any, shadow: Any, tolerance: float) -> bool:
    """Whether two predictions are the same: numbers with a fraction up to a relative tolerance, all else exactly.

    >>> agree(1.0, 1.0000001, 1e-6), agree("a", "b", 1e-6), agree([1.0, 2.0], [1.0, 2.5], 1e-6), agree(1, 2, 9.0)
    (True, False, False, False)
    >>> agree(float("inf"), 5.0, 1e-6), agree(float("inf"), float("inf"), 1e-6)
    (False, True)
    """
    if isinstance(champion, list) and isinstance(shadow, list):
        return len(champion) == len(shadow) and all(map(lambda a, b: agree(a, b, tolerance), champion, shadow))
    if isinstance(champion, float) or isinstance(shadow, float):
        try:
            one, other = float(champion), float(shadow)
        except (TypeError, ValueError):
            return False
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        if math.isinf(one) or math.isinf(other):
            # Any share of infinity is infinite.
            return one == other
        return abs(one - other) <= tolerance * max(1.0, abs(one))
    return bool(champion == shadow)


def has_marks(line: bytes) -> bool:
    """Whether a line of the write-ahead log belongs to a rollout, seen without reading it as JSON.

    >>> has_marks(b'{"predictions":"' + 32 * b"0" + b'","rollout":"f00d"}')
    True
    """
    return b'"rollout":' in line[:NEARBY]
