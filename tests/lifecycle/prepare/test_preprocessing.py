"""Preprocessing: its output, values that callers may send, what skops saves, and what is rejected."""

from __future__ import annotations

import datetime
import json
import math
import warnings
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy
import pandas
import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.prepare.preprocessing import TRUSTED_TYPES, Preprocessing, column_kinds


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Fail on warnings: one of scikit-learn at every prediction would fill the logs of a gateway."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def features(rows: int = 40) -> pandas.DataFrame:
    four = rows // 4
    return pandas.DataFrame(
        {
            "number": numpy.arange(rows) * 1.5,
            "count": [None, 1, 2, 3] * four,
            "flag": [True, False, True, True] * four,
            "maybe": [True, None, False, True] * four,
            "city": ["Ulm", "Bonn", None, "Kiel"] * four,
            "empty": pandas.Series([None] * rows, dtype=object),
            "postcode": [1, 2, 3, 4] * four,
            "grade": pandas.Categorical(["A", "B", "A", "B"] * four),
        }
    )


ROWS = {
    "new_category": {
        "number": 1,
        "count": None,
        "flag": True,
        "maybe": False,
        "city": "Rome",
        "empty": None,
        "grade": "Z",
    },
    "numbers_as_booleans": {"number": 1, "count": 3, "flag": 1.0, "maybe": 0, "city": None, "empty": "x", "grade": "A"},
    "all_none": dict.fromkeys(features().columns),
    "all_nan": dict.fromkeys(features().columns, math.nan),
}
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "ordinal": {"categorical_encode": "ordinal"},
    "constant": {"numeric_impute": "constant", "numeric_fill": -1},
    "most_frequent": {"numeric_impute": "most_frequent", "categorical_impute": "most_frequent"},
    "minmax": {"numeric_scale": "minmax"},
    "robust": {"numeric_scale": "robust", "numeric_impute": "mean"},
    "codes": {"as_categorical": ("postcode",)},
    "ordinal_codes": {"as_categorical": ("postcode",), "categorical_encode": "ordinal", "max_categories": 2},
}


@pytest.mark.parametrize("way", WAYS)
def test_any_values_from_a_caller_become_finite_numbers(way: str) -> None:
    from airflow_provider_mlops.registry import packaging

    # Importing skops after Airflow would give a warning.
    skops = packaging.import_skops()
    frame = features()
    fitted = Preprocessing(**WAYS[way]).build(frame).fit(frame)
    names = list(fitted.get_feature_names_out())
    assert len(names) == len(set(names)) == fitted.transform(frame).shape[1]
    saved = skops.io.dumps(fitted)
    assert set(skops.io.get_untrusted_types(data=saved)) <= set(TRUSTED_TYPES)
    loaded = skops.io.loads(saved, trusted=list(TRUSTED_TYPES))
    numpy.testing.assert_array_equal(loaded.transform(frame), fitted.transform(frame))
    for row in ROWS.values():
        served = pandas.DataFrame([{"postcode": 99, **row}])[list(frame.columns)]
        transformed = loaded.transform(served)
        assert transformed.shape == (1, len(names))
        assert numpy.isfinite(transformed.astype(float)).all()


def test_numbers_are_imputed_and_scaled_by_the_training_rows() -> None:
    frame = pandas.DataFrame({"a": [0.0, 2.0, 4.0, None], "b": [1, 1, 1, 1]})
    transformer = Preprocessing().build(frame)
    out = transformer.fit_transform(frame)
    # The median of 0, 2, 4 is 2; mean and standard deviation are those of 0, 2, 4, 2.
    numpy.testing.assert_allclose(out[:, 0], (numpy.array([0, 2, 4, 2]) - 2) / math.sqrt(2))
    numpy.testing.assert_allclose(out[:, 1], 0)
    # Numbers only: the pipeline takes arrays too, as a fast server sends them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numpy.testing.assert_allclose(transformer.transform(frame.to_numpy()), out)


def test_numbers_may_stay_missing() -> None:
    frame = pandas.DataFrame({"a": [1, None, 3], "b": ["x", "y", "x"]})
    out = Preprocessing(numeric_impute=None, numeric_scale=None).build(frame).fit_transform(frame)
    numpy.testing.assert_array_equal(out, [[1, 1, 0], [math.nan, 0, 1], [3, 1, 0]])


def test_booleans_become_one_column() -> None:
    frame = pandas.DataFrame({"flag": [True, None, True, False], "city": ["a"] * 4})
    out = Preprocessing().build(frame).fit_transform(frame)
    assert out[:, 0].tolist() == [1, 1, 1, 0]


