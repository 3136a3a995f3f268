"""What a model may return, and what is none of it."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from airflow_provider_mlops.registry.model_output import (
    ModelOutputError,
    checked_probabilities,
    checked_values,
    predict,
)


@pytest.mark.parametrize(
    ("output", "values"),
    [
        ([1.5, 2.5], [1.5, 2.5]),
        (np.array([1, 2]), [1, 2]),
        (np.array([1.5, 2.5], dtype=np.float32), [1.5, 2.5]),
        (np.array([1.5, 2.5], dtype=np.longdouble), [1.5, 2.5]),
        (np.array([1, 2], dtype=np.uint64), [1, 2]),
        (np.array([[1.5], [2.5]]), [1.5, 2.5]),
        (np.array([["a"], ["b"]]), ["a", "b"]),
        ([True, False], [True, False]),
        (pd.Series(["a", "b"]), ["a", "b"]),
        (pd.DataFrame({"y": [1.0, 2.0]}), [1.0, 2.0]),
        (np.array(["a", "b"], dtype=object), ["a", "b"]),
        (np.array([b"a", "ä".encode()]), ["a", "ä"]),
        (np.array([1, "a"], dtype=object), [1, "a"]),
        (np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]"), ["2026-01-01", "2026-01-02"]),
        (np.array([datetime.date(2026, 1, 1)] * 2, dtype=object), [datetime.date(2026, 1, 1)] * 2),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [3.0, 4.0]]),
    ],
)
def test_predictions(output: Any, values: list[Any]) -> None:
    assert checked_values(output, 2).tolist() == values


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ([], "0 values for 2 rows"),
        ([1.5], "1 value for 2 rows"),
        ([1, 2, 3], "3 values for 2 rows"),
        (None, "a NoneType instead of an array"),
        (3.5, "a float instead of an array"),
        ("ab", "a str instead of an array"),
        ({"a": 1}, "a dict instead of an array"),
        (scipy.sparse.csr_matrix([[1.0], [2.0]]), "a csr_matrix instead of an array"),
        (np.array(1.5), "0 values for 2 rows"),
        ([[1.0], [2.0, 3.0]], "a list that is not an array"),
        ([1.5, np.nan], "its predictions are not finite for 1 of 2 rows"),
        ([np.inf, -np.inf], "its predictions are not finite for 2 of 2 rows"),
        (np.array([1e400, 1], dtype=np.longdouble), "not finite for 1 of 2 rows"),
        (np.ones((2, 1, 1)), r"shape \(2, 1, 1\)"),
        (np.ones((2, 0)), r"shape \(2, 0\)"),
        (np.array([["a", "b"], ["c", "d"]]), "2 labels per row"),
        (np.array([1, 2**63], dtype=np.uint64), "more than 64 bits"),
        (np.array([1 + 2j, 1]), "values of type complex128"),
        (np.array([(1, 2.0), (3, 4.0)], dtype="i4,f8"), "values of type"),
        (np.array([None, "a"], dtype=object), "a missing value"),
        (np.array([np.nan, "a"], dtype=object), "a missing value"),
        (np.array([pd.NA, "a"], dtype=object), "a NAType as a prediction"),
        (np.array(["NaT", "2026-01-01"], dtype="datetime64[D]"), "a missing value"),
        (np.array([{}, "a"], dtype=object), "a dict as a prediction"),
        (np.array([Decimal(1), Decimal(2)], dtype=object), "a Decimal as a prediction"),
        (np.array(["\ud800", "a"], dtype=object), "text that cannot be encoded"),
        (np.array([b"\xff", b"a"]), "not UTF-8 text"),
        (np.ma.masked_array([1.0, 2.0], mask=[True, False]), "a masked array"),
    ],
)
def test_what_is_no_prediction(output: Any, message: str) -> None:
    with pytest.raises(ModelOutputError, match=message):
        checked_values(output, 2)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ([[0.5, 0.5]], r"shape \(1, 2\) for 2 rows and 2 classes"),
        (np.full((2, 3), 1 / 3), r"shape \(2, 3\)"),
        ([np.full((2, 2), 0.5)] * 2, r"shape \(2, 2, 2\)"),
        ([0.5, 0.5], r"shape \(2,\)"),
        (None, "a NoneType instead of an array"),
        ([["a", "b"], ["c", "d"]], "of type <U1"),
        ([[0.5, np.nan], [0.5, 0.5]], "its probabilities are not finite for 1 of 2 rows"),
        ([[1.5, -0.5], [0.5, 0.5]], "the probability -0.5"),
        # Their total is right.
        ([[0.5, 0.4], [0.5, 0.6]], r"add up to (0.9|1.1)"),
        ([[1.0, 1.0], [0.0, 0.0]], "add up to 2"),
    ],
)
def test_what_are_no_probabilities(output: Any, message: str) -> None:
    with pytest.raises(ModelOutputError, match=message):
        checked_probabilities(output, 2, 2)


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(2, 30)), elements=st.floats(-50, 50, width=32)))
def test_probabilities_in_32_bits(scores: Any) -> None:
    """As boosters calculate them."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(checked_probabilities(probabilities, *probabilities.shape), probabilities)


