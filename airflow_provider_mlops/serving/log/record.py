"""One line of the write-ahead log: the predictions of one request."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from airflow_provider_mlops.serving.log.schema import LogSchema

_FRACTIONS = ("double", "doubles")


def encode(
    schema: LogSchema,
    request_id: str,
    *,
    arm: str,
    propensity: float | None,
    features: Sequence[Sequence[Any]] | NDArray[np.float64],
    output: Sequence[Any],
    probabilities: Sequence[Sequence[float]] | NDArray[np.float64] | None,
    latency_ms: float | None,
    marks: Mapping[str, Any] | None = None,
) -> bytes:
    """The line for the predictions of one request; `features` and `probabilities` hold one sequence a column.

    :param latency_ms: None where it says nothing of what a caller would have seen.
    :param marks: of a rollout, see `marks.py`. They come right after the id, where ingestion looks for them.
    """
    content = {
        "predictions": request_id,
        **(marks or {}),
        "time": time.time_ns() // 1000,
        "model": schema.model,
        "version": schema.version,
        "arm": arm,
        "propensity": propensity,
        "latency_ms": None if latency_ms is None else round(latency_ms, 3),
        "features": features,
        "output": output,
        "probabilities": probabilities,
    }
    if schema.output in _FRACTIONS and not _finite(output):
        # The quick encoder writes null for infinity, which a model may well predict.
        return json.dumps(content, separators=(",", ":"), default=_listed).encode() + b"\n"
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def parse(line: bytes) -> Any:
    """The content of a line of any kind. Raises ValueError."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)


def _listed(array: NDArray[Any]) -> list[Any]:
    values: list[Any] = array.tolist()
    return values


def _finite(output: Sequence[Any]) -> bool:
    values = chain.from_iterable(output) if output and type(output[0]) is list else output
    return all(map(math.isfinite, values))
