"""Predicts together what waits together.

What has come while a prediction is under way is predicted by one call of the model and logged by one write. After
several were predicted together, the next ones wait until as many are there, but no longer than one prediction takes:
those who were answered together ask again at about the same time. With one client alone, every request is a batch of
its own and waits for nothing.
How many rows are taken together is bounded by what they add to the time of one (`pace.BatchProfile`).

Quick models of scikit-learn's own, for which handing the work to a thread would take longer than the work, predict on
the event loop; all others in threads, so that nothing slow ever blocks it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from airflow_provider_mlops.serving.gateway.predict import predictor
from airflow_provider_mlops.serving.gateway.predict.job import Job
from airflow_provider_mlops.serving.gateway.predict.predictor import PredictionLogWriter
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.rows.request_error import RequestError

ROWS_ON_THE_LOOP = 128


class Batcher:
    """The requests that wait for one version. Its methods run on the event loop.

    :param threads: how many batches may be under way at once.
    :param max_waiting: how many requests may wait; those beyond are refused with 429.
    :ivar executor: where it predicts.
    """

    def __init__(
        self,
        model: LoadedModel,
        writer: PredictionLogWriter,
        executor: ThreadPoolExecutor,
        threads: int,
        max_waiting: int,
    ) -> None:
        self._model = model
        self._pace = model.pace
        self._writer = writer
        self.executor = executor
        self._threads = threads
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._under_way = 0
        self._begins = False
        self._expected = 1
        self._until = 0.0

    def submit(self, job: Job) -> asyncio.Future[None]:
        """Wait for the prediction of a job. The future is set once the job has its outcome. Raises RequestError (429)."""
        if len(self._waiting) >= self._max_waiting:
            raise RequestError(429, f"{len(self._waiting)} requests wait for this model already", Retry_After="1")
        job.done = self._loop.create_future()
        self._waiting.append(job)
        if not self._begins and self._under_way < self._threads:
            # Not at once: what came in the same turn of the loop is taken along.
            self._begins = True
            self._until = time.perf_counter() + self._pace.seconds
            self._loop.call_soon(self._begin)
        return job.done

    def _begin(self) -> None:
        if len(self._waiting) < self._expected and time.perf_counter() < self._until:
            self._loop.call_soon(self._begin)
            return
        self._begins = False
        while self._waiting and self._under_way < self._threads:
            jobs, rows = self._take()
            if not jobs:
                return
            self._expected = len(jobs)
            if self._pace.quick and rows <= ROWS_ON_THE_LOOP:
                predictor.answer(jobs, self._model, self._writer)
                _tell(jobs)
                if self._waiting:
                    # Others get their turn between two batches.
                    self._begins = True
                    self._until = 0.0
                    self._loop.call_soon(self._begin)
                return
            self._under_way += 1
            work = self._loop.run_in_executor(self.executor, predictor.answer, jobs, self._model, self._writer)
            work.add_done_callback(partial(self._end, jobs))

    def _take(self) -> tuple[list[Job], int]:
        """The next requests that can be predicted together, without those that were given up meanwhile."""
        jobs: list[Job] = []
        rows = 0
        waiting = self._waiting
        while waiting:
            job = waiting[0]
            assert job.done is not None
            if job.done.done():
                waiting.popleft()
                continue
            count = job.request.rows.count
            if jobs and (
                rows + count > self._pace.batch_rows or job.request.rows.layout != jobs[0].request.rows.layout
            ):
                break
            jobs.append(waiting.popleft())
            rows += count
        return jobs, rows

    def _end(self, jobs: list[Job], work: asyncio.Future[None]) -> None:
        self._under_way -= 1
        if work.cancelled() or work.exception() is not None:
            for job in jobs:
                job.outcome = RequestError(503, "the gateway is stopping", Retry_After="5")
        _tell(jobs)
        self._begin()


def _tell(jobs: list[Job]) -> None:
    for job in jobs:
        if job.done is not None and not job.done.done():
            job.done.set_result(None)
