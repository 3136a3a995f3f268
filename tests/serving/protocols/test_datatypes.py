"""Numbers must be values of their datatype, whatever the type of their column."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from airflow_provider_mlops.serving.protocols import protocol_v2
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.datatypes import check_range
from airflow_provider_mlops.serving.protocols.grpc import infer
from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError
from tests.helpers.serving.grpc_client import request, tensor

ALLOWED: list[tuple[str, list[Any]]] = [
    ("INT8", [-128, 127]),
    ("UINT8", [0, 255]),
    ("INT16", [-(2**15), 2**15 - 1]),
    ("UINT16", [2**16 - 1]),
    ("INT32", [-(2**31)]),
    ("UINT32", [2**32 - 1]),
    ("INT64", [-(2**63), 2**63 - 1]),
    ("UINT64", [2**64 - 1]),
    ("INT32", [1.0, None]),
    ("FP16", [65504, -65519]),
    ("FP32", [3.4028235e38, -3.4028235e38, 0.1]),
    ("FP64", [1.7e308]),
    # What these are is up to the column.
    ("FP32", [math.nan, math.inf, "text", True, None]),
    ("INT8", ["text", True, None]),
]
REFUSED: list[tuple[str, list[Any]]] = [
    ("INT8", [300]),
    ("INT8", [0, -129]),
    ("UINT8", [-1]),
    ("UINT8", [None, 256]),
    ("UINT16", [65536]),
    ("INT32", [2**31]),
    ("UINT32", [-1]),
    ("INT64", [2**63]),
    ("UINT64", [2**64]),
    ("INT64", [1.5]),
    ("INT8", [1e30]),
    ("FP16", [65520]),
    ("FP32", [3.5e38]),
    ("FP32", [None, -3.5e38]),
    ("FP32", [10**400]),
]


@pytest.mark.parametrize(("datatype", "values"), ALLOWED)
def test_a_value_of_the_datatype(datatype: str, values: list[Any]) -> None:
    check_range("x", datatype, values)


@pytest.mark.parametrize(("datatype", "values"), REFUSED)
def test_a_value_that_the_datatype_cannot_hold(datatype: str, values: list[Any]) -> None:
    with pytest.raises(RequestError, match=f"{datatype} holds") as raised:
        check_range("x", datatype, values)
    assert (raised.value.status, raised.value.field) == (422, "x")


DOUBLES = InputSchema((Feature("x", "double", nullable=True), Feature("y", "double")))


def parse(x: dict[str, Any]) -> None:
    tensors = [{"name": "x", "shape": [len(x["data"])], **x}]
    tensors.append({"name": "y", "datatype": "FP64", "shape": [len(x["data"])], "data": [0.0] * len(x["data"])})
    protocol_v2.parse(Body(json.dumps({"inputs": tensors}).encode()), DOUBLES)


@pytest.mark.parametrize(("datatype", "values"), [pair for pair in REFUSED if pair[1] != [10**400]])
@pytest.mark.parametrize("nested", [False, True])
def test_a_request_with_such_a_value_is_refused(datatype: str, values: list[Any], nested: bool) -> None:
    tensor = {"datatype": datatype, "data": [[value] for value in values] if nested else values}
    if nested:
        tensor["shape"] = [len(values), 1]
    with pytest.raises(RequestError) as raised:
        parse(tensor)
    assert (raised.value.status, raised.value.field) == (422, "x")


@pytest.mark.parametrize("nested", [False, True])
def test_a_matrix_with_such_a_value_is_refused(nested: bool) -> None:
    data: list[Any] = [[1, 300]] if nested else [1, 300]
    body = {"inputs": [{"name": "m", "datatype": "INT8", "shape": [1, 2], "data": data}]}
    with pytest.raises(RequestError, match="INT8 holds"):
        protocol_v2.parse(Body(json.dumps(body).encode()), DOUBLES)


def test_bf16_has_no_json() -> None:
    with pytest.raises(RequestError, match="must be sent in binary"):
        parse({"datatype": "BF16", "data": [1.0]})


@pytest.mark.parametrize(("datatype", "value"), [("INT8", 128), ("INT16", -(2**15) - 1)])
def test_the_same_holds_in_grpc(datatype: str, value: int) -> None:
    with pytest.raises(RequestError, match=f"{datatype} holds"):
        infer.parse(request("m", tensor("m", datatype, [1, 2], int_contents=[0, value])), DOUBLES)
