"""Bad input: the right status, the field named, never a 500, never a hang."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.serving.log import prediction_log
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, CUSTOMERS

ROW = {"age": 40.0, "income": 30_000.0, "town": "Rome", "member": True}
CELLS = {"age": "FP64", "income": "FP64", "town": "BYTES", "member": "BOOL"}


def tensors(**changed: Any) -> list[dict[str, Any]]:
    """A good request for `churn`, with some tensors changed or, where None, left out."""
    good = {name: {"name": name, "shape": [1], "datatype": kind, "data": [ROW[name]]} for name, kind in CELLS.items()}
    return [
        {**good.get(name, {}), **changed.get(name, {})}
        for name in {**good, **changed}
        if changed.get(name, {}) is not None
    ]


def v2(**changed: Any) -> dict[str, Any]:
    return {"inputs": tensors(**changed)}


def record(**changed: Any) -> dict[str, Any]:
    return {"dataframe_records": [{name: value for name, value in {**ROW, **changed}.items() if value != "left out"}]}


V2: dict[str, tuple[Any, int, str | None]] = {
    "not an object": ([1, 2], 400, None),
    "a number": (7, 400, None),
    "no inputs": ({}, 400, "inputs"),
    "inputs not a list": ({"inputs": {"a": 1}}, 400, "inputs"),
    "empty inputs": ({"inputs": []}, 400, "inputs"),
    "tensor not an object": ({"inputs": [3]}, 400, "inputs[0]"),
    "tensor without name": ({"inputs": [{"shape": [1], "datatype": "FP64", "data": [1]}]}, 400, "inputs[0].name"),
    "unknown datatype": (v2(age={"datatype": "FP128"}), 400, "age"),
    "datatype not text": (v2(age={"datatype": ["FP64"]}), 400, "age"),
    "shape not a list": (v2(age={"shape": 1}), 400, "age"),
    "negative shape": (v2(age={"shape": [-1]}), 400, "age"),
    "shape of booleans": (v2(age={"shape": [True]}), 400, "age"),
    "huge shape": (v2(age={"shape": [10**30, 10**30]}), 422, "age"),
    "three dimensions": (v2(age={"shape": [1, 1, 1]}), 422, "age"),
    "data not a list": (v2(age={"data": "40"}), 400, "age"),
    "too little data": (v2(age={"data": []}), 400, "age"),
    "too much data": (v2(age={"data": [1, 2]}), 400, "age"),
    "ragged data": (v2(age={"shape": [2, 1], "data": [[1], [2, 3]]}), 400, "age"),
    "data nested twice": (v2(age={"shape": [1, 1], "data": [[[1]]]}), 422, "age"),
    "unknown column": (v2(height={"name": "height", "shape": [1], "datatype": "FP64", "data": [1]}), 422, "height"),
    "missing column": (v2(income=None), 422, "income"),
    "column twice": ({"inputs": tensors() + tensors()[:1]}, 422, "age"),
    "different lengths": (v2(age={"shape": [2], "data": [1, 2]}), 422, "income"),
    "no columns and no rows": ({"inputs": [{"name": "x", "shape": [0], "datatype": "FP64", "data": []}]}, 422, "x"),
    "an integer beyond INT8": (v2(age={"datatype": "INT8", "data": [300]}), 422, "age"),
    "a negative UINT8": (v2(age={"datatype": "UINT8", "data": [-1]}), 422, "age"),
    "a fraction as INT64": (v2(age={"datatype": "INT64", "data": [1.5]}), 422, "age"),
    "a number beyond FP32": (v2(age={"datatype": "FP32", "data": [3.5e38]}), 422, "age"),
    "a number beyond FP16": (v2(age={"datatype": "FP16", "data": [70_000]}), 422, "age"),
    "BF16 in JSON": (v2(age={"datatype": "BF16", "data": [1.0]}), 422, "age"),
    "a product beyond 64 bits": (v2(age={"shape": [2**32, 2**32], "data": [1]}), 422, "age"),
    "a product of many digits": (v2(age={"shape": [2**62] * 1000, "data": [1]}), 422, "age"),
    "text for a number": (v2(age={"data": ["old"]}), 422, "age"),
    "true for a number": (v2(age={"data": [True]}), 422, "age"),
    "an object for a number": (v2(age={"data": [{}]}), 422, "age"),
    "number for text": (v2(town={"data": [5]}), 422, "town"),
    "number for a boolean": (v2(member={"data": [1]}), 422, "member"),
    "datatype of another kind": (v2(town={"datatype": "FP64"}), 422, "town"),
    "half a surrogate pair": (v2(town={"data": ["\ud800"]}), 422, "town"),
    "null where not allowed": (v2(income={"data": [None]}), 422, "income"),
    "null boolean": (v2(member={"data": [None]}), 422, "member"),
    "infinity": (v2(age={"data": [float("inf")]}), 422, "age"),
    "beyond all floats": (v2(age={"data": [10**400]}), 422, "age"),
    "category that the model refuses": (v2(town={"data": ["Paris"]}), 422, None),
    "matrix for text": (
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}]},
        422,
        "town",
    ),
    "id not text": ({"id": 5, "inputs": tensors()}, 400, "id"),
    "unknown output": ({"inputs": tensors(), "outputs": [{"name": "explain"}]}, 400, "outputs"),
    "outputs not a list": ({"inputs": tensors(), "outputs": "predict"}, 400, "outputs"),
    "output name not text": ({"inputs": tensors(), "outputs": [{"name": ["predict"]}]}, 400, "outputs"),
}

INVOCATIONS: dict[str, tuple[Any, int, str | None]] = {
    "not an object": ("x", 400, None),
    "none of the forms": ({}, 400, None),
    "two forms": ({"instances": [ROW], "dataframe_records": [ROW]}, 400, None),
    "unknown key": ({"dataframe": [ROW]}, 400, "dataframe"),
    "params": ({"instances": [ROW], "params": {"temperature": 1}}, 400, "params"),
    "split not an object": ({"dataframe_split": []}, 400, "dataframe_split"),
    "split without columns": ({"dataframe_split": {"data": [[1]]}}, 400, "columns"),
    "split with an invalid name": ({"dataframe_split": {"columns": [2**70, "b"], "data": []}}, 422, "columns"),
    "split without data": ({"dataframe_split": {"columns": list(ROW)}}, 400, "data"),
    "split with an unknown key": ({"dataframe_split": {"columns": list(ROW), "data": [], "dtype": 1}}, 400, "dtype"),
    "split without rows and with an unknown column": (
        {"dataframe_split": {"columns": [*ROW, "height"], "data": []}},
        422,
        "height",
    ),
    "split with a short row": ({"dataframe_split": {"columns": list(ROW), "data": [[1, 2]]}}, 422, "row 0"),
    "split with an invalid row": ({"dataframe_split": {"columns": list(ROW), "data": [5]}}, 422, "row 0"),
    "split with a column twice": ({"dataframe_split": {"columns": [*ROW, "age"], "data": []}}, 422, "age"),
    "records not a list": ({"dataframe_records": ROW}, 400, "dataframe_records"),
    "record not an object": ({"dataframe_records": [5]}, 422, "row 0"),
    "unknown column": (record(height=1.8), 422, "height"),
    "missing column": (record(town="left out"), 422, "town"),
    "column missing in one record": ({"instances": [ROW, {"age": 1.0}]}, 422, "income"),
    "wrong type": (record(income="much"), 422, "income"),
    "NaN where not allowed": (record(income=float("nan")), 422, "income"),
    "rows without names": ({"instances": [[1, 2, 3, 4]]}, 422, "instances"),
    "inputs of a number": ({"inputs": 5}, 422, "inputs"),
    "one value without the others": ({"inputs": {"age": 5}}, 422, "income"),
    "a value next to lists": ({"inputs": {**{name: [cell] for name, cell in ROW.items()}, "age": 5.0}}, 400, "age"),
    "instances of numbers": ({"instances": [1, 2]}, 422, "row 0"),
    "inputs of different lengths": (
        {"inputs": {"age": [1.0], "income": [], "town": ["Rome"], "member": [True]}},
        422,
        "income",
    ),
}


def send(url: str, content: Any, **options: Any) -> httpx.Response:
    # Not httpx's own encoder, which refuses NaN: a bad client sends it.
    return httpx.post(
        url, content=json.dumps(content), headers={"Content-Type": "application/json"}, timeout=10, **options
    )


def check(answer: httpx.Response, status: int, field: str | None) -> None:
    assert answer.status_code == status, answer.text
    content = answer.json()
    assert content["error"]
    assert content.get("field") == field, content


@pytest.mark.parametrize("case", V2)
def test_v2(gateway: LiveGateway, case: str) -> None:
    content, status, field = V2[case]
    check(send(f"{gateway.url}/v2/models/churn/infer", content), status, field)


@pytest.mark.parametrize("case", INVOCATIONS)
def test_invocations(gateway: LiveGateway, case: str) -> None:
    content, status, field = INVOCATIONS[case]
    check(send(f"{gateway.url}/models/churn/invocations", content), status, field)


def test_the_good_request_that_the_bad_ones_are_made_of(gateway: LiveGateway) -> None:
    assert send(f"{gateway.url}/v2/models/churn/infer", v2()).status_code == 200
    assert send(f"{gateway.url}/models/churn/invocations", record()).status_code == 200
    assert send(f"{gateway.url}/models/churn/invocations", record(age=None)).status_code == 200
    assert send(f"{gateway.url}/models/churn/invocations", record(age=float("nan"))).status_code == 200


def test_a_matrix_of_the_wrong_width_or_type(gateway: LiveGateway) -> None:
    values = CANCER.iloc[0].tolist()
    url = f"{gateway.url}/v2/models/cancer/infer"
    tensor = {"name": "rows", "shape": [1, 29], "datatype": "FP64", "data": values[:29]}
    check(send(url, {"inputs": [tensor]}), 422, "rows")
    tensor = {"name": "rows", "shape": [1, 30], "datatype": "FP64", "data": [*values[:29], "x"]}
    check(send(url, {"inputs": [tensor]}), 422, "worst fractal dimension")
    tensor = {"name": "rows", "shape": [1, 30], "datatype": "FP64", "data": [None, *values[1:]]}
    check(send(url, {"inputs": [tensor]}), 422, "mean radius")
    tensor = {"name": "rows", "shape": [1, 30], "datatype": "BYTES", "data": ["x"] * 30}
    check(send(url, {"inputs": [tensor]}), 422, "rows")
    # The estimator's own arithmetic overflows: it says so, and it is the rows that are at fault.
    check(
        send(
            f"{gateway.url}/v2/models/price/infer",
            {"inputs": [{"name": "rows", "shape": [1, 2], "datatype": "FP64", "data": [1e300, 1.0]}]},
        ),
        422,
        None,
    )


BODIES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "cut off": (b'{"inputs": [', 400),
    "not UTF-8": (b'{"inputs": "\xff\xfe"}', 400),
    "nested too deeply": (b"[" * 100_000, 400),
    "objects nested too deeply": (b'{"a":' * 50_000, 400),
    "a number of 10,000 digits": (b'{"inputs": ' + b"9" * 10_000 + b"}", 400),
    "two documents": (b"{}{}", 400),
    "larger than allowed": (b'{"inputs": "' + b"x" * 300_000 + b'"}', 413),
}


@pytest.mark.parametrize("path", ["/v2/models/churn/infer", "/models/churn/invocations", "/feedback"])
@pytest.mark.parametrize("case", BODIES)
def test_bodies_that_are_no_json(gateway: LiveGateway, case: str, path: str) -> None:
    body, status = BODIES[case]
    answer = httpx.post(gateway.url + path, content=body, headers={"Content-Type": "application/json"}, timeout=10)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]


def test_a_large_body_without_a_length_is_cut_off(gateway: LiveGateway) -> None:
    answer = httpx.post(
        f"{gateway.url}/models/churn/invocations", content=(b" " * 50_000 for _ in range(20)), timeout=10
    )
    assert answer.status_code == 413


def test_other_content_types(gateway: LiveGateway) -> None:
    url = f"{gateway.url}/models/churn/invocations"
    for kind in ("text/plain", "application/vnd.apache.parquet", "text/csvx"):
        check(httpx.post(url, content=b"{}", headers={"Content-Type": kind}), 415, "Content-Type")
    for charset in ("latin-1", "utf-16", '"UTF-7"'):
        kind = f"application/json; charset={charset}"
        check(httpx.post(url, content=b"{}", headers={"Content-Type": kind}), 415, "Content-Type")
    good = {"Content-Type": 'application/json; charset="UTF-8"'}
    assert httpx.post(url, content=json.dumps(record()), headers=good).status_code == 200
    csv = {"Content-Type": "text/csv"}
    check(httpx.post(f"{gateway.url}/v2/models/churn/infer", content=b"age\n1", headers=csv), 415, "Content-Type")
    check(httpx.post(f"{gateway.url}/feedback", content=b"age\n1", headers=csv), 415, "Content-Type")
    assert httpx.post(url, content=json.dumps(record()), headers={"Content-Type": ""}).status_code in (200, 415)


def test_unknown_paths_methods_models_and_versions(gateway: LiveGateway) -> None:
    check(httpx.get(f"{gateway.url}/v3"), 404, None)
    check(httpx.get(f"{gateway.url}/feedback"), 405, None)
    check(send(f"{gateway.url}/v2/models/nobody/infer", v2()), 404, "name")
    check(httpx.get(f"{gateway.url}/v2/models/nobody"), 404, "name")
    check(send(f"{gateway.url}/v2/models/churn/versions/99/infer", v2()), 404, "version")
    check(send(f"{gateway.url}/v2/models/churn/versions/first/infer", v2()), 404, "version")
    check(send(f"{gateway.url}/v2/models/churn/versions/\u0661/infer", v2()), 404, "version")


FEEDBACK: dict[str, tuple[Any, int, str | None]] = {
    "not an object": ([], 400, None),
    "no id": ({"label": 1}, 400, "prediction_id"),
    "no label": ({"prediction_id": "0" * 32}, 400, "label"),
    "unknown key": ({"prediction_id": "0" * 32, "label": 1, "weight": 2}, 400, "weight"),
    "id of another form": ({"prediction_id": "order-17", "label": 1}, 422, "prediction_id"),
    "id in capitals": ({"prediction_id": "A" * 32, "label": 1}, 422, "prediction_id"),
    "id not text": ({"prediction_id": 17, "label": 1}, 422, "prediction_id"),
    "id with a line after it": ({"prediction_id": "0" * 32 + "\n", "label": 1}, 422, "prediction_id"),
    "label null": ({"prediction_id": "0" * 32, "label": None}, 422, "label"),
    "label a list": ({"prediction_id": "0" * 32, "label": [1]}, 422, "label"),
    "label infinite": ({"prediction_id": "0" * 32, "label": float("inf")}, 422, "label"),
    "label too long": ({"prediction_id": "0" * 32, "label": "x" * 10_001}, 422, "label"),
    "label not Unicode": ({"prediction_id": "0" * 32, "label": "\udfff"}, 422, "label"),
    "empty list": ({"feedback": []}, 400, "feedback"),
    "list and a label": ({"feedback": [{}], "label": 1}, 400, "feedback"),
    "one bad of two": (
        {"feedback": [{"prediction_id": "0" * 32, "label": 1}, {"prediction_id": "x", "label": 1}]},
        422,
        "prediction_id",
    ),
}


@pytest.mark.parametrize("case", FEEDBACK)
def test_feedback(gateway: LiveGateway, case: str) -> None:
    content, status, field = FEEDBACK[case]
    check(send(f"{gateway.url}/feedback", content), status, field)


def test_a_body_that_does_not_come_keeps_nobody_else_waiting(gateway: LiveGateway) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /feedback HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        assert send(f"{gateway.url}/models/churn/invocations", record()).status_code == 200
        assert time.monotonic() - began < 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([*CELLS, "height"]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "datatype": st.sampled_from(["FP64", "INT64", "BYTES", "BOOL"]) | JSON,
        "data": st.lists(JSON, max_size=3) | JSON,
    },
)
NEARLY_V2 = st.fixed_dictionaries(
    {"inputs": st.builds(lambda good, wild: good + wild, st.just(tensors()), st.lists(TENSOR, max_size=2)) | JSON},
    optional={"id": JSON, "outputs": JSON, "parameters": JSON},
)
ONE_CELL_CHANGED = st.builds(
    lambda name, key, value: v2(**{name: {key: value}}),
    st.sampled_from(list(CELLS)),
    st.sampled_from(["name", "shape", "datatype", "data"]),
    JSON | st.lists(JSON, min_size=1, max_size=1),
)
CELL = st.sampled_from(list(ROW.values())) | JSON
# Mostly good, so that a part of the requests is answered and their values reach the model and the log.
CELL_OF = {name: st.just(value) | st.just(value) | st.just(value) | CELL for name, value in ROW.items()}
NEARLY_INVOCATION = st.one_of(
    st.fixed_dictionaries({"dataframe_records": st.lists(st.fixed_dictionaries(dict.fromkeys(ROW, CELL)), max_size=2)}),
    st.fixed_dictionaries({"instances": JSON}),
    st.fixed_dictionaries(
        {
            "inputs": st.fixed_dictionaries(
                {name: st.lists(cell, min_size=1, max_size=1) | JSON for name, cell in CELL_OF.items()}
            )
        }
    ),
    st.builds(
        lambda columns, data: {"dataframe_split": {"columns": columns, "data": data}},
        st.just(list(ROW)) | st.lists(st.sampled_from(list(ROW)), max_size=5) | JSON,
        st.lists(st.lists(CELL, min_size=4, max_size=4), max_size=2) | JSON,
    ),
)
NEARLY_FEEDBACK = st.fixed_dictionaries(
    {}, optional={"prediction_id": st.just("0" * 32) | JSON, "label": JSON, "feedback": JSON}
)
FUZZ: dict[str, st.SearchStrategy[bytes]] = {
    "/v2/models/churn/infer": st.one_of(NEARLY_V2, ONE_CELL_CHANGED, JSON).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60),
    "/models/churn/invocations": (NEARLY_INVOCATION | JSON).map(lambda value: json.dumps(value).encode()),
    "/feedback": (NEARLY_FEEDBACK | JSON).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60),
}


@pytest.mark.parametrize("path", FUZZ)
def test_no_body_makes_a_500_or_a_hang(gateway: LiveGateway, path: str) -> None:
    answered: list[str] = []

    with httpx.Client(base_url=gateway.url, timeout=10, headers={"Content-Type": "application/json"}) as client:

        @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(FUZZ[path])
        def fuzz(body: bytes) -> None:
            answer = client.post(path, content=body)
            assert answer.status_code == 200 or 400 <= answer.status_code < 500, (answer.status_code, answer.text, body)
            content = answer.json()
            if answer.status_code != 200:
                assert type(content["error"]) is str
            elif "x-prediction-id" in answer.headers:
                answered.append(answer.headers["x-prediction-id"])

        fuzz()
        assert client.get("/v2/health/live").status_code == 200
    assert answered or path == "/feedback"
    # Whatever was answered can also be read back: no odd value got past the check and into the log.
    logged = prediction_log.read(str(gateway.storage), "churn").prediction_id.execute()
    requests = {name.partition("-")[0] for name in logged}
    assert set(answered) <= requests


def test_missing_columns_of_the_example_are_what_the_metadata_says(gateway: LiveGateway) -> None:
    """Every column that the metadata calls nullable takes null, and no other does."""
    inputs = httpx.get(f"{gateway.url}/v2/models/churn").json()["inputs"]
    assert [entry["name"] for entry in inputs] == list(CUSTOMERS.columns)
    for entry in inputs:
        answer = send(f"{gateway.url}/v2/models/churn/infer", v2(**{entry["name"]: {"data": [None]}}))
        assert (answer.status_code == 200) == entry["parameters"]["nullable"]
