"""Fields, rows and predictions that evaluate refuses: the error names them and the remedy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.evaluate.step import STEP
from airflow_provider_mlops.registry.model_version import ModelVersion
from tests.helpers.evaluation import House
from tests.helpers.models import write


def test_a_regressor_is_not_a_classifier(house: House) -> None:
    model = house.register("number", "spend", "regression", LinearRegression(), task_id="t-number")
    with pytest.raises(InvalidSpecError, match=r"problem='classification': the model predicts numbers such as"):
        house.evaluate("number", model=model, problem="classification")


def test_rows_that_the_model_cannot_predict_are_named(house: House) -> None:
    frame = house.test_frame
    for name, wrong, message in (
        ("text", frame.assign(age="old"), r"could not convert string to float"),
        ("infinite", frame.assign(income=np.inf), r"infinite values in 'income'"),
    ):
        rows = write(house.as_task("wrong"), name, wrong)
        with pytest.raises(
            InvalidSpecError, match=rf"dataset='.*/{name}'.*{message}.*test dataset of the prepare task"
        ):
            house.evaluate("wrong", dataset=rows)
    other = write(house.as_task("wrong"), "other", frame.assign(target=frame.target.map({0: "no", 1: "yes"})))
    with pytest.raises(InvalidSpecError, match=r"target=\['no', 'yes'\]: the model knows none of these classes"):
        house.evaluate("wrong", dataset=other)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "targe"}, r"target='targe': it must be a column of the dataset .*Did you mean 'target'"),
        ({"slices": ("regoin",)}, r"slices='regoin': .*Did you mean 'region'"),
        ({"sensitive": ("skin",)}, r"sensitive='skin': .*Use one of 'age', 'income'"),
        ({"target": "age"}, r"target='age': the model takes this column as a feature"),
        ({"problem": "regression"}, r"problem='regression': churn version \d predicts classes"),
        ({"target": "spend"}, r"target='spend': .*classes must be whole numbers"),
        ({"model": ModelVersion(name="churn", version=99, run_id="x")}, r"model='churn/99'"),
        ({"model": ModelVersion(name="chrun", version=1, run_id="x")}, r"model='chrun/1'"),
        (
            {"dataset": Dataset(uri="/nowhere/at/all", name="x", rows=1, fingerprint="f")},
            r"dataset='/nowhere/at/all'",
        ),
    ],
)
def test_an_invalid_field_is_named_with_the_remedy(house: House, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        house.evaluate("bad", **fields)


def test_unusable_data_is_named_with_the_remedy(house: House) -> None:
    frame = house.test_frame
    lacking = write(house.as_task("bad"), "lacking", frame.drop(columns="income"))
    with pytest.raises(InvalidSpecError, match=r"lacks columns that the model takes: 'income'"):
        house.evaluate("bad", dataset=lacking)
    empty = write(house.as_task("bad"), "empty", frame.head(0))
    with pytest.raises(InvalidSpecError, match="the dataset has no rows"):
        house.evaluate("bad", dataset=empty)
    holes = write(house.as_task("bad"), "holes", frame.assign(target=frame.target.where(frame.index > 2)))
    with pytest.raises(RejectedError, match="missing in 3 of 400 rows"):
        house.evaluate("bad", dataset=holes)
    stale = house.test.model_copy(update={"fingerprint": "0" * 32})
    with pytest.raises(InvalidSpecError, match="its content changed"):
        house.evaluate("bad", dataset=stale)
    registry = house.workspace.registry()
    runs = registry.client.search_runs([registry.experiment("churn")], "tags.`mlops.task_id` = 'bad'")
    assert {run.info.status for run in runs} == {"FAILED"}


def test_predictions_that_are_not_finite_are_rejected(house: House) -> None:
    model = house.register("huge", "spend", "regression", LinearRegression(), task_id="t-huge", features=["age"])
    # Twenty times the scaled age is more than a float holds.
    frame = house.test_frame.assign(age=house.test_frame.age.where(house.test_frame.index > 4, 1.7e308))
    data = write(house.as_task("huge"), "huge", frame)
    with pytest.raises(RejectedError, match="predictions are not finite for 5 of 400 rows"):
        house.evaluate("huge", model=model, target="spend", dataset=data)


def test_the_spec_is_checked_before_anything_runs() -> None:
    with pytest.raises(InvalidSpecError, match=r"confidence=1\.5"):
        STEP.parse(
            {
                "model": {"name": "a", "version": 1, "run_id": "r"},
                "dataset": _dataset(),
                "target": "t",
                "confidence": 1.5,
            }
        )
    with pytest.raises(InvalidSpecError, match="target=None: it is required"):
        STEP.parse({"model": {"name": "a", "version": 1, "run_id": "r"}, "dataset": _dataset()})
    spec = STEP.parse({"model": {"name": "a", "version": 1, "run_id": "r"}, "dataset": _dataset(), "target": "t"})
    assert STEP.parse(json.loads(spec.model_dump_json())) == spec


def _dataset() -> dict[str, Any]:
    return {"uri": "/data", "name": "d", "rows": 1, "fingerprint": "f"}
