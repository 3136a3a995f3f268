"""What waits together is predicted together, and nobody suffers for it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

from airflow_provider_mlops.serving.gateway.predict import predictor
from airflow_provider_mlops.serving.gateway.predict.batcher import Batcher
from airflow_provider_mlops.serving.gateway.predict.job import Job, Prediction
from airflow_provider_mlops.serving.gateway.predict.prediction_threads import PredictionThreads
from airflow_provider_mlops.serving.gateway.predict.predictor import PredictionLogWriter
from airflow_provider_mlops.serving.log import layout, prediction_log
from airflow_provider_mlops.serving.log.segments import records, segments
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.policy.direct import Direct
from airflow_provider_mlops.serving.protocols import invocations
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
from airflow_provider_mlops.serving.rows.request_error import ModelFailureError, RequestError
from tests.serving.models.test_loaded_model import VERSION

SCHEMA = InputSchema((Feature("a", "double"), Feature("b", "double")))


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("there is no text")


class Twice(BaseEstimator):
    """Somebody's own estimator: notes how many rows it is given, takes its time, and refuses negative numbers."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[int] = []
        self.threads: set[str] = set()

    def predict(self, features: Any) -> Any:
        values = np.asarray(features, dtype=np.float64)
        self.asked.append(len(values))
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if (values < 0).any():
            raise ValueError("negative")
        if (values == 1313).any():
            raise KeyError("thirteen")
        if (values == 1414).any():
            raise KeyboardInterrupt
        if (values == 1515).any():
            raise UnreadableError
        return values.sum(axis=1) * 2


class LessTheMean(BaseEstimator):
    """What it says of a row depends on the others."""

    def predict(self, features: Any) -> Any:
        values = np.asarray(features)
        return values[:, 0] - values[:, 0].mean()


def model(estimator: Any, rows: int = 5) -> LoadedModel:
    frame = pd.DataFrame({"a": np.arange(rows) + 1.0, "b": np.arange(rows) * 2.0})
    return LoadedModel(
        VERSION, estimator, SCHEMA, signature_check.from_records(SCHEMA, frame.to_dict(orient="records"))
    )


def job(*rows: tuple[float, float]) -> Job:
    checked = signature_check.from_table(SCHEMA, None, [list(row) for row in rows])
    return Job(Direct(1).choose(), time.perf_counter(), invocations.Invocation(checked))


def unlogged() -> PredictionLogWriter:
    return PredictionLogWriter(WriteAhead(tempfile.mkdtemp()), logs_all=False)


def run(loaded: LoadedModel, jobs: Iterable[Job], writer: WriteAhead | None = None, **limits: int) -> list[Any]:
    """Submit all jobs in one turn of the loop. Returns what came of each: an answer, or the refusal."""

    log = PredictionLogWriter(writer) if writer else unlogged()

    async def submit() -> list[Any]:
        threads = PredictionThreads(VERSION, limits.get("threads", 1))
        with contextlib.closing(threads):
            batcher = Batcher(loaded, log, threads, limits.get("max_waiting", 100))
            found: list[Any] = []

            async def one(waiting: Job) -> Any:
                try:
                    await batcher.submit(waiting)
                except RequestError as refusal:
                    return refusal
                return waiting.outcome

            found = await asyncio.gather(*map(one, jobs))
            return found

    return asyncio.run(submit())


def values(outcome: Any) -> list[float]:
    assert isinstance(outcome, Prediction), outcome
    import orjson

    return list(orjson.loads(outcome.encoded.content)["predictions"])


def test_those_that_come_together_are_one_batch_and_one_write(tmp_path: Path) -> None:
    estimator = Twice()
    loaded = model(estimator)
    estimator.asked.clear()
    estimator.threads.clear()
    writer = WriteAhead(layout.write_ahead_root(str(tmp_path)))
    outcomes = run(loaded, [job((n, 1.0), (n, 2.0)) for n in range(20)], writer)
    assert estimator.asked == [40]
    assert [values(outcome) for outcome in outcomes] == [[2 * n + 2, 2 * n + 4] for n in range(20)]
    log = prediction_log.read(str(tmp_path), "m").execute()
    assert len(log) == 40
    assert log["prediction_id"].is_unique
    assert {outcome.id for outcome in outcomes} == {name[:32] for name in log["prediction_id"]}
    assert (log["output"] == 2 * (log["feature_a"] + log["feature_b"])).all()
    assert (log["latency_ms"] > 0).all()
    # Somebody's own code may hang: it never runs on the event loop.
    assert all(name.startswith("predict") for name in estimator.threads)


