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

from airflow_provider_mlops.registry.model_output import ModelOutputError, checked_probabilities, checked_values


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
