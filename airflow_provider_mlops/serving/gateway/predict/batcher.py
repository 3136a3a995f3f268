"""Predicts the requests that wait for one version in batches.

Requests that arrive during a prediction are batched: one model call and one log write serve them all. After a batch of
several requests, the next batch waits until as many requests have arrived, but no longer than one prediction takes,
because clients whose requests were answered together send their next ones at about the same time. A single client
never waits: if the model is compiled, its request is predicted at once.

The size of a batch is limited by the time that additional rows take (`BatchProfile`).

Compiled models and fast scikit-learn models, for which passing the work to a thread would take longer than the work
itself, predict on the event loop. All other models predict in threads, so that slow work never blocks the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import Literal

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.gateway.predict import batches, predictor
from airflow_provider_mlops.serving.gateway.predict.job import Job
from airflow_provider_mlops.serving.gateway.predict.prediction_threads import PredictionThreads
from airflow_provider_mlops.serving.gateway.predict.predictor import PredictionLogWriter
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.rows.request_error import ModelFailureError, RequestError

ROWS_ON_THE_LOOP = 128
"""Maximum number of rows that a fast model predicts on the event loop."""


class Batcher:
    """The requests that wait for one version. Its methods run on the event loop.

    ::

                submit, and a thread is free
         idle ------------------------------> gathering: `_gather` is scheduled
          ^                                       |
          |                                       | `_expected_jobs` are waiting, or it is `_gather_until`
          +---------------------------------------+ a batch starts
            nothing waits, or no thread is free

    `_running` counts the batches in threads. The end of each is another opportunity to gather.

    Parameters
    ----------
    model
        Version that predicts.
    writer
        Log of the predictions.
    threads
        Threads in which the version predicts.
    max_waiting
        Maximum number of waiting requests; further ones are rejected with status 429.

    Attributes
    ----------
    large_requests
        Number of requests that are parsed and predicted alone in a thread, or wait for one.
    """

    def __init__(
        self,
        model: LoadedModel,
        writer: PredictionLogWriter,
        threads: PredictionThreads,
        max_waiting: int,
    ) -> None:
        self._model = model
        self._writer = writer
        self.threads = threads
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._running = 0
        # Counts how often threads were replaced: batches of earlier ones are no longer counted in `_running`.
        self._generation = 0
        self.large_requests = 0
        self._state: Literal["idle", "gathering"] = "idle"
        self._expected_jobs = 1
        self._has_company = False
        self._gather_until = 0.0

    def submit(self, job: Job) -> asyncio.Future[None]:
        """Queue a job. The future is resolved when the job has its outcome. Raises ModelFailureError (429 or 503)."""
        if self.threads.is_exhausted:
            raise self._exhausted()
        if len(self._waiting) >= self._max_waiting:
            waiting = pluralize(len(self._waiting), "request")
            raise ModelFailureError(
                429, f"Too many requests are waiting for this version ({waiting}). Retry later.", Retry_After="1"
            )
        job.done = self._loop.create_future()
        self._waiting.append(job)
        if self._state == "idle" and self._running < self.threads.count:
            # Scheduled, not called: requests that arrive in the same turn of the loop join the batch.
            self._gather_until = time.perf_counter() + self._model.pace.seconds
            self._state = "gathering"
            self._loop.call_soon(self._gather)
        return job.done

    def predict_now(self, job: Job) -> bool:
        """Predict a job at once if it is alone and the model is compiled. Returns False if it must be submitted.

        A further request in the same turn of the event loop is not alone: a batch costs less.
        """
        if self._has_company or self._state != "idle" or self._waiting or self._expected_jobs > 1:
            return False
        if not self._model.pace.quick or job.parsed.rows.count > ROWS_ON_THE_LOOP:
            return False
        if not predictor.predict_compiled([job], self._model, self._writer):
            return False
        self._has_company = True
        self._loop.call_soon(self._end_turn)
        return True

    def _end_turn(self) -> None:
        self._has_company = False

    def _exhausted(self) -> ModelFailureError:
        return ModelFailureError(
            503, f"{self._model.version} does not return from {self.threads.hung} predictions. Use another version."
        )

    def _gather(self) -> None:
        if len(self._waiting) < self._expected_jobs and time.perf_counter() < self._gather_until:
            self._state = "gathering"
            self._loop.call_soon(self._gather)
            return
        self._state = "idle"
        while self._waiting and self._running < self.threads.count:
            jobs, rows = self._take_batch()
            if not jobs:
                return
            self._expected_jobs = len(jobs)
            if self._model.pace.quick and rows <= ROWS_ON_THE_LOOP and self._predict_at_once(jobs):
                _resolve(jobs)
                if self._waiting:
                    # The event loop does other work between two batches.
                    self._gather_until = 0.0
                    self._state = "gathering"
                    self._loop.call_soon(self._gather)
                return
            self._running += 1
            work = self.threads.run(partial(predictor.predict_jobs, jobs, self._model, self._writer))
            work.add_done_callback(partial(self._end, jobs, self._generation))

    def _predict_at_once(self, jobs: list[Job]) -> bool:
        """Predict on the event loop. Returns False if the rows must be predicted in a thread.

        scikit-learn sees rows that the arithmetic of a compiled model declines, and may take a thousand times as long.
        """
        if self._model.compiled is not None:
            return predictor.predict_compiled(jobs, self._model, self._writer)
        predictor.predict_jobs(jobs, self._model, self._writer)
        return True

    def _take_batch(self) -> tuple[list[Job], int]:
        """Return the next jobs that can be predicted together, without abandoned ones, and their number of rows."""
        jobs: list[Job] = []
        count = 0
        waiting = self._waiting
        while waiting:
            job = waiting[0]
            if job.done is not None and job.done.cancelled():
                waiting.popleft()
                continue
            rows = job.parsed.rows
            if jobs and not batches.fits(rows, jobs[0].parsed.rows, count, self._model.pace.batch_rows):
                break
            jobs.append(waiting.popleft())
            count += rows.count
        return jobs, count

    def give_up(self, seconds: float) -> None:
        """Give up batches that have run for about as long as a caller waits, so that the next ones can begin."""
        if self.threads.give_up(seconds):
            self._running = 0
            self._generation += 1
            if self.threads.is_exhausted:
                waiting = list(self._waiting)
                self._waiting.clear()
                for job in waiting:
                    job.outcome = self._exhausted()
                _resolve(waiting)
            self._gather()

    def _end(self, jobs: list[Job], generation: int, work: asyncio.Future[None]) -> None:
        if generation == self._generation:
            self._running -= 1
        if work.cancelled():
            for job in jobs:
                job.outcome = RequestError(503, "The gateway is stopping. Retry later.", Retry_After="5")
        _resolve(jobs)
        self._gather()


def _resolve(jobs: list[Job]) -> None:
    """Wake the callers that still wait."""
    for job in jobs:
        if job.done is not None and not job.done.done():
            job.done.set_result(None)