def test_one_bad_row_does_not_fail_its_neighbours(tmp_path: Path) -> None:
    loaded = model(Twice())
    writer = WriteAhead(layout.write_ahead_root(str(tmp_path)))
    firsts = (1.0, -1.0, 1313.0, 2.0, 1414.0, 1515.0)
    outcomes = run(loaded, [job((first, 1.0)) for first in firsts], writer)
    assert values(outcomes[0]) == [4.0]
    assert [outcomes[place].status for place in (1, 2, 4, 5)] == [422, 500, 500, 500]
    assert [outcomes[place].reason for place in (4, 5)] == [
        "KeyboardInterrupt: ",
        "UnreadableError: its text cannot be read",
    ]
    assert "negative" in outcomes[1].reason
    assert "negative" not in outcomes[1].message
    assert values(outcomes[3]) == [6.0]
    assert prediction_log.read(str(tmp_path), "m").count().execute() == 2


class Drops(BaseEstimator):
    """Somebody's own estimator: removes what it takes for outliers, without a word."""

    def predict(self, features: Any) -> Any:
        values = np.asarray(features, dtype=np.float64)
        kept = values[values[:, 0] <= 900]
        return kept.sum(axis=1) * 2


class OnlyAlone(BaseEstimator):
    """Somebody's own estimator: takes the example's rows and single ones."""

    def predict(self, features: Any) -> Any:
        if len(features) not in (1, 5, 64):
            raise RuntimeError("a single row, please")
        return np.asarray(features)[:, 0] * 2


