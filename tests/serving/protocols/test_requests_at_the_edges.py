"""Requests that are nearly right: never a 500, never a hang, and the gateway goes on answering."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.protocols.tensors import DATATYPES
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, CUSTOMERS, churn_model

GOOD = json.loads(CUSTOMERS.iloc[1:3].to_json(orient="records"))
NAMES = list(GOOD[0])
FUZZ = settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
DIGITS = 4290
"""Python's parser takes whole numbers of up to 4300 digits."""


@pytest.fixture(autouse=True, scope="module")
def nothing_has_broken(gateway: LiveGateway) -> Iterator[None]:
    yield
    answer = httpx.post(f"{gateway.url}/models/churn/invocations", json={"dataframe_records": GOOD}, timeout=10)
    assert answer.json()["predictions"] == churn_model().predict(CUSTOMERS.iloc[1:3]).tolist()
    assert "Traceback" not in gateway.log.read_text()
    # All that was answered can be read back.
    assert prediction_log.read(str(gateway.storage), "churn").count().execute() > 0


def check(answer: httpx.Response, sent: Any) -> int:
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, (answer.text, sent)
    if answer.status_code != 200:
        content = answer.json()
        assert type(content["error"]) is str, (content, sent)
        assert type(content.get("field", "")) is str, (content, sent)
    return answer.status_code


class Written(str):
    """JSON as it is, for what Python's encoder cannot write."""


