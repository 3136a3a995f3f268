"""Copies of requests for shadows: gathered for a moment, predicted together in a thread of their own, and compared.

Nothing of this is on the way of an answer. Gathering keeps the cost low: one call of the model, and one write, for many
copies. The first copy of each lot is predicted by itself, and tells the latency that a caller would have seen.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.predict.job import Prediction
from airflow_provider_mlops.serving.log import prediction_id, record
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.loaded_model import Answer, LoadedModel
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.request import Read, Request
from airflow_provider_mlops.serving.rollouts.rollout_context import shadow_context
from airflow_provider_mlops.serving.rollouts.shadow_queue import Outcome, ShadowQueue, WriteLog
from airflow_provider_mlops.serving.rollouts.strategies import ShadowStrategy
from airflow_provider_mlops.serving.rows.rows import Rows

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
_MOST_TOGETHER = 32


@dataclass(slots=True)
class AnsweredRequest:
    """A request that the champion has answered.

    :ivar read: reads the body again, where the shadow has another signature than the champion.
    """

    read: Read
    body: Body
    request: Request
    prediction: Prediction


@dataclass(slots=True)
class ShadowCopy:
    """A copy of a request for a shadow.

    :ivar choice: the shadow's.
    """

    choice: Choice
    of: AnsweredRequest


@dataclass
class _ShadowBatch:
    """The copies for one rollout that have not been handed over yet."""

    queue: ShadowQueue
    strategy: ShadowStrategy
    model: LoadedModel
    most: int
    copies: list[ShadowCopy] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


Judge = Callable[[str, Choice, bool], None]
"""Told of a model, a shadow's choice, and whether it has failed."""


class Shadows:
    """The shadows of one process. `offer` runs on the event loop and returns at once.

    :param judge: called for each copy that a shadow was asked for, from any thread.
    """

    def __init__(self, write_ahead: WriteAhead, metrics: Metrics, judge: Judge) -> None:
        self._write_ahead = write_ahead
        self._metrics = metrics
        self._judge = judge
        self._lots: dict[str, _ShadowBatch] = {}
        # Of rollouts that are over, while a lot is still at work there.
        self._leaving: list[ShadowQueue] = []

    def offer(self, rollout: str, strategy: ShadowStrategy, model: LoadedModel, copy: ShadowCopy) -> None:
        """Take a copy for a shadow, unless too many wait.

        :param rollout: the rollout's id.
        :param model: the shadow.
        """
        lot = self._lots.get(rollout)
        if lot is None or lot.model is not model:
            self._end(rollout)
            lot = self._lots[rollout] = self._lot(strategy, model)
        lot.copies.append(copy)
        if len(lot.copies) >= lot.most:
            self._hand_over(lot)
        elif lot.timer is None:
            lot.timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._hand_over, lot)

    def check(self, is_under_way: Callable[[str], bool]) -> None:
        """Give up what takes too long, and forget rollouts that are over. To be called now and then."""
        self._leaving = [queue for queue in self._leaving if queue.check()]
        for rollout, lot in list(self._lots.items()):
            lot.queue.check()
            if not is_under_way(rollout):
                self._end(rollout)

    def close(self) -> None:
        """Drop what waits."""
        for rollout in list(self._lots):
            self._end(rollout)

    def _lot(self, strategy: ShadowStrategy, model: LoadedModel) -> _ShadowBatch:
        # A lot of a slow model must be through well before the time that a single copy has.
        most = int(strategy.timeout_seconds / (4 * max(model.pace.seconds, 1e-6)))
        queue = ShadowQueue(strategy.max_waiting, strategy.timeout_seconds)
        return _ShadowBatch(queue, strategy, model, max(1, min(_MOST_TOGETHER, strategy.max_waiting, most)))

    def _end(self, rollout: str) -> None:
        lot = self._lots.pop(rollout, None)
        if lot is not None:
            if lot.timer is not None:
                lot.timer.cancel()
            lot.queue.close()
            self._work(lot).lost("ended")
            self._leaving.append(lot.queue)

    def _hand_over(self, lot: _ShadowBatch) -> None:
        if lot.timer is not None:
            lot.timer.cancel()
            lot.timer = None
        if lot.copies:
            lot.queue.offer(self._work(lot))

    def _work(self, lot: _ShadowBatch) -> _Work:
        """The copies that have been gathered, which then are no more."""
        copies, lot.copies = lot.copies, []
        return _Work(copies, lot.model, lot.strategy.tolerance, self._write_ahead, self._metrics, self._judge)