def test_no_request_gets_the_answer_of_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A model that drops rows: of 1,050 requests each gets its own value, or none."""
    loaded = model(Drops())
    assert loaded.pace.batch_rows > 1
    writer = WriteAhead(layout.write_ahead_root(str(tmp_path)))
    firsts = [float(number % 1050) for number in range(0, 1050 * 7, 7)]
    outcomes = run(loaded, [job((first, 1.0)) for first in firsts], writer, max_waiting=2000)
    for first, outcome in zip(firsts, outcomes, strict=True):
        if first <= 900:
            assert values(outcome) == [2 * first + 2]
        else:
            assert isinstance(outcome, ModelFailureError)
            assert outcome.reason == "it returned 0 values for 1 row"
    log = prediction_log.read(str(tmp_path), "m").execute()
    assert len(log) == sum(first <= 900 for first in firsts)
    assert (log["output"] == 2 * log["feature_a"] + 2).all()
    # Whose rows are whose cannot be known once one is missing, so none are put together any more.
    assert loaded.pace.batch_rows == 1
    assert sum("alone from now on" in record.message for record in caplog.records) == 1


def test_a_version_whose_batches_keep_failing_is_no_longer_batched() -> None:
    loaded = model(OnlyAlone())
    assert loaded.pace.batch_rows > 1
    for number in range(4):
        outcomes = run(loaded, [job((1.0, 1.0)), job((2.0, 1.0))])
        assert [values(outcome) for outcome in outcomes] == [[2.0], [4.0]]
        assert (loaded.pace.batch_rows == 1) == (number >= 2)


def test_a_batch_that_one_request_spoils_is_no_reason_to_end_batching() -> None:
    loaded = model(Twice())
    for _ in range(5):
        run(loaded, [job((1.0, 1.0)), job((-1.0, 1.0))])
    assert loaded.pace.batch_rows > 1


def test_a_request_whose_time_is_up_is_not_predicted_again() -> None:
    """If a batch fails, requests whose callers have stopped waiting are left out."""
    estimator = Twice()
    loaded = model(estimator)
    given_up, kept = job((1.0, 1.0)), job((-1.0, 1.0))
    loop = asyncio.new_event_loop()
    given_up.done = loop.create_future()
    given_up.done.cancel()
    loop.close()
    estimator.asked.clear()
    predictor.predict_jobs([given_up, kept], loaded, unlogged())
    assert estimator.asked == [2, 1]
    assert given_up.outcome is None


def test_what_comes_while_a_prediction_is_under_way_is_predicted_together() -> None:
    estimator = Twice(0.05)
    loaded = model(estimator)
    estimator.asked.clear()
    estimator.threads.clear()

    async def submit() -> None:
        with contextlib.closing(PredictionThreads(VERSION, 1)) as threads:
            batcher = Batcher(loaded, unlogged(), threads, 100)
            waits = [batcher.submit(job((0.0, 0.0)))]
            for number in range(9):
                await asyncio.sleep(0.002)
                waits.append(batcher.submit(job((number, 1.0))))
            await asyncio.gather(*waits)

    asyncio.run(submit())
    assert sum(estimator.asked) == 10
    assert estimator.asked[0] == 1
    assert len(estimator.asked) <= 3
    assert all(name.startswith("predict") for name in estimator.threads)


def test_a_batch_is_bounded_by_what_it_adds_to_the_time_of_one() -> None:
    class Slow(BaseEstimator):
        def predict(self, features: Any) -> Any:
            time.sleep(0.002 * len(features))
            return np.zeros(len(features))

    loaded = model(Slow())
    assert 1 < loaded.pace.batch_rows < 6
    assert not loaded.pace.quick


def test_a_model_that_looks_at_other_rows_is_asked_for_each_request_by_itself() -> None:
    loaded = model(LessTheMean())
    assert loaded.pace.batch_rows == 1
    assert [values(outcome) for outcome in run(loaded, [job((n, 0.0)) for n in range(5)])] == [[0.0]] * 5
    # With one row to try it with, nobody can know.
    assert model(Twice(), rows=1).pace.batch_rows == 1


def test_a_quick_model_of_scikit_learns_predicts_on_the_event_loop() -> None:
    features = np.random.default_rng(0).normal(size=(20, 2))
    loaded = model(LinearRegression().fit(features, features.sum(axis=1)))
    assert loaded.pace.quick
    outcomes = run(loaded, [job((n, 1.0)) for n in range(10)])
    np.testing.assert_allclose([values(outcome)[0] for outcome in outcomes], np.arange(10) + 1.0)


def test_beyond_the_limit_requests_are_told_to_come_again() -> None:
    outcomes = run(model(Twice()), [job((n, 1.0)) for n in range(6)], max_waiting=4)
    refused = [outcome for outcome in outcomes if isinstance(outcome, RequestError)]
    assert [(refusal.status, refusal.headers["Retry-After"]) for refusal in refused] == [(429, "1")] * 2
    assert len([outcome for outcome in outcomes if isinstance(outcome, Prediction)]) == 4


def test_a_log_that_cannot_be_written_refuses_the_whole_batch(tmp_path: Path) -> None:
    writer = WriteAhead(layout.write_ahead_root(str(tmp_path)))
    writer.close()
    outcomes = run(model(Twice()), [job((n, 1.0)) for n in range(3)], writer)
    assert [outcome.status for outcome in outcomes] == [503] * 3


def test_large_bodies_go_their_own_way(tmp_path: Path) -> None:
    writer = PredictionLogWriter(WriteAhead(layout.write_ahead_root(str(tmp_path))), logs_all=False)

    def answered(rows: bytes) -> Job:
        body = Body(b'{"instances": [' + rows + b"]}")
        parse = partial(invocations.parse, body, SCHEMA)
        done = asyncio.new_event_loop().create_future()
        return predictor.predict_body(parse, time.perf_counter(), Direct(1).choose(), model(Twice()), writer, done)

    done = answered(b",".join(b"[%d, 1]" % n for n in range(1000)))
    assert done.parsed.rows.count == 1000
    assert values(done.outcome) == [2.0 * n + 2 for n in range(1000)]
    refused = answered(b"[-1, 1]").outcome
    assert isinstance(refused, ModelFailureError)
    assert "negative" in refused.reason


def test_what_comes_after_it_was_given_up_is_not_logged(tmp_path: Path) -> None:
    """It was answered, and in a rollout counted, as a failure: it may not count as an answer as well."""
    log = WriteAhead(layout.write_ahead_root(str(tmp_path)))
    writer = PredictionLogWriter(log)

    async def submit() -> None:
        with contextlib.closing(PredictionThreads(VERSION, 1)) as threads:
            batcher = Batcher(model(Twice(0.1)), writer, threads, 100)
            late, large = job((1.0, 2.0)), asyncio.get_running_loop().create_future()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(batcher.submit(late), 0.02)
            large.cancel()
            parse = partial(invocations.parse, Body(b'{"instances": [[1, 2]]}'), SCHEMA)
            predictor.predict_body(parse, time.perf_counter(), Direct(1).choose(), model(Twice()), writer, large)
            await batcher.submit(job((3.0, 4.0)))

    asyncio.run(submit())
    (segment,) = segments(log.root)
    logged = [record for record in records(segment.path) if "predictions" in record]
    assert [record["output"] for record in logged] == [[14.0]]