def test_missing_values_are_a_category_of_their_own() -> None:
    frame = pandas.DataFrame({"city": ["Ulm", None, "Bonn"]})
    transformer = Preprocessing().build(frame).fit(frame)
    assert list(transformer.get_feature_names_out()) == ["city_Bonn", "city_Ulm", "city_missing"]
    for missing in (None, math.nan):
        assert transformer.transform(pandas.DataFrame({"city": [missing]}, dtype=object)).tolist() == [[0, 0, 1]]
    assert transformer.transform(pandas.DataFrame({"city": ["Rome"]})).tolist() == [[0, 0, 0]]


def test_an_identifier_cannot_fill_the_memory() -> None:
    frame = pandas.DataFrame({"id": [f"customer {number}" for number in range(5000)]})
    transformer = Preprocessing(max_categories=20).build(frame).fit(frame)
    assert transformer.transform(frame).shape == (5000, 20)
    unknown = transformer.transform(pandas.DataFrame({"id": ["customer 5001"]}))
    assert unknown.tolist() == [[0] * 19 + [1]]


def test_kinds_follow_types() -> None:
    assert column_kinds(features(), ("postcode",)) == {
        "number": "numeric",
        "count": "numeric",
        "flag": "boolean",
        "maybe": "boolean",
        "city": "categorical",
        "empty": "categorical",
        "postcode": "code",
        "grade": "categorical",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([datetime.date(2026, 1, 1)], "has the type date, .*Derive numbers from it"),
        ([datetime.datetime(2026, 1, 1)], r"has the type datetime64\[\w+\], .*Derive numbers from it"),
        ([datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)], r"has the type datetime64\[\w+, UTC\], .*Derive"),
        ([datetime.timedelta(1)], r"has the type timedelta64\[\w+\], .*Derive numbers from it"),
        ([datetime.time(1)], "has the type time, .*Derive numbers from it"),
        (pandas.period_range("2026-01", periods=1, freq="M"), r"has the type period\[M\], .*Derive numbers from it"),
        ([Decimal("1.5")], "has the type decimal, .*Cast it to a floating-point number"),
        ([b"bytes"], "has the type bytes, .*Turn it into numbers, booleans or strings"),
        ([[1, 2]], "has the type mixed, .*Turn it into numbers"),
        ([{"a": 1}], "has the type mixed, .*Turn it into numbers"),
        ([1j], "has the type complex number, .*Turn it into numbers"),
    ],
)
def test_what_cannot_become_a_number_is_refused(values: Any, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=f"dataset='when': the column 'when' {message}"):
        Preprocessing().build(pandas.DataFrame({"when": values}))


def test_mixed_text_and_numbers_are_refused() -> None:
    with pytest.raises(InvalidSpecError, match="dataset='a': the column 'a' has the type mixed-integer, "):
        Preprocessing().build(pandas.DataFrame({"a": [1, "x"]}))


def test_no_columns_and_unknown_columns_are_refused() -> None:
    with pytest.raises(InvalidSpecError, match="no feature columns besides the target"):
        Preprocessing().build(pandas.DataFrame(index=[0, 1]))
    with pytest.raises(InvalidSpecError, match=r"as_categorical='zip': it must be a column .*'number', 'count'"):
        Preprocessing(as_categorical=("zip",)).build(features())


def own_transformer(features: pandas.DataFrame) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import StandardScaler

    return make_column_transformer((StandardScaler(), [features.columns[0]]))


def fitted_transformer(features: pandas.DataFrame) -> Any:
    return own_transformer(features).fit(features)


def no_transformer(features: pandas.DataFrame) -> Any:
    return features


def a_class(features: pandas.DataFrame) -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler


@pytest.mark.parametrize("code", [own_transformer, fitted_transformer])
def test_own_code(code: Any) -> None:
    built = Preprocessing.model_validate({"code": code}).build(features())
    assert not hasattr(built, "transformers_")
    assert built.fit_transform(features()).shape == (40, 1)


@pytest.mark.parametrize("code", [no_transformer, a_class])
def test_own_code_that_returns_no_transformer(code: Any) -> None:
    with pytest.raises(
        InvalidSpecError, match=r"preprocessing\.code=.*must return an unfitted scikit-learn transformer"
    ):
        Preprocessing.model_validate({"code": code}).build(features())


def test_it_is_the_same_after_a_round_trip_through_json() -> None:
    declared = Preprocessing.model_validate({"code": own_transformer, "as_categorical": ["postcode"]})
    assert Preprocessing.model_validate(json.loads(declared.model_dump_json())) == declared
