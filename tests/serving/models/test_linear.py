"""Linear models by their arithmetic alone: to the last bit what scikit-learn says, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from airflow_provider_mlops.serving.models.linear import Linear
from airflow_provider_mlops.serving.models.shared_scores import SharedScores
from airflow_provider_mlops.serving.models.split_estimator import SplitEstimator
from tests.helpers.served_registry import CANCER, CANCER_TARGET
from tests.serving.models.test_loaded_model import NUMBERS, loaded

VALUES = CANCER.to_numpy()
IRIS, SPECIES = load_iris(return_X_y=True)


def arithmetic(estimator: Any, features: np.ndarray[Any, Any] = VALUES) -> Linear | None:
    transformers, final = [step for _, step in estimator.steps[:-1]], estimator.steps[-1][1]
    return Linear.of(
        transformers, final, features[:1], SplitEstimator(estimator, len(getattr(estimator, "classes_", ()))).predict
    )


LINEAR = {
    "scaled": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(VALUES, CANCER_TARGET),
    "alone": lambda: make_pipeline(LogisticRegression(max_iter=5000)).fit(VALUES, CANCER_TARGET),
    "only centered": lambda: make_pipeline(StandardScaler(with_std=False), Ridge()).fit(VALUES, CANCER_TARGET),
    "scaled twice": lambda: make_pipeline(StandardScaler(), StandardScaler(with_mean=False), Ridge()).fit(
        VALUES, CANCER_TARGET
    ),
    "least squares": lambda: make_pipeline(LinearRegression()).fit(VALUES, CANCER_TARGET),
    "two targets": lambda: make_pipeline(LinearRegression()).fit(
        VALUES, np.column_stack([CANCER_TARGET, VALUES[:, 0]])
    ),
}


@pytest.mark.parametrize("kind", LINEAR)
def test_it_says_what_scikit_learn_says(kind: str) -> None:
    estimator = LINEAR[kind]()
    linear = arithmetic(estimator)
    assert linear is not None
    for rows in (VALUES, VALUES[:1], VALUES[5:9]):
        before = rows.copy()
        prediction = linear.predict(rows)
        assert prediction is not None
        np.testing.assert_array_equal(rows, before)
        np.testing.assert_array_equal(prediction[0], estimator.predict(rows))
        if prediction[1] is not None:
            np.testing.assert_array_equal(prediction[1], estimator.predict_proba(rows))


def test_several_classes_with_text() -> None:
    species = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, species)
    linear = arithmetic(estimator, IRIS)
    assert linear is not None
    output, probabilities = linear.predict(IRIS) or (None, None)
    np.testing.assert_array_equal(output, estimator.predict(IRIS))
    np.testing.assert_array_equal(probabilities, estimator.predict_proba(IRIS))


@pytest.mark.parametrize(
    "estimator", [make_pipeline(MinMaxScaler(), LogisticRegression()), make_pipeline(RidgeClassifier())]
)
def test_others_are_left_to_scikit_learn(estimator: Any) -> None:
    assert arithmetic(estimator.fit(VALUES, CANCER_TARGET)) is None


def test_what_is_not_finite_is_left_to_scikit_learn_which_refuses_it() -> None:
    model = loaded(make_pipeline(StandardScaler(), LogisticRegression()).fit(CANCER, CANCER_TARGET))
    assert model.linear is not None
    assert not any(feature.nullable for feature in model.schema.features)
    from airflow_provider_mlops.serving.models import signature_check

    rows = signature_check.from_table(NUMBERS, None, [[1.7e308] * 30])
    with pytest.raises(ValueError, match="infinity"):
        model.predict(rows)


CLASSIFIERS = {
    "logistic": LogisticRegression(max_iter=5000),
    "boosting": GradientBoostingClassifier(n_estimators=10),
    "forest": RandomForestClassifier(10, random_state=0),
    "bayes": GaussianNB(),
    "neighbours": KNeighborsClassifier(),
    "vectors": SVC(probability=True, random_state=0),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_sharing_the_scores_changes_nothing(kind: str, classes: int) -> None:
    features, target = (VALUES, CANCER_TARGET) if classes == 2 else (IRIS, SPECIES)
    estimator = CLASSIFIERS[kind].fit(features, target)
    due, due_probabilities = estimator.predict(features), estimator.predict_proba(features)
    shared = SharedScores(estimator)
    for _ in range(2):
        output, probabilities = shared.predict(features)
        np.testing.assert_array_equal(output, due)
        np.testing.assert_array_equal(probabilities, due_probabilities)
    # Whoever asks the estimator itself is told the same, again and again.
    np.testing.assert_array_equal(estimator.predict_proba(features), due_probabilities)
