"""Values as JSON against a signature: what fits comes through unchanged, what does not is named."""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.types.schema import Array, DataType

from airflow_provider_mlops.errors import RejectedError
from airflow_provider_mlops.serving.log import schema as log_schema
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.rows.input_schema import KINDS, Feature, InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError

MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.none() | st.just(UTC))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    "boolean": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"])),
    "binary": st.binary().map(lambda value: base64.b64encode(value).decode()),
    "datetime": MOMENTS.map(lambda value: value.isoformat()),
}


def meaning(kind: str, value: Any) -> Any:
    """What a value of JSON stands for, as the log gives it back."""
    if value is None:
        return None
    if kind == "binary":
        return base64.b64decode(value)
    if kind == "datetime":
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return value


@st.composite
def tables(draw: st.DrawFn) -> tuple[InputSchema, list[dict[str, Any]]]:
    """A schema and rows that fit it."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    nullable = draw(st.lists(st.booleans(), min_size=len(kinds), max_size=len(kinds)))
    features = tuple(
        Feature(f"column {place}", kind, nullable=may)
        for place, (kind, may) in enumerate(zip(kinds, nullable, strict=True))
    )
    # A missing whole number makes the column floating point, as in pandas: large ones are then not exact any more.
    small = st.integers(-(2**31), 2**31 - 1)
    cells = {
        feature.name: (st.none() | (small if feature.kind == "long" else VALUES[feature.kind]))
        if feature.nullable
        else VALUES[feature.kind]
        for feature in features
    }
    return InputSchema(features), draw(st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=6))


@settings(max_examples=150, deadline=None)
@given(tables(), st.randoms())
def test_what_fits_comes_through_in_every_form_and_into_the_log(
    table: tuple[InputSchema, list[dict[str, Any]]], random: Any
) -> None:
    schema, records = table
    names = list(schema.names)
    random.shuffle(names)
    data = [[record[name] for name in names] for record in records]
    for rows in (
        signature_check.from_records(schema, records),
        signature_check.from_columns(schema, {name: [record[name] for record in records] for name in names}),
        signature_check.from_table(schema, names, data),
    ):
        assert rows.count == len(records)
        assert list(rows.frame().columns) == list(schema.names)
        for feature, logged in zip(schema.features, rows.logged(), strict=True):
            back = log_schema.column(logged, log_schema.TYPES[feature.kind]).to_pylist()
            assert back == [meaning(feature.kind, record[feature.name]) for record in records]


@settings(max_examples=100, deadline=None)
@given(tables(), st.data())
def test_one_wrong_value_is_named(table: tuple[InputSchema, list[dict[str, Any]]], data: st.DataObject) -> None:
    schema, records = table
    feature = data.draw(st.sampled_from(schema.features))
    place = data.draw(st.integers(0, len(records) - 1))
    wrong = [{}, [], [1]] + ([] if feature.nullable else [None, math.nan])
    if feature.kind in ("integer", "long", "float", "double"):
        wrong += ["1", True, math.inf, 10**400]
        wrong += {"integer": [2**31, 0.5], "long": [2**63, 0.5], "float": [1e39], "double": []}[feature.kind]
    elif feature.kind == "boolean":
        wrong += ["true", 1, 0.0]
    else:
        wrong += [5, True, 1.5]
        wrong += {"string": ["\ud800"], "binary": ["%"], "datetime": ["yesterday", "0001-01-01", ""]}[feature.kind]
    records[place] = {**records[place], feature.name: data.draw(st.sampled_from(wrong))}
    with pytest.raises(RequestError) as raised:
        signature_check.from_records(schema, records)
    assert raised.value.status == 422
    assert raised.value.field == feature.name


def test_whole_numbers_and_fractions() -> None:
    schema = InputSchema((Feature("whole", "long", nullable=True), Feature("part", "double")))
    rows = signature_check.from_columns(schema, {"whole": [1.0, 2], "part": [1, 2.5]})
    whole, part = rows.columns()
    assert (whole.dtype, part.dtype) == (np.int64, np.float64)
    assert whole.tolist() == [1, 2]
    with_gap = signature_check.from_columns(schema, {"whole": [1, None], "part": [1, 2]}).frame()
    assert with_gap["whole"].dtype == np.float64
    exact = signature_check.from_columns(schema, {"whole": [2**63 - 1], "part": [0]}).columns()[0]
    assert exact.tolist() == [2**63 - 1]
    with pytest.raises(RequestError, match="too large"):
        signature_check.from_columns(schema, {"whole": [float(2**63)], "part": [0]})


def test_missing_text_is_nan_in_the_frame_as_in_training() -> None:
    schema = InputSchema((Feature("town", "string", nullable=True),))
    frame = signature_check.from_columns(schema, {"town": ["Rome", None]}).frame()
    assert frame["town"].isna().tolist() == [False, True]
    assert isinstance(frame["town"].iloc[1], float)


def test_columns_that_may_be_left_out() -> None:
    schema = InputSchema((Feature("a", "double"), Feature("b", "double", optional=True, nullable=True)))
    for rows in (
        signature_check.from_columns(schema, {"a": [1.0, 2.0]}),
        signature_check.from_table(schema, ["a"], [[1.0], [2.0]]),
        signature_check.from_records(schema, [{"a": 1.0}, {"a": 2.0}]),
    ):
        assert rows.frame()["b"].isna().all()
    with pytest.raises(RequestError, match="'a'"):
        signature_check.from_columns(schema, {"b": [1.0]})
    mixed = signature_check.from_records(schema, [{"a": 1.0, "b": 3.0}, {"a": 2.0}]).frame()
    assert mixed["b"].tolist()[0] == 3.0
    assert math.isnan(mixed["b"].tolist()[1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(VALUES["double"], min_size=3, max_size=3), min_size=1, max_size=5), st.permutations("abc"))
def test_the_quick_way_for_numbers_says_the_same_as_the_slow_one(data: list[list[float]], names: list[str]) -> None:
    quick = InputSchema(tuple(Feature(name, "double") for name in "abc"))
    slow = InputSchema((*quick.features, Feature("d", "string", optional=True, nullable=True)))
    one = signature_check.from_table(quick, names, data)
    other = signature_check.from_table(slow, names, data).frame()[["a", "b", "c"]]
    pd.testing.assert_frame_equal(one.frame(), other)
    np.testing.assert_array_equal(one.array(), other.to_numpy())


def test_mlflow_signatures() -> None:
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, None], "s": ["a", "b"], "b": [True, False]})
    frame["t"] = pd.Timestamp("2026-01-01")
    schema = InputSchema.of(infer_signature(frame))
    assert [(feature.name, feature.kind, feature.optional) for feature in schema.features] == [
        *(("n", "long", False), ("x", "double", True), ("s", "string", False), ("b", "boolean", False)),
        ("t", "datetime", False),
    ]
    tensor = InputSchema.of(infer_signature(np.zeros((4, 3), dtype=np.float32)))
    assert [(feature.name, feature.kind) for feature in tensor.features] == [(str(n), "float") for n in range(3)]
    unnamed = InputSchema.of(ModelSignature(Schema([ColSpec("double"), ColSpec("double")])))
    assert unnamed.names == ("0", "1")
    nested = ModelSignature(Schema([ColSpec(Array(DataType.double), "many")]))
    images = InputSchema.of(infer_signature(np.zeros((4, 3, 2))))
    assert (images.row_shape, images.names, images.double) == ((3, 2), tuple("012345"), True)
    values = InputSchema.of(infer_signature(np.zeros(4, dtype=np.int64)))
    assert (values.row_shape, values.names) == ((), ("0",))
    for refused in (
        None,
        nested,
        infer_signature(np.zeros((4, 200, 200))),
        ModelSignature(Schema([TensorSpec(np.dtype("float64"), (-1, -1, 2))])),
        ModelSignature(Schema([TensorSpec(np.dtype("float64"), ())])),
        infer_signature(np.array([["a"], ["b"]])),
        infer_signature({"a": np.zeros((2, 2)), "b": np.zeros(2)}),
    ):
        with pytest.raises(RejectedError):
            InputSchema.of(refused)


def test_a_time_with_a_zone_is_the_same_moment() -> None:
    schema = InputSchema((Feature("t", "datetime"),))
    rows = signature_check.from_columns(schema, {"t": ["2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00Z"]})
    assert rows.columns()[0].dtype == np.dtype("datetime64[ns]")
    assert len(set(rows.columns()[0].tolist())) == 1
    moment = datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert log_schema.column(rows.logged()[0], log_schema.TIME).to_pylist() == [moment, moment + timedelta(0)]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_time_that_cannot_be_shifted_to_utc_is_refused(moment: str) -> None:
    with pytest.raises(RequestError, match="between the years 1678 and 2261") as raised:
        signature_check.from_columns(InputSchema((Feature("t", "datetime"),)), {"t": [moment]})
    assert (raised.value.status, raised.value.field) == (422, "t")