def written(value: Any) -> str:
    """JSON with all that Python's encoder leaves out; an object given as pairs may have a key twice."""
    if isinstance(value, Written):
        return value
    if isinstance(value, dict):
        value = tuple(value.items())
    if isinstance(value, tuple):
        return "{" + ",".join(f"{json.dumps(key)}:{written(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def nested(depth: int, opening: str, closing: str) -> Written:
    return Written(opening * depth + "0" + closing * depth)


EDGES: list[Any] = [
    *(float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, -0.0, 3.5e38),
    *(2**31 - 1, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**309, -(10**DIGITS)),
    *(Written("1e999"), Written("-1E-999"), Written("1.0000000000000000000000000000000001")),
    *("", "\0", "\ud800", "\udfff\ud800", "é" * 1001, "Rome ", "NaN", "1", "a\nb", "\U0010ffff"),
    *(None, True, False, [], [[]], [None], {}, {"": None}),
]
DEEP = st.builds(
    nested, st.sampled_from([3, 400, 900, *range(940, 1030, 6), 5000]), st.just("["), st.just("]")
) | st.builds(nested, st.sampled_from([400, *range(930, 1030, 6)]), st.just('{"a":'), st.just("}"))
CELL = st.sampled_from(EDGES) | DEEP


@st.composite
def tables(draw: st.DrawFn) -> list[list[Any]]:
    """Good rows, of which some cells, or some rows, are at an edge."""
    rows: list[Any] = [list(row.values()) for row in GOOD[: draw(st.integers(0, 2))]]
    for _ in range(draw(st.integers(0, 2))):
        if rows and isinstance(row := rows[draw(st.integers(0, len(rows) - 1))], list) and row:
            row[draw(st.integers(0, len(row) - 1))] = draw(CELL)
    if draw(st.integers(0, 5)) == 0:
        rows.append(draw(CELL | st.lists(CELL, max_size=5)))
    return rows


def pairs(row: Any) -> Any:
    return tuple(zip(NAMES, row, strict=False)) if isinstance(row, list) else row


@st.composite
def invocations(draw: st.DrawFn) -> str:
    rows = draw(tables())
    form = draw(st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs"]))
    if form == "dataframe_split":
        content: Any = {"columns": NAMES, "data": rows, "index": draw(CELL)}
    elif form == "inputs":
        full = [row for row in rows if isinstance(row, list)]
        content = tuple((name, [row[place] for row in full if place < len(row)]) for place, name in enumerate(NAMES))
    else:
        content = [pairs(row) for row in rows]
    more = draw(
        st.sampled_from([(), ((form, [1]),), (("params", {}),), (("params", [1]),), (("é", 1),), (("\ud800", 1),)])
    )
    return written(((form, content), *more))


TENSOR_OF = {"age": "FP64", "income": "FP64", "town": "BYTES", "member": "BOOL"}
SIZES = [0, 1, 2, 3, 30, 2**31, 2**63 - 1, 2**63, 2**64, 10**20, 10**DIGITS, -1, 1.0, 1.5, Written("1e999"), "2", True]
SHAPE = st.lists(st.sampled_from(SIZES), max_size=3) | CELL


@st.composite
def infer(draw: st.DrawFn) -> str:
    rows = draw(tables())
    full = [row for row in rows if isinstance(row, list) and len(row) == len(NAMES)]
    inputs: list[Any] = []
    for place, (name, datatype) in enumerate(TENSOR_OF.items()):
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [len(full)]}
        tensor["data"] = [row[place] for row in full]
        inputs.append(tensor)
    for _ in range(draw(st.integers(0, 1))):
        tensor = inputs[draw(st.integers(0, len(inputs) - 1))]
        key = draw(st.sampled_from(["name", "datatype", "shape", "data", "parameters"]))
        values = {"datatype": st.sampled_from(sorted(DATATYPES)) | CELL, "shape": SHAPE}
        tensor[key] = draw(values.get(key, CELL))
    if draw(st.integers(0, 5)) == 0:
        inputs = [draw(CELL), *inputs]
    more = {key: draw(CELL) for key in draw(st.lists(st.sampled_from(["id", "outputs", "parameters"]), max_size=1))}
    return written({"inputs": inputs, **more})


@st.composite
def labels(draw: st.DrawFn) -> str:
    def one() -> Any:
        identity = draw(st.just("0" * 32) | st.just("0" * 32 + "-1") | CELL)
        told = [(key, draw(CELL)) for key in draw(st.lists(st.sampled_from(["label", "reward"]), max_size=3))]
        return (("prediction_id", identity), *told)

    return written({"feedback": [one() for _ in range(draw(st.integers(0, 2)))]} if draw(st.booleans()) else one())


BODIES = {
    "/models/churn/invocations": invocations(),
    "/v2/models/churn/infer": infer(),
    "/feedback": labels(),
}


@pytest.mark.parametrize("path", BODIES)
def test_values_at_the_edges(gateway: LiveGateway, path: str) -> None:
    statuses: set[int] = set()
    with httpx.Client(base_url=gateway.url, timeout=10, headers={"Content-Type": "application/json"}) as client:

        @FUZZ
        @given(BODIES[path])
        def fuzz(body: str) -> None:
            statuses.add(check(client.post(path, content=body.encode()), body))

        fuzz()
    assert statuses == {200, 400, 422}


@st.composite
def binary(draw: st.DrawFn) -> tuple[str, bytes, str]:
    """Rows of `cancer` or `churn` with binary tensors, of which one number or a few bytes may be wrong."""
    rows = draw(st.integers(0, 3))
    if draw(st.booleans()):
        model, kind = "cancer", draw(st.sampled_from(["FP64", "FP32", "FP16", "INT64", "UINT8"]))
        types = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2", "INT64": "<i8", "UINT8": "<u1"}
        with np.errstate(over="ignore"):
            parts = [("rows", kind, [rows, 30], CANCER.head(rows).to_numpy().astype(types[kind]).tobytes())]
    else:
        model, frame = "churn", CUSTOMERS.iloc[1 : 1 + rows]
        texts = [town.encode() for town in frame["town"]]
        parts = [
            ("age", "FP32", [rows], frame["age"].to_numpy("<f4").tobytes()),
            ("income", "FP64", [rows, 1], frame["income"].to_numpy("<f8").tobytes()),
            ("town", "BYTES", [rows], b"".join(len(text).to_bytes(4, "little") + text for text in texts)),
            ("member", "BOOL", [rows], frame["member"].to_numpy("u1").tobytes()),
        ]
    inputs: list[dict[str, Any]] = [
        {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(data)}}
        for name, kind, shape, data in parts
    ]
    content = b"".join(data for *_, data in parts)
    wrong = draw(st.sampled_from(["nothing", "nothing", "shape", "size", "datatype", "cut", "bytes", "more"]))
    tensor = draw(st.sampled_from(inputs))
    if wrong == "shape":
        tensor["shape"] = draw(SHAPE)
    elif wrong == "size":
        tensor["parameters"]["binary_data_size"] = draw(st.sampled_from(SIZES) | CELL)
    elif wrong == "datatype":
        tensor["datatype"] = draw(st.sampled_from(sorted(DATATYPES)))
    elif wrong == "cut":
        content = content[: draw(st.integers(0, len(content)))]
    elif wrong == "bytes":
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.binary(max_size=8)) + content[place + 8 :]
    elif wrong == "more":
        content += draw(st.binary(min_size=1, max_size=9))
    asked = draw(st.sampled_from([{}, {"parameters": {"binary_data_output": True}}, {"outputs": ["predict"]}]))
    head = written({"inputs": inputs, **asked}).encode()
    length = str(len(head)) if draw(st.integers(0, 7)) else draw(st.sampled_from(["0", str(len(head) - 1), "9" * 15]))
    return f"/v2/models/{model}/infer", head + content, length


