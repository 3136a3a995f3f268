"""The extension of the Open Inference Protocol for binary tensors: in, out, and what does not fit."""

from __future__ import annotations

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from airflow_provider_mlops.serving.log import prediction_log
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, CUSTOMERS, cancer_model, churn_model

CUSTOMER = CUSTOMERS.iloc[1:4]


def texts(values: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def customer_tensors() -> list[tuple[dict[str, Any], bytes]]:
    return [
        ({"name": "age", "datatype": "FP32", "shape": [3]}, CUSTOMER["age"].to_numpy("<f4").tobytes()),
        ({"name": "income", "datatype": "FP64", "shape": [3, 1]}, CUSTOMER["income"].to_numpy("<f8").tobytes()),
        ({"name": "town", "datatype": "BYTES", "shape": [3]}, texts([town.encode() for town in CUSTOMER["town"]])),
        ({"name": "member", "datatype": "BOOL", "shape": [3]}, CUSTOMER["member"].to_numpy("u1").tobytes()),
    ]


def send(
    gateway: LiveGateway, model: str, tensors: list[tuple[dict[str, Any], bytes]], tail: bytes = b"", **more: Any
) -> httpx.Response:
    inputs = [{**tensor, "parameters": {"binary_data_size": len(data)}} for tensor, data in tensors]
    head = json.dumps({"inputs": inputs, **more}).encode()
    return httpx.post(
        f"{gateway.url}/v2/models/{model}/infer",
        content=head + b"".join(data for _, data in tensors) + tail,
        headers={"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"},
        timeout=10,
    )


def test_the_server_says_that_it_knows_binary_tensors(gateway: LiveGateway) -> None:
    assert "binary_tensor_data" in httpx.get(f"{gateway.url}/v2").json()["extensions"]


@pytest.mark.parametrize("datatype", ["FP64", "FP32"])
@pytest.mark.parametrize("rows", [1, 7, 400])
def test_a_matrix_in_and_probabilities_out(gateway: LiveGateway, datatype: str, rows: int) -> None:
    values = CANCER.head(rows).to_numpy("<f8" if datatype == "FP64" else "<f4")
    tensor = ({"name": "rows", "datatype": datatype, "shape": [rows, 30]}, values.tobytes())
    answer = send(gateway, "cancer", [tensor], parameters={"binary_data_output": True})
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    predict, probabilities = json.loads(answer.content[:length])["outputs"]
    sizes = [output["parameters"]["binary_data_size"] for output in (predict, probabilities)]
    assert sizes == [8 * rows, 16 * rows]
    assert len(answer.content) == length + sum(sizes)
    classes = np.frombuffer(answer.content, "<i8", rows, length)
    model = cancer_model(1.0)
    # The model takes numbers of 64 bits, whatever came.
    values = values.astype(np.float64)
    assert classes.tolist() == model.predict(values).tolist()
    found = np.frombuffer(answer.content, "<f8", 2 * rows, length + sizes[0]).reshape(rows, 2)
    np.testing.assert_allclose(found, model.predict_proba(values), rtol=1e-9)


def test_columns_of_every_kind_and_text_out(gateway: LiveGateway) -> None:
    outputs = [{"name": "predict", "parameters": {"binary_data": True}}, {"name": "predict_proba"}]
    answer = send(gateway, "churn", customer_tensors(), outputs=outputs)
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    content = json.loads(answer.content[:length])
    expected = churn_model().predict(CUSTOMER).tolist()
    assert answer.content[length:] == texts([label.encode() for label in expected])
    assert "parameters" in content["outputs"][1]
    assert len(content["outputs"][1]["data"]) == 6
    log = prediction_log.read(str(gateway.storage), "churn").execute().set_index("prediction_id")
    logged = log.loc[content["parameters"]["prediction_ids"]]
    assert logged["feature_town"].tolist() == CUSTOMER["town"].tolist()
    assert logged["feature_member"].tolist() == CUSTOMER["member"].tolist()
    np.testing.assert_allclose(logged["feature_income"], CUSTOMER["income"])


def test_missing_and_infinite_numbers(gateway: LiveGateway) -> None:
    tensors = customer_tensors()
    age = ({"name": "age", "datatype": "FP64", "shape": [3]}, np.array([np.nan, 1, 2]).tobytes())
    assert send(gateway, "churn", [age, *tensors[1:]]).status_code == 200
    for value in (np.inf, np.nan):
        income = ({"name": "income", "datatype": "FP64", "shape": [3]}, np.array([1, value, 2]).tobytes())
        answer = send(gateway, "churn", [tensors[0], income, *tensors[2:]])
        assert (answer.status_code, answer.json()["field"]) == (422, "income")
        values = CANCER.head(2).to_numpy().copy()
        values[1, 3] = value
        answer = send(gateway, "cancer", [({"name": "x", "datatype": "FP64", "shape": [2, 30]}, values.tobytes())])
        assert (answer.status_code, answer.json()["field"]) == (422, "mean area")


def replaced(place: int, values: bytes, /, **fields: Any) -> list[tuple[dict[str, Any], bytes]]:
    tensors = customer_tensors()
    tensors[place] = ({**tensors[place][0], **fields}, values)
    return tensors


WRONG: dict[str, tuple[list[tuple[dict[str, Any], bytes]], int, str]] = {
    "too few bytes": (replaced(0, b"\0" * 8), 400, "age"),
    "too many bytes": (replaced(0, b"\0" * 16), 400, "age"),
    "text that is cut off": (replaced(2, texts([b"Rome", b"Rome"]) + b"\5\0\0\0Ro"), 400, "town"),
    "a length that is cut off": (replaced(2, texts([b"Rome", b"Rome"]) + b"\5\0"), 400, "town"),
    "too few texts": (replaced(2, texts([b"Rome"])), 400, "town"),
    "text that is no UTF-8": (replaced(2, texts([b"Rome", b"\xff", b"Rome"])), 422, "town"),
    "neither true nor false": (replaced(3, b"\0\1\2"), 422, "member"),
    "another kind": (replaced(2, b"\0" * 24, datatype="FP64"), 422, "town"),
    "data besides": (replaced(0, b"\0" * 12, data=[1, 2, 3]), 400, "age"),
    "three dimensions": (replaced(0, b"\0" * 12, shape=[3, 1, 1]), 422, "age"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(gateway: LiveGateway, case: str) -> None:
    tensors, status, field = WRONG[case]
    answer = send(gateway, "churn", tensors)
    assert answer.status_code == status, answer.text
    assert answer.json()["field"] == field


def test_bytes_that_belong_to_no_tensor(gateway: LiveGateway) -> None:
    answer = send(gateway, "churn", customer_tensors(), tail=b"\0")
    assert (answer.status_code, answer.json()["field"]) == (400, "Inference-Header-Content-Length")


@pytest.mark.parametrize("size", [-1, 1.5, "12", True, None, 10**12])
def test_sizes_that_are_none(gateway: LiveGateway, size: Any) -> None:
    tensor = {"name": "age", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    url = f"{gateway.url}/v2/models/churn/infer"
    answer = httpx.post(url, content=head, headers={"Inference-Header-Content-Length": str(len(head))})
    assert (answer.status_code, answer.json()["field"]) == (400, "age")


@pytest.mark.parametrize("length", ["-1", "x", "", "1e3", "100000", "9" * 30])
def test_a_length_of_the_json_that_cannot_be(gateway: LiveGateway, length: str) -> None:
    url = f"{gateway.url}/v2/models/churn/infer"
    answer = httpx.post(url, content=b'{"inputs": []}', headers={"Inference-Header-Content-Length": length})
    assert (answer.status_code, answer.json()["field"]) == (400, "Inference-Header-Content-Length")


def test_binary_without_the_header_and_for_the_other_protocol(gateway: LiveGateway) -> None:
    tensor = {"name": "age", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": 12}}
    answer = httpx.post(f"{gateway.url}/v2/models/churn/infer", json={"inputs": [tensor]})
    assert (answer.status_code, answer.json()["field"]) == (400, "age")
    answer = httpx.post(
        f"{gateway.url}/models/churn/invocations", content=b"{}", headers={"Inference-Header-Content-Length": "2"}
    )
    assert answer.status_code == 400