class _Work:
    """A lot on its way through the shadow."""

    def __init__(
        self,
        copies: Sequence[ShadowCopy],
        model: LoadedModel,
        tolerance: float,
        write_ahead: WriteAhead,
        metrics: Metrics,
        judge: Judge,
    ) -> None:
        self._copies = copies
        self._model = model
        self._tolerance = tolerance
        self._write_ahead = write_ahead
        self._metrics = metrics
        self._judge = judge

    @property
    def count(self) -> int:
        """How many copies there are."""
        return len(self._copies)

    def run(self) -> WriteLog:
        """Predict. Returns what logs the answers."""
        answers: list[tuple[ShadowCopy, Rows, Answer, float | None]] = []
        failures: list[tuple[ShadowCopy, str]] = []
        began = time.perf_counter()
        first, others = self._copies[0], self._copies[1:]
        self._alone(first, answers, failures)
        if answers:
            copy, rows, answer, _ = answers[0]
            spent = (time.perf_counter() - began) * 1000
            # What reading, waiting and logging took is the champion's; only the prediction was another one.
            answers[0] = (copy, rows, answer, copy.of.prediction.latency_ms - copy.of.prediction.predict_ms + spent)
        for lot in self._lots(others, failures):
            try:
                found = self._model.predict(Rows.together([rows for _, rows in lot]))
            except Exception:
                for copy, _ in lot:
                    self._alone(copy, answers, failures)
                continue
            start = 0
            for copy, rows in lot:
                end = start + rows.count
                chances = None if found.probabilities is None else found.probabilities[start:end]
                answers.append((copy, rows, Answer(found.output[start:end], chances), None))
                start = end
        return lambda: self._log(answers, failures)

    def failed(self, outcome: Outcome, reason: str) -> None:
        """Log that there are no answers."""
        self._log([], [(copy, reason) for copy in self._copies], outcome)

    def lost(self, outcome: Outcome) -> None:
        """Count that the shadow was never asked."""
        self._count(outcome, self.count)

    def _alone(
        self,
        copy: ShadowCopy,
        answers: list[tuple[ShadowCopy, Rows, Answer, float | None]],
        failures: list[tuple[ShadowCopy, str]],
    ) -> None:
        try:
            rows = self._rows(copy)
            answers.append((copy, rows, self._model.predict(rows), None))
        except Exception as error:
            failures.append((copy, f"{type(error).__name__}: {error}"))

    def _rows(self, copy: ShadowCopy) -> Rows:
        """The rows as the shadow takes them. Raises RequestError."""
        rows = copy.of.request.rows
        schema = self._model.schema
        return rows if rows.schema == schema else copy.of.read(copy.of.body, schema).rows

    def _lots(
        self, copies: Sequence[ShadowCopy], failures: list[tuple[ShadowCopy, str]]
    ) -> Iterator[list[tuple[ShadowCopy, Rows]]]:
        """Copies whose rows can be predicted together."""
        lot: list[tuple[ShadowCopy, Rows]] = []
        count = 0
        for copy in copies:
            try:
                rows = self._rows(copy)
            except Exception as error:
                failures.append((copy, f"{type(error).__name__}: {error}"))
                continue
            if lot and (count + rows.count > self._model.pace.batch_rows or rows.layout != lot[0][1].layout):
                yield lot
                lot, count = [], 0
            lot.append((copy, rows))
            count += rows.count
        if lot:
            yield lot

    def _log(
        self,
        answers: list[tuple[ShadowCopy, Rows, Answer, float | None]],
        failures: list[tuple[ShadowCopy, str]],
        outcome: Outcome = "failed",
    ) -> None:
        version = self._model.version
        for copy, *_ in answers:
            self._judge(version.name, copy.choice, False)
        for copy, _ in failures:
            self._judge(version.name, copy.choice, True)
        answered = failed = 0
        try:
            lines = [self._line(*answer) for answer in answers]
            if lines:
                self._write_ahead.append(lines, self._model.log_schema)
            answered = len(lines)
            for copy, reason in failures:
                if copy.choice.rollout_context is not None:
                    self._write_ahead.failure(
                        prediction_id.new(), model=version.name, version=version.version, arm=copy.choice.arm,
                        latency_ms=0.0, error=reason,
                        rollout_context={**copy.choice.rollout_context, "shadow_of": copy.of.prediction.id},
                    )  # fmt: skip
                failed += 1
        finally:
            self._count("answered", answered)
            self._count(outcome, failed)
            self._count("unlogged", self.count - answered - failed)

    def _count(self, outcome: Outcome, copies: int) -> None:
        self._metrics.shadowed(self._model.version.name, self._model.version.version, outcome, copies)

    def _line(self, copy: ShadowCopy, rows: Rows, answer: Answer, latency_ms: float | None) -> bytes:
        probabilities = answer.probabilities
        return record.encode(
            self._model.log_schema,
            prediction_id.new(),
            arm=copy.choice.arm,
            propensity=copy.choice.propensity,
            features=rows.logged(),
            output=answer.output,
            probabilities=None if probabilities is None else np.ascontiguousarray(probabilities.T),
            latency_ms=latency_ms,
            rollout_context=shadow_context(
                copy.choice.rollout_context, copy.of.prediction.id, copy.of.prediction.answer.output, answer.output,
                self._tolerance,
            ),
        )  # fmt: skip
