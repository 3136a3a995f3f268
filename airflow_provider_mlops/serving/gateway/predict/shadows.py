"""Sends copies of requests to shadows: gathered for a moment, predicted in batches in a separate thread, and compared.

This happens off the response path. Gathering keeps the cost low: one model call and one log write serve many copies.
The first copy of each batch is predicted alone, to measure the latency that a caller would have seen.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from airflow_provider_mlops.errors import describe_error
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.predict import batches
from airflow_provider_mlops.serving.gateway.predict.job import Prediction
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel, ModelResponse
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.parsed_request import Parse, ParsedRequest
from airflow_provider_mlops.serving.rollouts.plan.strategies import ShadowStrategy
from airflow_provider_mlops.serving.rollouts.rollout_context import shadow_context
from airflow_provider_mlops.serving.rollouts.shadow_queue import Outcome, ShadowQueue, WriteLog
from airflow_provider_mlops.serving.rows.rows import Rows

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
_MAX_BATCH_COPIES = 32


@dataclass(slots=True)
class AnsweredRequest:
    """A request that the champion has answered.

    `parsed` follows the champion's schema. If the shadow has another schema, `parse` parses the body again.
    """

    parse: Parse
    body: Body
    parsed: ParsedRequest
    prediction: Prediction


@dataclass(slots=True)
class ShadowCopy:
    """A copy of an answered request for a shadow; `choice` names the shadow's version and arm."""

    choice: Choice
    original: AnsweredRequest


class _PredictedCopy(NamedTuple):
    """A copy, its rows, the shadow's response, and the latency that a caller would have seen, if it was measured."""

    copy: ShadowCopy
    rows: Rows
    response: ModelResponse
    latency_ms: float | None


@dataclass
class _ShadowBatch:
    """The copies for one rollout that are being gathered."""

    queue: ShadowQueue
    strategy: ShadowStrategy
    model: LoadedModel
    max_copies: int
    copies: list[ShadowCopy] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


RecordCopy = Callable[[str, Choice, bool], None]
"""Called with a model's name, the shadow's choice, and whether the shadow failed."""


class Shadows:
    """The shadows of one process. `offer` runs on the event loop and returns at once.

    Parameters
    ----------
    write_ahead
        Log of the shadows' predictions.
    metrics
        Metrics to update.
    record_copy
        Called from any thread for each copy that a shadow was asked to predict.
    """

    def __init__(self, write_ahead: WriteAhead, metrics: Metrics, record_copy: RecordCopy) -> None:
        self._write_ahead = write_ahead
        self._metrics = metrics
        self._record_copy = record_copy
        self._batches: dict[str, _ShadowBatch] = {}
        # Queues of finished rollouts in which a batch is still running.
        self._closing: list[ShadowQueue] = []

    def offer(self, rollout: str, strategy: ShadowStrategy, model: LoadedModel, copy: ShadowCopy) -> None:
        """Add a copy for the shadow `model` of a rollout; it is dropped if too many are waiting."""
        batch = self._batches.get(rollout)
        if batch is None or batch.model is not model:
            self._end(rollout)
            batch = self._batches[rollout] = self._new_batch(strategy, model)
        batch.copies.append(copy)
        if len(batch.copies) >= batch.max_copies:
            self._enqueue(batch)
        elif batch.timer is None:
            batch.timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._enqueue, batch)

    def check(self, is_in_progress: Callable[[str], bool]) -> None:
        """Give up batches that time out, and remove finished rollouts. Call this regularly."""
        self._closing = [queue for queue in self._closing if queue.check()]
        for rollout, batch in list(self._batches.items()):
            batch.queue.check()
            if not is_in_progress(rollout):
                self._end(rollout)

    def close(self) -> None:
        """Drop all waiting copies."""
        for rollout in list(self._batches):
            self._end(rollout)

    def _new_batch(self, strategy: ShadowStrategy, model: LoadedModel) -> _ShadowBatch:
        # A batch of a slow model must finish well within the timeout of a single copy.
        max_in_time = int(strategy.timeout_seconds / (4 * max(model.pace.seconds, 1e-6)))
        queue = ShadowQueue(strategy.max_waiting, strategy.timeout_seconds)
        max_copies = max(1, min(_MAX_BATCH_COPIES, strategy.max_waiting, max_in_time))
        return _ShadowBatch(queue, strategy, model, max_copies)

    def _end(self, rollout: str) -> None:
        batch = self._batches.pop(rollout, None)
        if batch is not None:
            if batch.timer is not None:
                batch.timer.cancel()
            batch.queue.close()
            self._take_run(batch).lost("ended")
            self._closing.append(batch.queue)

    def _enqueue(self, batch: _ShadowBatch) -> None:
        if batch.timer is not None:
            batch.timer.cancel()
            batch.timer = None
        if batch.copies:
            batch.queue.offer(self._take_run(batch))

    def _take_run(self, batch: _ShadowBatch) -> _ShadowRun:
        """Remove the gathered copies and return them as a run."""
        copies, batch.copies = batch.copies, []
        return _ShadowRun(
            copies, batch.model, batch.strategy.tolerance, self._write_ahead, self._metrics, self._record_copy
        )


