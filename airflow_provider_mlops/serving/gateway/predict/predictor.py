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
from functools import partial

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import describe_error
from airflow_provider_mlops.registry.model_output import ModelOutputError
from airflow_provider_mlops.serving.gateway.predict import batches
from airflow_provider_mlops.serving.gateway.predict.job import Job, Prediction
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel, ModelResponse
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.parsed_request import Parse, ParsedRequest
from airflow_provider_mlops.serving.repeated_log import RepeatedLog
from airflow_provider_mlops.serving.rows.request_error import (
    ModelFailureError,
    ModelRefusalError,
    RequestError,
    internal_error,
    log_reference,
)
from airflow_provider_mlops.serving.rows.rows import Rows

log = logging.getLogger(__name__)

repeated = RepeatedLog(log)


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


def predict_unlogged(parse: Parse, body: Body, model: LoadedModel) -> None:
    """Predict a request to see whether a version can. Raises RequestError if it cannot."""
    parsed = parse(body, model.schema)
    parsed.check_outputs(model)
    call_model(model, parsed.rows)


def predict_jobs(jobs: Sequence[Job], model: LoadedModel, writer: PredictionLogWriter) -> None:
    """Set `outcome` on every job. Never raises: a failure becomes the outcome of the jobs it affects."""
    batch = _PredictedBatch(writer.logs_all)
    predict = partial(_predict_one, jobs[0]) if len(jobs) == 1 else partial(_predict_together, jobs)
    _record_and_log(jobs, model, writer, batch, partial(predict, model, batch))


def _record_and_log(
    jobs: Sequence[Job],
    model: LoadedModel,
    writer: PredictionLogWriter,
    batch: _PredictedBatch,
    predict: Callable[[], None],
) -> None:
    """Set `outcome` on every job with `predict`, and log the predictions with one write."""
    try:
        predict()
        if batch.lines:
            writer.write_ahead.append(batch.lines, model.log_schema, evidence=batch.is_evidence)
    except OSError as error:
        repeated.error(
            (model.version, "unlogged", error.errno),
            "Could not log %s of %s and returned an error instead: %s",
            pluralize(len(batch.predicted), "prediction"),
            model.version,
            error,
        )
        unlogged = RequestError(503, f"The prediction could not be logged: {error}. Retry later.", Retry_After="5")
        for job in batch.predicted:
            job.outcome = unlogged
    except Exception as error:
        failure = ModelFailureError(500, internal_error(log, error, f"a prediction of {model.version}"))
        for job in jobs:
            job.outcome = failure


def predict_compiled(jobs: Sequence[Job], model: LoadedModel, writer: PredictionLogWriter) -> bool:
    """Set `outcome` on every job with the model's arithmetic alone, which takes microseconds.

    Returns False, with nothing done, if the model has no arithmetic, or if scikit-learn must see the rows.
    """
    if model.compiled is None:
        return False
    began = time.perf_counter()
    parts = [job.parsed.rows for job in jobs]
    try:
        response = model.predict_compiled(parts[0] if len(parts) == 1 else Rows.concatenate(parts))
    except Exception:
        # The estimator itself answers, or fails, as it does for other models.
        return False
    if response is None:
        return False
    predict_ms = (time.perf_counter() - began) * 1000
    batch = _PredictedBatch(writer.logs_all)
    _record_and_log(jobs, model, writer, batch, partial(_finish_all, jobs, parts, model, response, predict_ms, batch))
    return True


def _finish_all(
    jobs: Sequence[Job],
    parts: Sequence[Rows],
    model: LoadedModel,
    response: ModelResponse,
    predict_ms: float,
    batch: _PredictedBatch,
) -> None:
    if len(jobs) == 1:
        _finish(jobs[0], model, response, predict_ms, batch)
        return
    for job, part in zip(jobs, batches.split(response, parts), strict=True):
        _finish(job, model, part, predict_ms, batch)


def _predict_one(job: Job, model: LoadedModel, batch: _PredictedBatch) -> None:
    began = time.perf_counter()
    try:
        response = call_model(model, job.parsed.rows)
    except RequestError as error:
        job.outcome = error
        return
    _finish(job, model, response, (time.perf_counter() - began) * 1000, batch)


def _predict_together(jobs: Sequence[Job], model: LoadedModel, batch: _PredictedBatch) -> None:
    began = time.perf_counter()
    parts = [job.parsed.rows for job in jobs]
    try:
        response = model.predict(Rows.concatenate(parts))
    except BaseException as error:
        _predict_alone(jobs, model, batch, error)
        return
    predict_ms = (time.perf_counter() - began) * 1000
    _finish_all(jobs, parts, model, response, predict_ms, batch)


def _predict_alone(jobs: Sequence[Job], model: LoadedModel, batch: _PredictedBatch, error: BaseException) -> None:
    """Predict the requests of a failed batch one by one: a row that the model rejects must not fail the others."""
    for job in jobs:
        # A caller that has stopped waiting was told that the prediction took too long.
        if not job.is_abandoned:
            _predict_one(job, model, batch)
    model.batch_failed(error, all_predicted=all(isinstance(job.outcome, Prediction) for job in jobs))


def call_model(model: LoadedModel, rows: Rows) -> ModelResponse:
    """Return the model's response. Raises ModelFailureError, whatever the model does."""
    try:
        return model.predict(rows)
    except (ValueError, TypeError) as error:
        # scikit-learn raises these for values that it does not support, such as an unknown category.
        reason = describe_error(error)
        reference = log_reference(model.version, reason)
        repeated.warning(
            (model.version, "refused", reason),
            "%s refused rows that match its signature (reference %s): %s",
            model.version,
            reference,
            reason,
        )
        message = f"{model.version} cannot predict these rows. The gateway's log says why (reference {reference})."
        raise ModelRefusalError(422, message, reason=reason) from error
    except BaseException as error:
        is_output = isinstance(error, ModelOutputError)
        reason = str(error) if is_output else describe_error(error)
        reference = log_reference(model.version, reason)
        repeated.error(
            (model.version, "failed", reason),
            "%s failed on %s that match its signature (reference %s): %s",
            model.version,
            pluralize(rows.count, "row"),
            reference,
            reason,
            exc_info=None if is_output else error,
        )
        message = f"{model.version} failed on these rows. The gateway's log says why (reference {reference})."
        raise ModelFailureError(500, message, reason=reason) from error


def _finish(job: Job, model: LoadedModel, response: ModelResponse, predict_ms: float, batch: _PredictedBatch) -> None:
    own_id = prediction_id.new(model.version.name)
    parsed, choice = job.parsed, job.choice
    encoded = parsed.encode(model, response, own_id)
    latency_ms = (time.perf_counter() - job.received) * 1000
    is_evidence = choice.rollout_context is not None
    if (is_evidence or batch.logs_all) and not job.is_abandoned and parsed.rows.count:
        batch.lines.append(batches.encode_record(model, own_id, choice, parsed.rows, response, latency_ms))
        batch.is_evidence = batch.is_evidence or is_evidence
    job.outcome = Prediction(own_id, choice.version, encoded, response, latency_ms, predict_ms, parsed.rows.count)
    batch.predicted.append(job)
