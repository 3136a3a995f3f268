"""From the bytes of a request to the bytes of its answer: parse, check, predict, log.

All of it runs in a thread, so that the event loop stays free for other connections. The record is
in the write-ahead log before the answer is handed back.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_provider_mlops.serving import body, invocations, prediction_id, protocol_v2
from airflow_provider_mlops.serving.loaded_model import Answer, LoadedModel
from airflow_provider_mlops.serving.refusal import Refusal
from airflow_provider_mlops.serving.routes import Choice
from airflow_provider_mlops.serving.rows import Rows
from airflow_provider_mlops.serving.write_ahead import WriteAhead

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """An answer in the form of its protocol, and the id under which it was logged."""

    id: str
    version: int
    content: bytes


class Work(Protocol):
    """What both protocols do with a request, in a thread."""

    def __call__(
        self, raw: bytes, received: float, choice: Choice, model: LoadedModel, write_ahead: WriteAhead
    ) -> Prediction:
        """Answer the body `raw`, whose last byte came at `received` (of `time.perf_counter`). Raises Refusal."""


def infer(raw: bytes, received: float, choice: Choice, model: LoadedModel, write_ahead: WriteAhead) -> Prediction:
    """The Open Inference Protocol."""
    request = protocol_v2.parse(body.parse(raw), model.schema)
    own_id = prediction_id.new()
    answer = _predict(model, request.rows)
    content = protocol_v2.answer(model, request, answer, own_id)
    return _logged(own_id, content, request.rows, answer, received, choice, model, write_ahead)


def invoke(raw: bytes, received: float, choice: Choice, model: LoadedModel, write_ahead: WriteAhead) -> Prediction:
    """MLflow's protocol."""
    rows = invocations.parse(body.parse(raw), model.schema)
    own_id = prediction_id.new()
    answer = _predict(model, rows)
    content = invocations.answer(rows, answer, own_id)
    return _logged(own_id, content, rows, answer, received, choice, model, write_ahead)


def _predict(model: LoadedModel, rows: Rows) -> Answer:
    try:
        return model.predict(rows)
    except (ValueError, TypeError) as error:
        # This is how scikit-learn says that it cannot take certain values, such as a category that it does not know.
        raise Refusal(422, f"{model.version} cannot take these rows: {error}"[:1000]) from error
    except Exception as error:
        log.exception("%s failed on %d rows that fit its signature", model.version, rows.count)
        raise Refusal(500, f"{model.version} failed: {type(error).__name__}: {error}"[:1000]) from error


def _logged(
    own_id: str,
    content: dict[str, Any],
    rows: Rows,
    answer: Answer,
    received: float,
    choice: Choice,
    model: LoadedModel,
    write_ahead: WriteAhead,
) -> Prediction:
    encoded = json.dumps(content, separators=(",", ":")).encode()
    try:
        write_ahead.predictions(
            model.log_schema,
            own_id,
            arm=choice.arm,
            propensity=choice.propensity,
            features=rows.logged(),
            output=answer.output,
            probabilities=None if answer.probabilities is None else answer.probabilities.T.tolist(),
            latency_ms=(time.perf_counter() - received) * 1000,
        )
    except OSError as error:
        log.error("A prediction of %s is not answered, since it cannot be logged: %s", model.version, error)
        raise Refusal(503, f"the prediction cannot be logged: {error}", Retry_After="5") from error
    return Prediction(own_id, choice.version, encoded)