class _ShadowRun:
    """A batch of copies on its way through the shadow; see `shadow_queue.Batch`."""

    def __init__(
        self,
        copies: Sequence[ShadowCopy],
        model: LoadedModel,
        tolerance: float,
        write_ahead: WriteAhead,
        metrics: Metrics,
        record_copy: RecordCopy,
    ) -> None:
        self._copies = copies
        self._model = model
        self._tolerance = tolerance
        self._write_ahead = write_ahead
        self._metrics = metrics
        self._record_copy = record_copy
        self._predicted: list[_PredictedCopy] = []
        self._failed: list[tuple[ShadowCopy, str]] = []

    @property
    def count(self) -> int:
        """Number of copies."""
        return len(self._copies)

    def run(self) -> WriteLog:
        """Predict the copies. Returns the function that logs the predictions."""
        began = time.perf_counter()
        first, rest = self._copies[0], self._copies[1:]
        self._predict_one(first)
        if self._predicted:
            spent_ms = (time.perf_counter() - began) * 1000
            # A caller would have waited as long as for the champion, except for the model call.
            original = first.original.prediction
            latency_ms = original.latency_ms - original.predict_ms + spent_ms
            self._predicted[0] = self._predicted[0]._replace(latency_ms=latency_ms)
        for group in self._groups(rest):
            parts = [rows for _, rows in group]
            try:
                response = self._model.predict(Rows.concatenate(parts))
            except BaseException as error:
                predicted = len(self._predicted)
                for copy, _ in group:
                    self._predict_one(copy)
                self._model.batch_failed(error, all_predicted=len(self._predicted) - predicted == len(group))
                continue
            for (copy, rows), part in zip(group, batches.split(response, parts), strict=True):
                self._predicted.append(_PredictedCopy(copy, rows, part, None))
        return lambda: self._log(self._predicted, self._failed)

    def failed(self, outcome: Outcome, reason: str) -> None:
        """Log that the shadow did not predict the copies."""
        self._log([], [(copy, reason) for copy in self._copies], outcome)

    def lost(self, outcome: Outcome) -> None:
        """Count copies that the shadow was never asked to predict."""
        self._count(outcome, self.count)

    def _predict_one(self, copy: ShadowCopy) -> None:
        try:
            rows = self._rows(copy)
            self._predicted.append(_PredictedCopy(copy, rows, self._model.predict(rows), None))
        except BaseException as error:
            self._failed.append((copy, describe_error(error)))

    def _rows(self, copy: ShadowCopy) -> Rows:
        """Return the rows in the shadow's schema. Raises RequestError, also if it lacks an output of the request."""
        copy.original.parsed.check_outputs(self._model)
        rows = copy.original.parsed.rows
        schema = self._model.schema
        return rows if rows.schema == schema else copy.original.parse(copy.original.body, schema).rows

    def _groups(self, copies: Sequence[ShadowCopy]) -> Iterator[list[tuple[ShadowCopy, Rows]]]:
        """Yield groups of copies whose rows can be predicted together."""
        group: list[tuple[ShadowCopy, Rows]] = []
        count = 0
        for copy in copies:
            try:
                rows = self._rows(copy)
            except Exception as error:
                self._failed.append((copy, describe_error(error)))
                continue
            if group and not batches.fits(rows, group[0][1], count, self._model.pace.batch_rows):
                yield group
                group, count = [], 0
            group.append((copy, rows))
            count += rows.count
        if group:
            yield group

    def _log(
        self,
        predicted: Sequence[_PredictedCopy],
        failures: Sequence[tuple[ShadowCopy, str]],
        outcome: Outcome = "failed",
    ) -> None:
        version = self._model.version
        for copy, *_ in predicted:
            self._record_copy(version.name, copy.choice, False)
        for copy, _ in failures:
            self._record_copy(version.name, copy.choice, True)
        answered = failed = 0
        try:
            lines = [self._encode(copy) for copy in predicted]
            if lines:
                self._write_ahead.append(lines, self._model.log_schema)
            answered = len(lines)
            for copy, reason in failures:
                self._log_failure(copy, reason)
                failed += 1
        finally:
            self._count("answered", answered)
            self._count(outcome, failed)
            self._count("unlogged", self.count - answered - failed)

    def _log_failure(self, copy: ShadowCopy, reason: str) -> None:
        version, context = self._model.version, copy.choice.rollout_context
        if context is None:
            return
        self._write_ahead.failure(
            prediction_id.new(self._model.version.name),
            model=version.name,
            version=version.version,
            arm=copy.choice.arm,
            latency_ms=0.0,
            error=reason,
            rollout_context={**context, "shadow_of": copy.original.prediction.id},
        )

    def _encode(self, predicted: _PredictedCopy) -> bytes:
        copy, rows, response, latency_ms = predicted
        original = copy.original.prediction
        context = shadow_context(
            copy.choice.rollout_context, original.id, original.response.output, response.output, self._tolerance
        )
        choice = copy.choice._replace(rollout_context=context)
        return batches.encode_record(
            self._model, prediction_id.new(self._model.version.name), choice, rows, response, latency_ms
        )

    def _count(self, outcome: Outcome, copies: int) -> None:
        self._metrics.count_copies(self._model.version.name, self._model.version.version, outcome, copies)
