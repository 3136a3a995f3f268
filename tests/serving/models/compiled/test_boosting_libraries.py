"""XGBoost and LightGBM say the same as their compiled trees, or predict themselves."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.pipeline import Pipeline

from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.models.compiled import lightgbm_trees, xgboost_trees
from airflow_provider_mlops.serving.models.compiled.compiled_model import CompiledModel
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError
from airflow_provider_mlops.serving.models.example import example_rows
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from tests.serving.models.compiled.test_compiled_model import (
    AMOUNT,
    BINARY,
    NUMBERS_SCHEMA,
    PEOPLE,
    PREPROCESSINGS,
    SCHEMA,
    SEVERAL,
    loaded,
)

YES = (BINARY == "yes").astype(int)
GAPS = PEOPLE[["income", "age"]]


def xgb(kind: str = "Classifier", **parameters: Any) -> Any:
    return getattr(xgboost, f"XGB{kind}")(**{"n_estimators": 9, "n_jobs": 1} | parameters)


def lgbm(kind: str = "Classifier", **parameters: Any) -> Any:
    return getattr(lightgbm, f"LGBM{kind}")(**{"n_estimators": 9, "n_jobs": 1, "verbose": -1} | parameters)


COMPILED: dict[str, tuple[Any, Any]] = {
    "xgboost": (xgb(), YES),
    "xgboost, base score": (xgb(base_score=0.3), YES),
    "xgboost, several classes": (xgb(), SEVERAL),
    "xgboost, amounts": (xgb("Regressor"), AMOUNT),
    "xgboost, counts": (xgb("Regressor", objective="count:poisson"), AMOUNT),
    "xgboost, shares": (xgb("Regressor", objective="reg:logistic"), AMOUNT / 500),
    "xgboost, forest": (xgb("RFClassifier"), YES),
    "xgboost, several trees at once": (xgb(num_parallel_tree=3), YES),
    "xgboost, large trees": (xgb("Regressor", max_depth=14, min_child_weight=0), AMOUNT),
    "lightgbm": (lgbm(), BINARY),
    "lightgbm, several classes": (lgbm(), SEVERAL),
    "lightgbm, amounts": (lgbm("Regressor"), AMOUNT),
    "lightgbm, counts": (lgbm("Regressor", objective="poisson"), AMOUNT),
    "lightgbm, absolute error": (lgbm("Regressor", objective="mae"), AMOUNT),
    "lightgbm, dart": (lgbm(boosting_type="dart"), YES),
    "lightgbm, large trees": (lgbm("Regressor", num_leaves=100, min_child_samples=1), AMOUNT),
}


@pytest.mark.parametrize("kind", COMPILED)
def test_models_with_preprocessing_and_mixed_columns(kind: str) -> None:
    estimator, target = COMPILED[kind]
    preprocessing = PREPROCESSINGS[list(COMPILED).index(kind) % len(PREPROCESSINGS)]
    pipeline = Pipeline([("preprocessing", preprocessing.build(PEOPLE)), ("estimator", estimator)])
    model = loaded(pipeline.fit(PEOPLE, target), PEOPLE, SCHEMA)
    rows = example_rows(model.schema, PEOPLE.head(50))
    assert rows is not None
    assert_close(model, rows)
    assert_close(model, rows.slice(3, 4))


@pytest.mark.parametrize("kind", COMPILED)
def test_numbers_of_which_some_are_missing(kind: str) -> None:
    estimator, target = COMPILED[kind]
    model = loaded(Pipeline([("estimator", estimator)]).fit(GAPS, target), GAPS, NUMBERS_SCHEMA)
    table = GAPS.to_numpy()
    # A number that only differs from a threshold in 64 bits, numbers that LightGBM takes for zero, and missing ones.
    random = np.random.default_rng(0)
    unusual = table * (1 + random.normal(0, 1e-9, table.shape))
    tiny = random.choice([1e-35, -1e-35, 1.1e-35, -1.1e-35, 0.0, 1e-40, np.nan], table.shape)
    for rows in (table, table[:1], unusual, tiny):
        before = rows.copy()
        assert_close(model, signature_check.from_matrix(model.schema, rows))
        np.testing.assert_array_equal(rows, before)


def assert_close(model: LoadedModel, rows: Any) -> None:
    """Compare with the library: to the last digits of the 32 bits in which XGBoost calculates."""
    assert model.compiled is not None
    mine, (output, probabilities) = model.compiled.predict(rows), model._judge(rows)
    assert mine is not None
    if output.dtype.kind == "f":
        np.testing.assert_allclose(mine[0], output, rtol=model.compiled.predictor.tolerance)
    else:
        np.testing.assert_array_equal(mine[0], output)
    if probabilities is not None:
        np.testing.assert_allclose(mine[1], probabilities, rtol=model.compiled.predictor.tolerance, atol=1e-12)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_after_early_stopping_the_best_iteration_counts(library: str) -> None:
    random = np.random.default_rng(1)
    noise = random.integers(0, 2, len(YES))
    if library == "xgboost":
        estimator = xgb(n_estimators=60, early_stopping_rounds=20)
        estimator.fit(GAPS, YES, eval_set=[(GAPS, noise)], verbose=False)
        assert estimator.best_iteration + 1 < estimator.get_booster().num_boosted_rounds()
    else:
        # Of two iterations, the estimator uses the first.
        estimator = lgbm(n_estimators=2).fit(GAPS, YES)
        estimator.booster_.best_iteration = 1
    model = loaded(estimator, GAPS, NUMBERS_SCHEMA)
    assert_close(model, signature_check.from_matrix(model.schema, GAPS.to_numpy()))


@pytest.mark.parametrize(
    ("estimator", "target", "reason"),
    [
        (xgb(booster="dart", rate_drop=0.5), YES, "booster dart"),
        (xgb("Regressor", booster="gblinear"), AMOUNT, "booster gblinear"),
        (xgb("Regressor", missing=-1), AMOUNT, "missing=-1"),
        (xgb("Regressor", objective="reg:squaredlogerror"), AMOUNT, "objective reg:squaredlogerror"),
        (xgb(num_parallel_tree=2), SEVERAL, "trees in another order"),
        (xgb("Ranker"), YES, "XGBRanker has no compiled form"),
        (lgbm(boosting_type="rf", bagging_freq=1, bagging_fraction=0.5), YES, "random forests"),
        (lgbm("Regressor", linear_tree=True), AMOUNT, "linear_tree"),
        (lgbm("Regressor", zero_as_missing=True), AMOUNT, "zero_as_missing"),
        (lgbm("Regressor", reg_sqrt=True), AMOUNT, "regression sqrt"),
        (lgbm(pred_early_stop=True), YES, "pred_early_stop"),
    ],
)
def test_other_models_predict_themselves(
    estimator: Any, target: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"qid": np.zeros(len(GAPS), dtype=int)} if type(estimator) is xgboost.XGBRanker else {}
    caplog.set_level("INFO")
    model = loaded(estimator.fit(GAPS, target, **options), GAPS, NUMBERS_SCHEMA)
    assert model.compiled is None
    assert reason in caplog.text
    assert model.predict(signature_check.from_matrix(model.schema, GAPS.to_numpy()[:1])).output


def test_categorical_splits_are_left_to_the_libraries() -> None:
    codes = pd.DataFrame({"code": pd.Categorical(PEOPLE["code"]), "age": PEOPLE["age"]})
    with pytest.raises(NotCompilableError, match="categorical"):
        xgboost_trees.compile_xgboost(xgb("Regressor", enable_categorical=True, max_cat_to_onehot=1).fit(codes, AMOUNT))
    with pytest.raises(NotCompilableError, match="categorical"):
        lightgbm_trees.compile_lightgbm(lgbm("Regressor", min_data_per_group=5, cat_smooth=1).fit(codes, AMOUNT))


class _Faults:
    """Faults in the arithmetic, each in one place."""

    @staticmethod
    def equal_goes_left(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(xgboost_trees.np, "nextafter", lambda values, _: values)

    @staticmethod
    def no_base_score(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(xgboost_trees, "_numbers", lambda text: np.array([0.5], dtype=np.float32))

    @staticmethod
    def a_default_direction(patch: pytest.MonkeyPatch) -> None:
        original = xgboost_trees._tree

        def planted(saved: Any) -> Any:
            return original({**saved, "default_left": [not left for left in saved["default_left"]]})

        patch.setattr(xgboost_trees, "_tree", planted)

    @staticmethod
    def missing_is_not_zero(patch: pytest.MonkeyPatch) -> None:
        original = lightgbm_trees._Nodes.tree

        def planted(self: Any) -> Any:
            self._missing_left = [not left for left in self._missing_left]
            return original(self)

        patch.setattr(lightgbm_trees._Nodes, "tree", planted)

    @staticmethod
    def another_sigmoid(patch: pytest.MonkeyPatch) -> None:
        original = lightgbm_trees._logistic
        patch.setattr(lightgbm_trees, "_logistic", lambda scores: original(1.001 * scores))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("equal_goes_left", "xgboost"),
        ("no_base_score", "xgboost, amounts"),
        ("no_base_score", "xgboost, base score"),
        ("a_default_direction", "xgboost"),
        ("missing_is_not_zero", "lightgbm"),
        ("another_sigmoid", "lightgbm"),
    ],
)
def test_a_fault_in_the_arithmetic_is_found_when_the_model_is_loaded(fault: str, kind: str) -> None:
    estimator, target = COMPILED[kind]
    model = loaded(estimator.fit(GAPS, target), GAPS, NUMBERS_SCHEMA)
    assert model.compiled is not None
    example = example_rows(model.schema, GAPS.head(5))
    assert example is not None
    with pytest.MonkeyPatch.context() as patch:
        getattr(_Faults, fault)(patch)
        with pytest.raises(NotCompilableError):
            CompiledModel.of(estimator, example, model._judge, classes=len(model.classes), gets_array=model.as_array)