def test_binary_tensors_at_the_edges(gateway: LiveGateway) -> None:
    statuses: set[int] = set()
    with httpx.Client(base_url=gateway.url, timeout=10) as client:

        @FUZZ
        @given(binary())
        def fuzz(request: tuple[str, bytes, str]) -> None:
            path, body, length = request
            headers = {"Inference-Header-Content-Length": length, "Content-Type": "application/octet-stream"}
            statuses.add(check(client.post(path, content=body, headers=headers), request))

        fuzz()
    assert statuses == {200, 400, 422}


def shaped(*shape: Any, **more: Any) -> str:
    return written({"inputs": [{"name": "rows", "datatype": "FP64", "shape": list(shape), **more}]})


LISTS, OBJECTS = nested(1000, "[", "]"), nested(1000, '{"a":', "}")
NOT_A_NUMBER = [Written("NaN")]
"""Sends a body to Python's parser, where whole numbers have no end."""
FOUND = {
    "lists for a tensor": ("/v2/models/churn/infer", written({"inputs": [LISTS]}), 400, "inputs[0]"),
    "objects for a name": ("/v2/models/churn/infer", written({"inputs": [{"name": OBJECTS}]}), 400, "inputs[0].name"),
    "lists for a table": ("/models/churn/invocations", written({"dataframe_split": LISTS}), 400, "dataframe_split"),
    "lists for a cell": ("/models/churn/invocations", written({"instances": [{**GOOD[0], "age": LISTS}]}), 422, "age"),
    "a size too long to be written": (
        "/v2/models/cancer/infer",
        shaped(10 ** (DIGITS + 9), 30, data=NOT_A_NUMBER),
        422,
        "rows",
    ),
    "binary of a size too long to be written": (
        "/v2/models/cancer/infer",
        shaped(10**4000, 10**4000, parameters={"binary_data_size": 0, "not": NOT_A_NUMBER}),
        422,
        "rows",
    ),
    "binary of a size beyond 64 bits": (
        "/v2/models/cancer/infer",
        shaped(0, 10**20, parameters={"binary_data_size": 0}),
        422,
        "rows",
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_what_was_found(gateway: LiveGateway, case: str) -> None:
    """What once was a 500."""
    path, body, status, field = FOUND[case]
    headers = {"Inference-Header-Content-Length": str(len(body))} if "binary_data_size" in body else {}
    answer = httpx.post(gateway.url + path, content=body.encode(), headers=headers, timeout=10)
    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text[:500]


ROWS = json.dumps({"dataframe_records": GOOD}).encode()


def test_a_body_in_chunks_is_a_body(gateway: LiveGateway) -> None:
    due = churn_model().predict(CUSTOMERS.iloc[1:3]).tolist()
    with httpx.Client(base_url=gateway.url, timeout=10) as client:

        @settings(FUZZ, max_examples=60)
        @given(st.lists(st.integers(0, len(ROWS)), max_size=6))
        def fuzz(cuts: list[int]) -> None:
            places = [0, *sorted(cuts), len(ROWS)]
            chunks = (ROWS[begin:end] for begin, end in itertools.pairwise(places))
            assert client.post("/models/churn/invocations", content=chunks).json()["predictions"] == due

        fuzz()


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("coding", ["br", "zstd", "identity, gzip", "gzip, gzip", "x" * 5000])
def test_encodings_that_are_not_supported(gateway: LiveGateway, path: str, coding: str) -> None:
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    answer = httpx.post(gateway.url + path, content=gzip.compress(ROWS), headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["field"]) == (415, "Content-Encoding")
    assert answer.headers["accept-encoding"] == "gzip, deflate"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
NO_HTTP = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a negative length": b"POST /feedback HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
    "a length beyond 64 bits": b"POST /feedback HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 99 + b"\r\n\r\n{}",
    "two lengths": b"POST /feedback HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a length and chunks": b"POST /feedback HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "a chunk without a length": b"POST /feedback HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk that is too long": b"POST /feedback HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n1\r\n{}}}\r\n0\r\n\r\n",
    "a length that is too short": b"POST /feedback HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}{}{}{}",
    "an address that is none": b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header that is none": b"GET /v2 HTTP/1.1\r\nHost\0: x\r\n\r\n",
}


def connected(gateway: LiveGateway) -> socket.socket:
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


@pytest.mark.parametrize("case", NO_HTTP)
def test_what_is_no_http(gateway: LiveGateway, case: str) -> None:
    with connected(gateway) as connection:
        connection.sendall(NO_HTTP[case])
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.getheader("content-type")) == (400, "application/json")
        assert json.loads(answer.read())["error"]
        assert connection.recv(1) == b""


@pytest.mark.parametrize("path", BODIES)
def test_a_client_that_goes_before_all_is_said(gateway: LiveGateway, path: str) -> None:
    for sent in (0, 1, 60, 120):
        with connected(gateway) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ROWS) + 9}\r\n\r\n".encode()
            connection.sendall((head + ROWS)[: sent or None])
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(10_000):
                pass
