"""The lines of the write-ahead log: what they hold, how they are encoded, and how they are recognized.

A line is one JSON object. Ingestion recognizes the lines that matter to rollouts by their first bytes, because parsing
every line takes too long. The encoders and `is_evidence` agree on these bytes through the constants of this module,
and only this module writes or recognizes lines.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, TypedDict

import numpy as np
import orjson
from numpy.typing import NDArray

from airflow_provider_mlops.serving.log.rollout_fields import RolloutContext
from airflow_provider_mlops.serving.log.schema import LogSchema, SchemaFields

_FRACTIONS = ("double", "doubles")

_PREDICTIONS, _FAILURE, _FEEDBACK, _SCHEMA = "predictions", "failure", "feedback", "schema"
"""The first key of a line, which says what kind of record it is."""
_ROLLOUT = "rollout"
"""The second key of an answer or a failure that belongs to a rollout."""

_IDENTIFIED = tuple(f'{{"{kind}":"'.encode() for kind in (_PREDICTIONS, _FAILURE))
_FEEDBACK_START = f'{{"{_FEEDBACK}":'.encode()
_ROLLOUT_NEXT = f'","{_ROLLOUT}":'.encode()

_MAX_ERROR_LENGTH = 1000


FeedbackRow = tuple[str, str | None, int, float | None]
"""Prediction id, label as text, time in microseconds since 1970, and reward."""


class SchemaRecord(TypedDict):
    """Describes the predictions of one version that follow in the same segment."""

    schema: SchemaFields


class FeedbackRecord(TypedDict):
    """Labels and rewards. A row without a reward has three elements; see `feedback_rows`."""

    feedback: list[list[Any]]


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
    rollout_context: RolloutContext | None = None,
) -> bytes:
    """Return the line for the predictions of one request.

    Parameters
    ----------
    features, probabilities
        One sequence per column.
    latency_ms
        None if the latency is not the one that a caller would have seen.
    rollout_context
        Fields of the rollout that the request belongs to, if any.
    """
    content = {
        _PREDICTIONS: request_id,
        **_rollout_first(rollout_context),
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
        # orjson writes null for infinity, which a model may well predict.
        return _dumps(content)
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def encode_failure(
    request_id: str,
    *,
    model: str,
    version: int,
    arm: str,
    latency_ms: float,
    error: str,
    rollout_context: RolloutContext,
) -> bytes:
    """Return the line for a request that a version of a rollout failed to answer."""
    return _dumps(
        {
            _FAILURE: request_id,
            **_rollout_first(rollout_context),
            "time": time.time_ns() // 1000,
            "model": model,
            "version": version,
            "arm": arm,
            "latency_ms": round(latency_ms, 3),
            "error": error[:_MAX_ERROR_LENGTH],
        }
    )


def encode_feedback(rows: Sequence[FeedbackRow]) -> bytes:
    """Return the line for labels and rewards.

    >>> encode_feedback([("f00d", "1", 1700000000000000, None)])
    b'{"feedback":[["f00d","1",1700000000000000]]}\\n'
    """
    return _dumps({_FEEDBACK: [row if row[3] is not None else row[:3] for row in rows]})


def encode_schema(schema: LogSchema) -> bytes:
    """Return the line that describes the predictions of a version."""
    return _dumps({_SCHEMA: schema.as_json()})


def parse(line: bytes) -> Any:
    """Return the content of any line. Raises ValueError if it is not JSON."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        # The quick parser does not know Infinity.
        return json.loads(line)


def feedback_rows(record: FeedbackRecord) -> list[FeedbackRow]:
    """Return the labels and rewards of a parsed line.

    >>> feedback_rows({"feedback": [["f00d", "1", 1700000000000000], ["cafe", None, 1700000000000001, 0.5]]})
    [('f00d', '1', 1700000000000000, None), ('cafe', None, 1700000000000001, 0.5)]
    """
    return [(name, label, micros, reward[0] if reward else None) for name, label, micros, *reward in record["feedback"]]


def is_evidence(line: bytes) -> bool:
    """Return whether a line may count for a rollout, without parsing it.

    It may if it is feedback, or an answer or a failure that belongs to a rollout.

    >>> is_evidence(encode_feedback([])), is_evidence(b'{"predictions":"f00d","time":1700000000000000}')
    (True, False)
    """
    for start in _IDENTIFIED:
        if line.startswith(start):
            return line.startswith(_ROLLOUT_NEXT, line.find(b'"', len(start)))
    return line.startswith(_FEEDBACK_START)


def _rollout_first(context: RolloutContext | None) -> Mapping[str, Any]:
    """Return the fields with `rollout` as the first key, as `is_evidence` expects it."""
    if context is None:
        return {}
    return context if next(iter(context)) == _ROLLOUT else {_ROLLOUT: context["rollout"], **context}


def _dumps(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), default=_as_list).encode() + b"\n"


def _as_list(array: NDArray[Any]) -> list[Any]:
    values: list[Any] = array.tolist()
    return values


def _finite(output: Sequence[Any]) -> bool:
    values = chain.from_iterable(output) if output and type(output[0]) is list else output
    return all(map(math.isfinite, values))
