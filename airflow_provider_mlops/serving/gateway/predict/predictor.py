"""Predicts one or several requests with one model call, and logs them with one write.

It runs in a thread or, for models that are fast enough, on the event loop. The records are in the write-ahead log
before any response is sent.
"""

from __future__ import annotations

import logging
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.gateway.predict import batches
from airflow_provider_mlops.serving.gateway.predict.job import Job, Prediction
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel, ModelResponse
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.protocols.parsed_request import ParsedRequest
from airflow_provider_mlops.serving.rows.request_error import ModelFailureError, RequestError
from airflow_provider_mlops.serving.rows.rows import Rows

log = logging.getLogger(__name__)

_MAX_MESSAGE_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class PredictionLogWriter:
    """The log of predictions.

    Parameters
    ----------
    write_ahead
        Write-ahead log of this process.
    logs_all
        Whether to log every prediction; False logs only those that belong to a rollout.
    """

    write_ahead: WriteAhead
    logs_all: bool = True


class _PredictedBatch:
    """The jobs of a batch that have a prediction, and the lines that log them.

    `is_evidence` says whether any line belongs to a rollout, as `WriteAhead.append` needs to know.
    """

    __slots__ = ("is_evidence", "lines", "logs_all", "predicted")

    def __init__(self, logs_all: bool) -> None:
        self.logs_all = logs_all
        self.predicted: list[Job] = []
        self.lines: list[bytes] = []
        self.is_evidence = False


def predict_body(
    parse: Callable[[], ParsedRequest],
    received: float,
    choice: Choice,
    model: LoadedModel,
    writer: PredictionLogWriter,
    done: Future[None],
) -> Job:
    """Parse and predict one large request. Returns the finished job; raises RequestError if the body is invalid.

    Parameters
    ----------
    done
        Cancelled when the caller stops waiting.
    """
    job = Job(choice, received, parse(), done)
    predict_jobs([job], model, writer)
    return job


def predict_jobs(jobs: Sequence[Job], model: LoadedModel, writer: PredictionLogWriter) -> None:
    """Set `outcome` on every job. Never raises: a failure becomes the outcome of the jobs it affects."""
    batch = _PredictedBatch(writer.logs_all)
    try:
        if len(jobs) == 1:
            _predict_one(jobs[0], model, batch)
        else:
            _predict_together(jobs, model, batch)
        if batch.lines:
            writer.write_ahead.append(batch.lines, model.log_schema, evidence=batch.is_evidence)
    except OSError as error:
        log.error(
            "Could not log %s of %s and returned an error instead: %s",
            pluralize(len(batch.predicted), "prediction"),
            model.version,
            error,
        )
        failure = RequestError(503, f"The prediction could not be logged: {error}. Retry later.", Retry_After="5")
        for job in batch.predicted:
            job.outcome = failure
    except Exception as error:
        log.exception("Internal error of the gateway during a prediction of %s", model.version)
        for job in jobs:
            job.outcome = RequestError(500, f"Internal error of the gateway: {type(error).__name__}.")


def _predict_one(job: Job, model: LoadedModel, batch: _PredictedBatch) -> None:
    began = time.perf_counter()
    try:
        response = _call_model(model, job.parsed.rows)
    except RequestError as error:
        job.outcome = error
        return
    _finish(job, model, response, (time.perf_counter() - began) * 1000, batch)


def _predict_together(jobs: Sequence[Job], model: LoadedModel, batch: _PredictedBatch) -> None:
    began = time.perf_counter()
    parts = [job.parsed.rows for job in jobs]
    try:
        response = model.predict(Rows.concatenate(parts))
    except Exception:
        # A row that the model rejects must not fail the other requests of the batch.
        for job in jobs:
            _predict_one(job, model, batch)
        return
    predict_ms = (time.perf_counter() - began) * 1000
    for job, part in zip(jobs, batches.split(response, parts), strict=True):
        _finish(job, model, part, predict_ms, batch)


def _call_model(model: LoadedModel, rows: Rows) -> ModelResponse:
    try:
        return model.predict(rows)
    except (ValueError, TypeError) as error:
        # scikit-learn raises these for values that it does not support, such as an unknown category.
        message = f"{model.version} cannot predict these rows: {error}"
        raise ModelFailureError(422, _as_sentence(message)) from error
    except Exception as error:
        log.exception("%s failed on input that matches its signature (%s)", model.version, pluralize(rows.count, "row"))
        message = f"{model.version} failed: {type(error).__name__}: {error}"
        raise ModelFailureError(500, _as_sentence(message)) from error


def _as_sentence(message: str) -> str:
    return message[:_MAX_MESSAGE_LENGTH].rstrip(". \n") + "."


def _finish(job: Job, model: LoadedModel, response: ModelResponse, predict_ms: float, batch: _PredictedBatch) -> None:
    own_id = prediction_id.new()
    parsed, choice = job.parsed, job.choice
    encoded = parsed.encode(model, response, own_id)
    latency_ms = (time.perf_counter() - job.received) * 1000
    is_evidence = choice.rollout_context is not None
    if (is_evidence or batch.logs_all) and not job.is_abandoned:
        batch.lines.append(batches.encode_record(model, own_id, choice, parsed.rows, response, latency_ms))
        batch.is_evidence = batch.is_evidence or is_evidence
    job.outcome = Prediction(own_id, choice.version, encoded, response, latency_ms, predict_ms)
    batch.predicted.append(job)
