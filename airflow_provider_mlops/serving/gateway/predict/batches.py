"""Batches of requests for one version: which rows fit together, how a response is split, how a part is logged.

The batcher and the shadows both use these functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from airflow_provider_mlops.serving.log import record
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel, ModelResponse
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.rows.rows import Rows


def fits(rows: Rows, first: Rows, count: int, max_rows: int) -> bool:
    """Return whether rows can join a batch that begins with `first` and has `count` rows so far."""
    return count + rows.count <= max_rows and rows.layout == first.layout


def split(response: ModelResponse, parts: Iterable[Rows]) -> Iterator[ModelResponse]:
    """Yield the part of a batch's response that belongs to each request."""
    start = 0
    output, probabilities = response.output, response.probabilities
    for rows in parts:
        end = start + rows.count
        yield ModelResponse(output[start:end], None if probabilities is None else probabilities[start:end])
        start = end


def encode_record(
    model: LoadedModel,
    own_id: str,
    choice: Choice,
    rows: Rows,
    response: ModelResponse,
    latency_ms: float | None,
) -> bytes:
    """Return the line that logs the prediction of one request, with the rollout context of the choice."""
    probabilities = response.probabilities
    return record.encode(
        model.log_schema,
        own_id,
        arm=choice.arm,
        propensity=choice.propensity,
        features=rows.logged(),
        output=response.output,
        probabilities=None if probabilities is None else np.ascontiguousarray(probabilities.T),
        latency_ms=latency_ms,
        rollout_context=choice.rollout_context,
    )
