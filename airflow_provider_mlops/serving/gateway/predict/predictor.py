"""Predicts the rows of one or several requests by one call of the model, logs them by one write, and makes the answers.

It runs in a thread or, for models that are quick enough, on the event loop. The records are in the write-ahead log
before any of the answers is handed back.
"""

from __future__ import annotations

import logging
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_mlops.serving.gateway.predict.job import Job, Prediction
from airflow_provider_mlops.serving.log import prediction_id, record
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.loaded_model import Answer, LoadedModel
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.protocols.request import Request
from airflow_provider_mlops.serving.rows.request_error import ModelFailureError, RequestError
from airflow_provider_mlops.serving.rows.rows import Rows

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PredictionLogWriter:
    """Where predictions are logged.

    :ivar logs_all: False leaves out those that belong to no rollout.
    """

    write_ahead: WriteAhead
    logs_all: bool = True


def answer_body(
    read: Callable[[], Request], received: float, choice: Choice, model: LoadedModel, writer: PredictionLogWriter,
    done: Future[None],
) -> Job:  # fmt: skip
    """Everything at once for one request, from its bytes to its outcome. Raises RequestError for a body that is refused.

    :param done: is cancelled where nobody waits for it any more.
    """
    job = Job(choice, received, read(), done)
    answer([job], model, writer)
    return job


class _Batch:
    """What has been answered of some jobs, and the lines that log it; `is_evidence` as `WriteAhead.append` asks."""

    __slots__ = ("answered", "is_evidence", "lines", "logs_all")

    def __init__(self, logs_all: bool) -> None:
        self.logs_all = logs_all
        self.answered: list[Job] = []
        self.lines: list[bytes] = []
        self.is_evidence = False


def answer(jobs: Sequence[Job], model: LoadedModel, writer: PredictionLogWriter) -> None:
    """Give each job its outcome. Nothing is raised: what goes wrong is the outcome of those whom it concerns."""
    batch = _Batch(writer.logs_all)
    try:
        if len(jobs) == 1:
            _one(jobs[0], model, batch)
        else:
            _together(jobs, model, batch)
        if batch.lines:
            writer.write_ahead.append(batch.lines, model.log_schema, evidence=batch.is_evidence)
    except OSError as error:
        log.error(
            "%d predictions of %s are not answered, since they cannot be logged: %s",
            len(batch.answered),
            model.version,
            error,
        )
        refusal = RequestError(503, f"the prediction cannot be logged: {error}", Retry_After="5")
        for job in batch.answered:
            job.outcome = refusal
    except Exception as error:
        log.exception("A defect of the gateway")
        for job in jobs:
            job.outcome = RequestError(500, f"a defect of the gateway: {type(error).__name__}")


def _one(job: Job, model: LoadedModel, batch: _Batch) -> None:
    began = time.perf_counter()
    try:
        found = _predict(model, job.request.rows)
    except RequestError as refusal:
        job.outcome = refusal
        return
    _finish(job, model, found, (time.perf_counter() - began) * 1000, batch)


def _together(jobs: Sequence[Job], model: LoadedModel, batch: _Batch) -> None:
    began = time.perf_counter()
    try:
        found = model.predict(Rows.together([job.request.rows for job in jobs]))
    except Exception:
        # One row that the model refuses must not fail its neighbours.
        for job in jobs:
            _one(job, model, batch)
        return
    predict_ms = (time.perf_counter() - began) * 1000
    start = 0
    for job in jobs:
        end = start + job.request.rows.count
        probabilities = None if found.probabilities is None else found.probabilities[start:end]
        _finish(job, model, Answer(found.output[start:end], probabilities), predict_ms, batch)
        start = end


def _predict(model: LoadedModel, rows: Rows) -> Answer:
    try:
        return model.predict(rows)
    except (ValueError, TypeError) as error:
        # This is how scikit-learn says that it cannot take certain values, such as a category that it does not know.
        raise ModelFailureError(422, f"{model.version} cannot take these rows: {error}"[:1000]) from error
    except Exception as error:
        log.exception("%s failed on %d rows that fit its signature", model.version, rows.count)
        raise ModelFailureError(500, f"{model.version} failed: {type(error).__name__}: {error}"[:1000]) from error


def _finish(job: Job, model: LoadedModel, found: Answer, predict_ms: float, batch: _Batch) -> None:
    own_id = prediction_id.new()
    request, choice = job.request, job.choice
    encoded = request.answer(model, found, own_id)
    latency_ms = (time.perf_counter() - job.received) * 1000
    if (batch.logs_all or choice.rollout_context is not None) and not job.is_given_up:
        probabilities: Any = found.probabilities
        line = record.encode(
            model.log_schema,
            own_id,
            arm=choice.arm,
            propensity=choice.propensity,
            features=request.rows.logged(),
            output=found.output,
            probabilities=None if probabilities is None else np.ascontiguousarray(probabilities.T),
            latency_ms=latency_ms,
            rollout_context=choice.rollout_context,
        )
        batch.lines.append(line)
        batch.is_evidence = batch.is_evidence or choice.rollout_context is not None
    job.outcome = Prediction(own_id, choice.version, encoded, found, latency_ms, predict_ms)
    batch.answered.append(job)
