"""Whatever a model returns for one request, the other requests of its batch get and log their own right answers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from airflow_provider_mlops.serving.gateway.predict import predictor
from airflow_provider_mlops.serving.gateway.predict.job import Job, Prediction
from airflow_provider_mlops.serving.gateway.predict.predictor import PredictionLogWriter
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.policy.direct import Direct
from airflow_provider_mlops.serving.protocols import invocations
from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
from airflow_provider_mlops.serving.rows.request_error import ModelFailureError, ModelRefusalError
from tests.helpers.serving import hostile_model
from tests.helpers.serving.hostile_model import Hostile, HostileClassifier
from tests.serving.models.test_loaded_model import VERSION

NUMBERS = InputSchema((Feature("value", "double"), Feature("code", "double")))
MIXED = InputSchema((Feature("value", "double"), Feature("code", "long"), Feature("other", "float")))


def load(estimator: Any, schema: InputSchema) -> LoadedModel:
    records = [dict.fromkeys(schema.names, float(number)) for number in (1, 2, 3, 4)]
    return LoadedModel(VERSION, estimator, schema, signature_check.from_records(schema, records))


def job(schema: InputSchema, value: float, code: float = 0.0) -> Job:
    rows = signature_check.from_table(schema, None, [[value, code, 0.5][: len(schema.names)]])
    return Job(Direct(1).choose(), time.perf_counter(), invocations.Invocation(rows))


def predict(model: LoadedModel, jobs: list[Job], directory: Path) -> list[dict[str, Any]]:
    """Predict the jobs together and return what was logged of them, in their order."""
    log = WriteAhead(str(directory / f"log-{time.monotonic_ns()}"))
    predictor.predict_jobs(jobs, model, PredictionLogWriter(log))
    lines = [line for file in sorted(Path(log.root).rglob("*.jsonl")) for line in file.read_text().splitlines()]
    logged = {record["predictions"]: record for record in map(json.loads, lines) if "predictions" in record}
    log.close()
    return [logged.get(each.outcome.id, {}) if isinstance(each.outcome, Prediction) else {} for each in jobs]


def test_there_are_more_than_forty_of_them() -> None:
    assert len(hostile_model.CODES) + len(hostile_model.PROBABILITIES) >= 70


@pytest.mark.parametrize("schema", [NUMBERS, MIXED], ids=["array", "frame"])
@pytest.mark.parametrize("name", hostile_model.CODES)
def test_the_others_of_a_batch_get_their_own_answers(name: str, schema: InputSchema, tmp_path: Path) -> None:
    model = load(Hostile(), schema)
    assert model.pace.batch_rows > 1
    jobs = [job(schema, 3.0), job(schema, 7.0, hostile_model.CODES[name]), job(schema, 2.0)]
    logged = predict(model, jobs, tmp_path)
    for position, value in ((0, 3.0), (2, 2.0)):
        outcome = jobs[position].outcome
        assert isinstance(outcome, Prediction)
        assert json.loads(outcome.encoded.content)["predictions"] == outcome.response.output == [value]
        assert (logged[position]["output"], logged[position]["features"][0]) == ([value], [value])
    outcome = jobs[1].outcome
    alone = hostile_model.RIGHT.get(name) is not None
    if alone:
        assert isinstance(outcome, Prediction)
        assert outcome.response.output == [7.0]
        assert logged[1]["output"] == [7.0]
    else:
        assert isinstance(outcome, ModelFailureError)
        assert not isinstance(outcome, ModelRefusalError)
        assert outcome.status == 500


@pytest.mark.parametrize("name", hostile_model.PROBABILITIES)
def test_the_others_of_a_batch_get_their_own_probabilities(name: str, tmp_path: Path) -> None:
    model = load(HostileClassifier(), NUMBERS)
    code = hostile_model.PROBABILITY_CODES[name]
    jobs = [job(NUMBERS, 5.0), job(NUMBERS, 15.0, code), job(NUMBERS, 20.0)]
    logged = predict(model, jobs, tmp_path)
    for position, probability in ((0, 0.25), (2, 1.0)):
        outcome = jobs[position].outcome
        assert isinstance(outcome, Prediction)
        assert outcome.response.probabilities is not None
        # Those within the tolerance of one are passed on as they are.
        np.testing.assert_allclose(outcome.response.probabilities, [[1 - probability, probability]], atol=1.1e-3)
        np.testing.assert_allclose(logged[position]["probabilities"], [[1 - probability], [probability]], atol=1.1e-3)
    is_accepted = isinstance(jobs[1].outcome, Prediction)
    assert is_accepted is hostile_model.PROBABILITIES[name][1]
    assert is_accepted or jobs[1].outcome.status == 500  # type: ignore[union-attr]


def test_answers_that_are_kept_are_not_overwritten_by_the_next_rows(tmp_path: Path) -> None:
    """As those that a shadow keeps until its whole batch is predicted, or another thread while it encodes."""
    model = load(HostileClassifier(), NUMBERS)
    rows = [job(NUMBERS, value).parsed.rows for value in (5.0, 20.0)]
    first, second = [model.predict(each) for each in rows]
    assert first.probabilities is not None
    assert second.probabilities is not None
    assert (first.probabilities.tolist(), second.probabilities.tolist()) == ([[0.75, 0.25]], [[0.0, 1.0]])


@pytest.mark.parametrize("schema", [NUMBERS, MIXED], ids=["array", "frame"])
def test_rows_stay_as_they_were_sent(schema: InputSchema) -> None:
    model = load(Hostile(), schema)
    rows = job(schema, 1.5).parsed.rows
    for _ in range(2):
        assert model.predict(rows).output == [1.5]
    assert rows.columns()[0].tolist() == [1.5]


@pytest.mark.parametrize("by_name", [False, True])
def test_rows_stay_as_they_were_sent_to_a_scaler_that_may_overwrite_them(by_name: bool) -> None:
    frame = pd.DataFrame({"value": [1.0, 2.0, 9.0], "code": [0.0, 5.0, 1.0]})
    scaler = ColumnTransformer([("all", StandardScaler(copy=False), ["value", "code"])])
    estimator = make_pipeline(scaler if by_name else StandardScaler(copy=False), KNeighborsRegressor(1))
    model = load(estimator.fit(frame if by_name else frame.to_numpy(), [1.0, 2.0, 3.0]), NUMBERS)
    assert model.as_array is not by_name
    rows = signature_check.from_table(NUMBERS, None, [[9.0, 1.0]])
    assert [model.predict(rows).output for _ in range(2)] == [[3.0], [3.0]]
    assert rows.array().tolist() == [[9.0, 1.0]]