def test_no_rows() -> None:
    assert checked_values([], 0).shape == (0,)
    assert checked_probabilities(np.empty((0, 3)), 0, 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("output", "values"),
    [
        (pd.Series([1.5, 2.5], index=[7, 9]), [1.5, 2.5]),
        (pd.Series([1.5, 2.5], index=["a", "a"]), [1.5, 2.5]),
        (pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], columns=["y", "y"]), [[1.0, 2.0], [3.0, 4.0]]),
        (np.array([1.5, 2.5], dtype=">f8"), [1.5, 2.5]),
        (np.array([1.5, 2.5], dtype=np.float16), [1.5, 2.5]),
        (np.arange(4.0)[::-2], [3.0, 1.0]),
        (np.matrix([[1.5], [2.5]]), [1.5, 2.5]),
        (pd.Categorical(["a", "b"]), ["a", "b"]),
        (np.array(["a", "b"], dtype=np.dtypes.StringDType()), ["a", "b"]),
        (np.array([np.True_, "b"], dtype=object), [True, "b"]),
        ((1.5, 2.5), [1.5, 2.5]),
        (range(2), [0, 1]),
    ],
)
def test_predictions_in_unusual_containers(output: Any, values: list[Any]) -> None:
    assert checked_values(output, 2).tolist() == values


class SaysFive(np.ndarray):
    def __len__(self) -> int:
        return 5


class CannotBeText(str):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.ones(3).view(SaysFive), "3 values for 2 rows"),
        ((value for value in (1.0, 2.0)), "a generator instead of an array"),
        (iter([1.0, 2.0]), "a list_iterator instead of an array"),
        ({1.0, 2.0}, "a set instead of an array"),
        (np.array([pd.NaT, pd.Timestamp("2026-01-01")], dtype=object), "a missing value"),
        (np.array([np.float32("nan"), "a"], dtype=object), "a missing value"),
        (np.array([np.datetime64("NaT"), "a"], dtype=object), "a missing value"),
        (np.array([float("inf"), "a"], dtype=object), "inf as a prediction"),
        (np.array([np.complex64(1), "a"], dtype=object), "a complex64 as a prediction"),
        (np.array([np.bytes_(b"a"), "a"], dtype=object), "a bytes_ as a prediction"),
        (np.array([np.ones(1), np.ones(2)], dtype=object), "a ndarray as a prediction"),
        (np.array([CannotBeText("a"), "b"], dtype=object), "cannot be written as text"),
        (pd.array([1, None], dtype="Int64"), "missing value|NAType|not finite"),
        (pd.array([True, None], dtype="boolean"), "missing value|NAType|not finite"),
        (pd.Categorical(["a", None]), "a missing value"),
        (scipy.sparse.coo_array([[1.0], [2.0]]), "instead of an array"),
    ],
)
def test_what_is_no_prediction_in_unusual_containers(output: Any, message: str) -> None:
    with pytest.raises(ModelOutputError, match=message):
        checked_values(output, 2)


def test_an_index_in_another_order_is_refused_because_rows_are_told_by_position() -> None:
    sent = pd.Index([10, 20, 30])
    assert checked_values(pd.Series([1, 2, 3], index=sent), 3, sent).tolist() == [1, 2, 3]
    assert checked_values(pd.Series([1, 2, 3]), 3, sent).tolist() == [1, 2, 3]
    for output in (pd.Series([1, 2, 3], index=[30, 10, 20]), pd.DataFrame({"y": [1, 2, 3]}, index=[20, 10, 30])):
        with pytest.raises(ModelOutputError, match="the rows in another order"):
            checked_values(output, 3, sent)
    with pytest.raises(ModelOutputError, match="the rows in another order"):
        checked_values(pd.Series([1, 2, 3], index=[2, 1, 0]), 3)
    proba = pd.DataFrame([[0.5, 0.5], [0.1, 0.9]], index=[1, 0])
    with pytest.raises(ModelOutputError, match="the rows in another order"):
        checked_probabilities(proba, 2, 2)


@pytest.mark.parametrize("total", [1 - 1e-3, 1 - 1e-7, 1 + 1e-7, 1 + 1e-3])
def test_probabilities_that_nearly_add_up_are_accepted_on_both_sides(total: float) -> None:
    assert checked_probabilities([[total / 2, total / 2]], 1, 2).sum() == total


def test_a_probability_above_one_is_refused_even_if_the_sum_is_close() -> None:
    with pytest.raises(ModelOutputError, match=r"the probability 1.0005"):
        checked_probabilities([[1.0005, 0.0]], 1, 2)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.bool_, "U1", object, np.float32])
def test_an_output_is_a_copy_because_the_next_rows_may_overwrite_it(dtype: Any) -> None:
    buffer = np.array([1, 0], dtype=dtype)
    kept = checked_values(buffer, 2)
    before = kept.tolist()
    buffer[:] = np.array([0, 1], dtype=dtype)
    assert kept.tolist() == before
    scores = np.array([[0.25, 0.75]])
    probabilities = checked_probabilities(scores, 1, 2)
    scores[:] = 0.5
    assert probabilities.tolist() == [[0.25, 0.75]]


def test_a_model_that_changes_its_input_does_not_change_the_callers() -> None:
    class Changing:
        classes_ = np.array([0, 1])

        def predict(self, features: Any) -> Any:
            features[:] = features * 2
            return (features[:, 0] > 1).astype(int)

        def predict_proba(self, features: Any) -> Any:
            assert features[0, 0] == 1
            return np.array([[0.5, 0.5]] * len(features))

    rows = np.ones((2, 1))
    assert predict(Changing(), rows)[0].tolist() == [1, 1]
    assert rows.tolist() == [[1.0], [1.0]]
