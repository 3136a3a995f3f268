"""Plain values are checked quickly, with the same result as all others, or not at all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.serving.models import plain_values, signature_check
from airflow_provider_mlops.serving.models.column_values import column_values
from airflow_provider_mlops.serving.protocols import protocol_v2
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError
from airflow_provider_mlops.serving.rows.rows import Rows

SCHEMA = InputSchema(
    (
        Feature("age", "double", nullable=True),
        Feature("income", "double"),
        Feature("children", "long", nullable=True),
        Feature("town", "string", nullable=True),
        Feature("plan", "string"),
        Feature("member", "boolean", nullable=True),
    )
)
DOUBLES = InputSchema((Feature("age", "double", nullable=True), Feature("income", "double")))
DATATYPES = {"double": "FP64", "long": "INT64", "string": "BYTES", "boolean": "BOOL"}

ANY_VALUE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=3)
    | st.just("\ud800")
    | st.just([1])
)


def slowly(schema: InputSchema, columns: dict[str, list[Any]]) -> Rows:
    """The rows as arrays, by the checks of `column_values` alone."""
    arrays = [column_values(feature, columns[feature.name]) for feature in schema.features]
    return Rows(schema, len(arrays[0]), columns=arrays)


def outcome(parse: Any, *arguments: Any) -> Any:
    """What a function returns, or the error that it raises."""
    try:
        return parse(*arguments)
    except RequestError as error:
        return (error.status, error.message, error.field)


def assert_same(one: Rows, other: Rows) -> None:
    pd.testing.assert_frame_equal(one.frame(), other.frame())
    for first, second in zip(one.columns(), other.columns(), strict=True):
        assert first.dtype == second.dtype

    def logged(rows: Rows) -> Any:
        return json.loads(pd.Series([list(map(list, rows.logged()))]).to_json())

    assert logged(one) == logged(other)
    for position, feature in enumerate(one.schema.features):
        assert one.values(position) == other.values(position)
        if feature.kind != "string":
            np.testing.assert_array_equal(one.numbers((position,)), other.numbers((position,)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_values_give_the_same_rows_or_the_same_error(data: st.DataObject) -> None:
    schema = data.draw(st.sampled_from([SCHEMA, DOUBLES]))
    count = data.draw(st.integers(1, 3))
    usual: dict[str, st.SearchStrategy[Any]] = {
        "double": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5),
        "long": st.integers(-(2**63), 2**63 - 1),
        "string": st.text(max_size=3),
        "boolean": st.booleans(),
    }
    columns = {}
    for feature in schema.features:
        value = usual[feature.kind]
        if feature.nullable:
            value = value | st.none()
        if data.draw(st.integers(0, 5)) == 0:
            value = ANY_VALUE
        columns[feature.name] = data.draw(st.lists(value, min_size=count, max_size=count))
    expected, actual = outcome(slowly, schema, columns), outcome(signature_check.from_columns, schema, columns)
    if isinstance(expected, Rows):
        assert_same(actual, expected)
    else:
        assert actual == expected


@pytest.mark.parametrize("values", [[None, 2**53 + 1], [-(2**53) - 1, None], [2**63 - 1, None, None]])
def test_large_whole_numbers_beside_missing_ones_are_not_plain(values: list[int | None]) -> None:
    schema = InputSchema((Feature("children", "long", nullable=True),))
    assert plain_values.plain_cells(schema, [values]) is None
    assert plain_values.plain_cells(schema, [[value for value in values if value is not None]]) is not None


def test_rows_of_plain_values_are_joined_and_divided() -> None:
    first = {"age": [1, None], "income": [2.0, 3.0], "children": [1, 2], "town": ["é"] * 2, "plan": ["a", "b"]}
    one = signature_check.from_columns(SCHEMA, {**first, "member": [True, False]})
    other = signature_check.from_columns(SCHEMA, {**first, "member": [False, True]})
    assert one.layout == other.layout
    both = Rows.concatenate([one, other])
    assert both.count == 4
    assert_same(both.slice(2, 4), other)
    # A missing number that was whole makes the column one of floating-point numbers, for all rows of a batch.
    gap = signature_check.from_columns(SCHEMA, {**first, "children": [None, 2], "member": [True, True]})
    assert gap.layout != one.layout


def tensors(schema: InputSchema, columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": [len(values)], "datatype": DATATYPES[schema.by_name[name].kind], "data": values}
        for name, values in columns.items()
    ]


USUAL = {
    "age": [41.5],
    "income": [10.0],
    "children": [2],
    "town": [None],
    "plan": ["basic"],
    "member": [True],
}

CHANGES: dict[str, Any] = {
    "nothing": {},
    "two dimensions": {"shape": [1, 1]},
    "nested": {"shape": [1, 1], "data": [[41.5]]},
    "another number": {"datatype": "FP32"},
    "no number": {"datatype": "BYTES"},
    "no type": {"datatype": "FP63"},
    "a type of another kind": {"datatype": ["FP64"]},
    "another name": {"name": "height"},
    "another name twice": {"name": "income"},
    "no name": {"name": ["age"]},
    "a shape that is true": {"shape": [True]},
    "a shape that is a float": {"shape": [1.0]},
    "another shape": {"shape": [2]},
    "another width": {"shape": [1, 2]},
    "three dimensions": {"shape": [1, 1, 1]},
    "no rows": {"shape": [0], "data": []},
    "no list": {"data": 41.5},
    "parameters": {"parameters": {"content_type": "np"}},
    "a size without binary data": {"parameters": {"binary_data_size": 8}},
    "text": {"data": ["41.5"]},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("schema", [SCHEMA, DOUBLES], ids=["mixed", "numbers"])
def test_tensors_of_one_column_are_parsed_as_all_others(
    schema: InputSchema, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = tensors(schema, {feature.name: USUAL[feature.name] for feature in schema.features})
    inputs[0] = {**inputs[0], **CHANGES[change]}
    body = Body(json.dumps({"inputs": inputs}).encode())

    quick = outcome(protocol_v2.parse, body, schema)
    monkeypatch.setattr(protocol_v2, "_plain_columns", lambda inputs, schema: None)
    usual = outcome(protocol_v2.parse, body, schema)
    if isinstance(usual, protocol_v2.InferRequest):
        assert_same(quick.rows, usual.rows)
    else:
        assert quick == usual


def test_a_usual_request_takes_the_quick_way() -> None:
    for schema in (SCHEMA, DOUBLES):
        columns = {feature.name: USUAL[feature.name] for feature in schema.features}
        assert protocol_v2._plain_columns(tensors(schema, columns), schema) == columns
        assert signature_check._plain(schema, columns) is not None
