"""What is worked out when a model is loaded, and that it predicts as the estimator itself does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import make_regression
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from airflow_provider_mlops.errors import RejectedError
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
from tests.helpers.serving.served_registry import CANCER, CANCER_TARGET, CHURNED, CUSTOMERS, cancer_model, churn_model

VERSION = ModelVersion(name="m", version=1, run_id="r")
NUMBERS = InputSchema(tuple(Feature(name, "double") for name in CANCER.columns))
CUSTOMER = InputSchema(
    (Feature("age", "double"), Feature("income", "double"), Feature("town", "string"), Feature("member", "boolean"))
)


def loaded(estimator: Any, schema: InputSchema = NUMBERS, frame: pd.DataFrame = CANCER) -> LoadedModel:
    records = frame.head(1).to_dict(orient="records")
    return LoadedModel(VERSION, estimator, schema, signature_check.from_records(schema, records))


def answers(model: LoadedModel, frame: pd.DataFrame) -> Any:
    columns = {name: [None if value != value else value for value in frame[name]] for name in frame.columns}
    return model.predict(signature_check.from_columns(model.schema, columns))


CLASSIFIERS = {
    "pipeline": lambda: cancer_model(1.0),
    "forest": lambda: RandomForestClassifier(10, random_state=0, n_jobs=2).fit(CANCER, CANCER_TARGET),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=5).fit(CANCER, CANCER_TARGET),
    "bare": lambda: LogisticRegression(max_iter=5000).fit(CANCER, CANCER_TARGET),
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_classifiers_of_numbers_are_given_arrays(kind: str) -> None:
    estimator = CLASSIFIERS[kind]()
    model = loaded(estimator)
    assert model.as_array
    answer = answers(model, CANCER)
    assert answer.output == estimator.predict(CANCER).tolist()
    np.testing.assert_allclose(answer.probabilities, estimator.predict_proba(CANCER), rtol=1e-9)
    assert model.classes == ("0", "1")
    assert model.v2_output == "INT64"


def test_a_model_that_picks_columns_by_name_is_given_a_frame() -> None:
    estimator = churn_model()
    model = loaded(estimator, CUSTOMER, CUSTOMERS.iloc[1:])
    assert not model.as_array
    answer = answers(model, CUSTOMERS)
    assert answer.output == estimator.predict(CUSTOMERS).tolist()
    np.testing.assert_allclose(answer.probabilities, estimator.predict_proba(CUSTOMERS))
    assert {feature.name: feature.nullable for feature in model.schema.features} == {
        "age": True,
        "income": False,
        "town": False,
        "member": False,
    }
    assert model.log_schema.classes == tuple(sorted(set(CHURNED)))


def test_where_values_may_be_missing_is_tried() -> None:
    takes = loaded(HistGradientBoostingClassifier(max_iter=5).fit(CANCER, CANCER_TARGET))
    assert takes.schema.all_nullable
    refuses = loaded(cancer_model(1.0))
    assert not any(feature.nullable for feature in refuses.schema.features)


def test_a_classifier_without_probabilities_and_one_with_boolean_classes() -> None:
    model = loaded(make_pipeline(StandardScaler(), LinearSVC()).fit(CANCER, CANCER_TARGET == 1))
    answer = answers(model, CANCER.head(3))
    assert answer.probabilities is None
    assert (model.classes, model.v2_output) == ((), "BOOL")


def test_several_targets() -> None:
    features, targets = make_regression(50, 3, n_targets=2, random_state=0)
    frame = pd.DataFrame(features, columns=list("abc"))
    estimator = LinearRegression().fit(frame, targets)
    model = loaded(estimator, InputSchema(tuple(Feature(name, "double") for name in "abc")), frame)
    np.testing.assert_allclose(answers(model, frame).output, estimator.predict(frame))
    assert model.output == "doubles"
    assert str(model.log_schema.arrow().field("output").type) == "list<item: double>"


class KnowsNamesOnly(RegressorMixin, BaseEstimator):
    """Multiplies two columns that it looks for by name, and would do something else with an array."""

    def fit(self, features: pd.DataFrame, target: Any) -> KnowsNamesOnly:
        return self

    def predict(self, features: Any) -> Any:
        if isinstance(features, pd.DataFrame):
            return (features["a"] * features["b"]).to_numpy()
        return np.full(len(features), -1.0)


def test_an_estimator_that_says_otherwise_of_an_array_gets_a_frame() -> None:
    frame = pd.DataFrame({"a": [2.0], "b": [3.0]})
    schema = InputSchema((Feature("b", "double"), Feature("a", "double")))
    model = loaded(KnowsNamesOnly().fit(frame, [6.0]), schema, frame)
    assert not model.as_array
    assert answers(model, frame).output == [6.0]
    # Its answer to a missing value is no number, so that values may not be missing.
    assert not any(feature.nullable for feature in model.schema.features)


def test_without_an_example_a_row_of_zeros_is_tried() -> None:
    model = LoadedModel(VERSION, cancer_model(1.0), NUMBERS, None)
    assert answers(model, CANCER.head(2)).output == cancer_model(1.0).predict(CANCER.head(2)).tolist()
    with pytest.raises(RejectedError, match="a test row of zeros"):
        LoadedModel(VERSION, churn_model(), CUSTOMER, None)


def test_a_model_that_does_not_fit_its_signature_is_rejected() -> None:
    with pytest.raises(RejectedError, match="its input example"):
        loaded(cancer_model(1.0), InputSchema((Feature("age", "double"),)), pd.DataFrame({"age": [1.0]}))
