"""A compiled model says what scikit-learn says, for any pipeline and any rows, or leaves them to scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from airflow_provider_mlops.lifecycle.prepare.preprocessing import Preprocessing
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.models.compiled.compiled_model import CompiledModel
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError
from airflow_provider_mlops.serving.models.example import example_rows
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
from airflow_provider_mlops.serving.rows.rows import Rows

VERSION = ModelVersion(name="m", version=1, run_id="r")
ROWS = 160


def people() -> pd.DataFrame:
    """Numbers with and without missing ones, whole numbers, codes, text with missing values, and booleans."""
    random = np.random.default_rng(0)
    town = random.choice(["Rome", "Oslo", "Lima", "Köln"], ROWS).astype(object)
    town[::9] = None
    town[5] = "Wien"
    age = random.normal(45, 12, ROWS).round(1)
    age[::7] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "income": random.gamma(2.0, 20_000, ROWS),
            "children": random.integers(0, 5, ROWS),
            "code": random.integers(0, 6, ROWS) * 100,
            "town": town,
            "member": random.random(ROWS) < 0.4,
        }
    )


PEOPLE = people()
SCHEMA = InputSchema(
    (
        Feature("age", "double"),
        Feature("income", "double"),
        Feature("children", "long"),
        Feature("code", "long"),
        Feature("town", "string", nullable=True),
        Feature("member", "boolean"),
    )
)
NUMBERS = PEOPLE[["income", "age"]].fillna(40.0)
NUMBERS_SCHEMA = InputSchema(SCHEMA.features[1::-1])
BINARY = np.where((PEOPLE["age"].fillna(45) < 45) ^ PEOPLE["member"], "yes", "no")
SEVERAL = PEOPLE["children"].to_numpy()
AMOUNT = (PEOPLE["income"] / 1000 + PEOPLE["age"].fillna(45)).to_numpy()

ESTIMATORS: dict[str, tuple[Any, Any]] = {
    "logistic": (LogisticRegression(max_iter=300), BINARY),
    "multinomial": (LogisticRegression(max_iter=300), SEVERAL),
    "ridge classifier": (RidgeClassifier(), BINARY),
    "least squares": (LinearRegression(), AMOUNT),
    "poisson": (PoissonRegressor(), AMOUNT / 10),
    "tree": (DecisionTreeClassifier(random_state=0), SEVERAL),
    "large trees": (ExtraTreesRegressor(3, random_state=0), AMOUNT),
    "one leaf": (DecisionTreeRegressor(max_depth=1, min_samples_leaf=100), AMOUNT),
    "forest": (RandomForestClassifier(8, max_depth=4, random_state=0), BINARY),
    "forest, several classes": (RandomForestClassifier(5, max_leaf_nodes=40, random_state=0), SEVERAL),
    "boosting": (GradientBoostingClassifier(n_estimators=8, random_state=0), BINARY),
    "boosting, several classes": (GradientBoostingClassifier(n_estimators=4, random_state=0), SEVERAL),
    "boosting, amounts": (GradientBoostingRegressor(n_estimators=8, random_state=0), AMOUNT),
    "histogram": (HistGradientBoostingClassifier(max_iter=8, random_state=0), BINARY),
    "histogram, several classes": (HistGradientBoostingClassifier(max_iter=4, random_state=0), SEVERAL),
    "histogram, amounts": (HistGradientBoostingRegressor(max_iter=8, random_state=0), AMOUNT),
    "large histogram": (
        HistGradientBoostingRegressor(max_leaf_nodes=100, min_samples_leaf=1, max_iter=3, random_state=0),
        AMOUNT,
    ),
    "histogram, counts": (HistGradientBoostingRegressor(loss="poisson", max_iter=8, random_state=0), AMOUNT),
}

PREPROCESSINGS = [
    Preprocessing(as_categorical=("code",)),
    Preprocessing(categorical_encode="ordinal", numeric_impute="mean", numeric_scale="robust"),
    Preprocessing(
        as_categorical=("code",),
        max_categories=3,
        categorical_impute="most_frequent",
        numeric_impute="most_frequent",
        numeric_scale="minmax",
    ),
    Preprocessing(numeric_impute="constant", numeric_fill=-1.0, numeric_scale=None, max_categories=4),
]


def loaded(estimator: Any, features: pd.DataFrame, schema: InputSchema) -> LoadedModel:
    return LoadedModel(VERSION, estimator, schema, example_rows(schema, features.head(5)))


def assert_same(model: LoadedModel, rows: Rows) -> bool:
    """Compare with scikit-learn. Returns whether the arithmetic predicted the rows."""
    assert model.compiled is not None
    mine = model.compiled.predict(rows)
    if mine is None:
        return False
    output, probabilities = model._judge(rows)
    assert mine[0].dtype.kind == output.dtype.kind
    if output.dtype.kind == "f":
        np.testing.assert_allclose(mine[0], output, rtol=1e-9)
    else:
        np.testing.assert_array_equal(mine[0], output)
    assert (mine[1] is None) == (probabilities is None)
    if probabilities is not None:
        np.testing.assert_allclose(mine[1], probabilities, rtol=1e-9, atol=1e-12)
    return True


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_models_with_preprocessing_and_mixed_columns(kind: str) -> None:
    estimator, target = ESTIMATORS[kind]
    preprocessing = PREPROCESSINGS[list(ESTIMATORS).index(kind) % len(PREPROCESSINGS)]
    pipeline = Pipeline([("preprocessing", preprocessing.build(PEOPLE)), ("estimator", estimator)])
    model = loaded(pipeline.fit(PEOPLE, target), PEOPLE, SCHEMA)
    rows = example_rows(model.schema, PEOPLE.head(50))
    assert rows is not None
    assert assert_same(model, rows)
    assert assert_same(model, rows.slice(3, 4))


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_models_of_numbers_alone(kind: str) -> None:
    estimator, target = ESTIMATORS[kind]
    model = loaded(Pipeline([("estimator", estimator)]).fit(NUMBERS, target), NUMBERS, NUMBERS_SCHEMA)
    for rows in (NUMBERS.to_numpy(), NUMBERS.to_numpy()[:1]):
        before = rows.copy()
        assert assert_same(model, signature_check.from_matrix(model.schema, rows))
        np.testing.assert_array_equal(rows, before)


_MODELS: dict[tuple[str, int], LoadedModel] = {}


def fitted(kind: str, place: int) -> LoadedModel:
    if (kind, place) not in _MODELS:
        estimator, target = ESTIMATORS[kind]
        steps = [("preprocessing", PREPROCESSINGS[place].build(PEOPLE)), ("estimator", estimator)]
        _MODELS[kind, place] = loaded(Pipeline(steps).fit(PEOPLE, target), PEOPLE, SCHEMA)
    return _MODELS[kind, place]


def cell(feature: Feature) -> st.SearchStrategy[Any]:
    """Any value that a request may contain, most of them like those of the training rows."""
    usual = st.sampled_from([value for value in PEOPLE[feature.name].tolist() if value == value and value is not None])
    values: st.SearchStrategy[Any] = usual
    if feature.kind == "double":
        values = usual | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
    elif feature.kind == "long":
        values = usual | st.integers(-(2**53), 2**53)
    elif feature.kind == "string":
        values = usual | st.text(st.characters(codec="utf-8"), max_size=5)
    return values | st.none() if feature.nullable else values


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_rows_of_any_pipeline(data: st.DataObject) -> None:
    kinds = ["logistic", "multinomial", "forest", "boosting", "histogram, amounts", "tree"]
    kind = data.draw(st.sampled_from(kinds))
    model = fitted(kind, kinds.index(kind) % len(PREPROCESSINGS))
    record = st.fixed_dictionaries({feature.name: cell(feature) for feature in model.schema.features})
    records = data.draw(st.lists(record, min_size=1, max_size=3))
    rows = signature_check.from_records(model.schema, records)
    if not assert_same(model, rows):
        # Declined: only where a number leaves the range in which scikit-learn calculates.
        largest = max(abs(value) for one in records for value in one.values() if type(value) in (int, float))
        assert largest > 1e30
    # The same rows as arrays, as a large or a binary request has them.
    assert_same(model, Rows(model.schema, rows.count, columns=rows.columns()))


def test_what_scikit_learn_refuses_it_refuses_with_its_own_error() -> None:
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(3, max_depth=3)).fit(NUMBERS, BINARY)
    model = loaded(pipeline, NUMBERS, NUMBERS_SCHEMA)
    assert model.compiled is not None
    rows = signature_check.from_columns(model.schema, {"income": [1e300], "age": [1.0]})
    assert model.compiled.predict(rows) is None
    with pytest.raises(ValueError, match="too large for dtype"):
        model.predict(rows)


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (make_pipeline(PCA(1), LogisticRegression()), "PCA has no compiled form"),
        (make_pipeline(FunctionTransformer(np.abs), Ridge()), "FunctionTransformer has no compiled form"),
        (make_pipeline(StandardScaler(), GaussianNB()), "GaussianNB has no compiled form"),
        (make_pipeline(SVC(kernel="rbf")), "SVC has no compiled form"),
        (make_pipeline(HistGradientBoostingRegressor(categorical_features=[0])), "categorical features"),
    ],
)
def test_other_models_are_left_to_scikit_learn(estimator: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    codes = NUMBERS.assign(income=PEOPLE["children"].astype(float))
    caplog.set_level("INFO")
    model = loaded(estimator.fit(codes, SEVERAL), codes, NUMBERS_SCHEMA)
    assert model.compiled is None
    assert reason in caplog.text
    assert model.predict(signature_check.from_matrix(model.schema, NUMBERS.to_numpy()[:1])).output


def test_a_subclass_is_not_taken_for_its_parent() -> None:
    class Doubled(LinearRegression):
        def predict(self, X: Any) -> Any:
            return 2 * super().predict(X)

    model = loaded(make_pipeline(Doubled()).fit(NUMBERS, AMOUNT), NUMBERS, NUMBERS_SCHEMA)
    assert model.compiled is None


def test_columns_in_another_order_than_those_of_the_signature() -> None:
    columns = ColumnTransformer([("one", StandardScaler(), ["age", "income"]), ("two", "passthrough", [0])])
    model = loaded(make_pipeline(columns, Ridge()).fit(NUMBERS, AMOUNT), NUMBERS, NUMBERS_SCHEMA)
    assert assert_same(model, signature_check.from_matrix(model.schema, NUMBERS.to_numpy()[:3]))
    swapped = ColumnTransformer([("one", StandardScaler(), ["age", "income"])])
    model = loaded(make_pipeline(swapped, Ridge()).fit(NUMBERS, AMOUNT), NUMBERS, NUMBERS_SCHEMA)
    assert assert_same(model, signature_check.from_matrix(model.schema, NUMBERS.to_numpy()[:3]))


def compiled_with(fault: Any, kind: str) -> None:
    """Compile a model in whose arithmetic a fault is planted. Raises NotCompilableError if the fault is found."""
    estimator, target = ESTIMATORS[kind]
    pipeline = Pipeline([("preprocessing", PREPROCESSINGS[0].build(PEOPLE)), ("estimator", estimator)])
    pipeline.fit(PEOPLE, target)
    judge = loaded(pipeline, PEOPLE, SCHEMA)
    example = example_rows(judge.schema, PEOPLE.head(5))
    assert example is not None
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        CompiledModel.of(pipeline, example, judge._judge, classes=len(judge.classes), gets_array=False)


def _change(patch: pytest.MonkeyPatch, owner: Any, name: str, change: Any) -> None:
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *arguments, **options: change(original(*arguments, **options)))


class _Faults:
    """Faults in the arithmetic, each in one place."""

    @staticmethod
    def none(patch: pytest.MonkeyPatch) -> None:
        pass

    @staticmethod
    def one_leaf(patch: pytest.MonkeyPatch) -> None:
        from airflow_provider_mlops.serving.models.compiled import ensembles

        original = ensembles.Trees.__init__

        def planted(self: Any, *arguments: Any, **options: Any) -> None:
            original(self, *arguments, **options)
            self._values = self._values.copy()
            self._values[-1] += 0.001

        patch.setattr(ensembles.Trees, "__init__", planted)

    @staticmethod
    def one_threshold(patch: pytest.MonkeyPatch) -> None:
        from airflow_provider_mlops.serving.models.compiled import tree_tables

        original = tree_tables.MaskedTrees.__init__

        def planted(self: Any, *arguments: Any) -> None:
            original(self, *arguments)
            place = len(self._thresholds) // 2
            self._thresholds[place] = np.nextafter(self._thresholds[place], self._thresholds.dtype.type(-np.inf))

        patch.setattr(tree_tables.MaskedTrees, "__init__", planted)

    @staticmethod
    def one_threshold_of_a_large_tree(patch: pytest.MonkeyPatch) -> None:
        from airflow_provider_mlops.serving.models.compiled import tree_tables

        original = tree_tables.WalkedTrees.__init__

        def planted(self: Any, *arguments: Any) -> None:
            original(self, *arguments)
            self._thresholds[0] = np.nextafter(self._thresholds[0], self._thresholds.dtype.type(-np.inf))

        patch.setattr(tree_tables.WalkedTrees, "__init__", planted)

    @staticmethod
    def missing_values_go_the_other_way(patch: pytest.MonkeyPatch) -> None:
        from airflow_provider_mlops.serving.models.compiled import tree_tables

        original = tree_tables.MaskedTrees.__init__

        def planted(self: Any, *arguments: Any) -> None:
            original(self, *arguments)
            self._missing_right = ~self._missing_right

        patch.setattr(tree_tables.MaskedTrees, "__init__", planted)

    @staticmethod
    def the_decision_at_zero(patch: pytest.MonkeyPatch) -> None:
        from airflow_provider_mlops.serving.models.compiled import decision

        _change(patch, decision, "checked_classes", lambda classes: classes[::-1])

    @staticmethod
    def one_category(patch: pytest.MonkeyPatch) -> None:
        from airflow_provider_mlops.serving.models.compiled import categories

        original = categories._Probe.table

        def planted(self: Any, column: int) -> Any:
            table = original(self, column)
            table.encoded[-1] += 1.0
            return table

        patch.setattr(categories._Probe, "table", planted)

    @staticmethod
    def the_mean_of_a_scaler(patch: pytest.MonkeyPatch) -> None:
        from airflow_provider_mlops.serving.models.compiled import elementwise

        _change(patch, elementwise, "_parameters", lambda values: values * (1 + 1e-6))

    @staticmethod
    def too_large_numbers_are_predicted(patch: pytest.MonkeyPatch) -> None:
        from airflow_provider_mlops.serving.models.compiled import ensembles

        patch.setattr(ensembles, "_LARGEST_32_BITS", np.inf)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("one_leaf", "histogram"),
        ("one_leaf", "boosting"),
        ("one_leaf", "forest"),
        ("one_leaf", "large trees"),
        ("one_threshold", "histogram"),
        ("one_threshold", "forest"),
        ("one_threshold_of_a_large_tree", "large trees"),
        ("missing_values_go_the_other_way", "histogram"),
        ("the_decision_at_zero", "logistic"),
        ("the_decision_at_zero", "multinomial"),
        ("one_category", "logistic"),
        ("one_category", "histogram, amounts"),
        ("the_mean_of_a_scaler", "least squares"),
        ("too_large_numbers_are_predicted", "forest"),
    ],
)
def test_a_fault_in_the_arithmetic_is_found_when_the_model_is_loaded(fault: str, kind: str) -> None:
    compiled_with(_Faults.none, kind)
    with pytest.raises(NotCompilableError):
        compiled_with(getattr(_Faults, fault), kind)
