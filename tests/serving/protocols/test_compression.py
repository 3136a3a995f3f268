"""Compressed bodies: in requests, in responses, and those that are damaged or too large."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib

import httpx
import pytest

from airflow_provider_mlops.serving.protocols import compression
from airflow_provider_mlops.serving.rows.request_error import RequestError
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, CUSTOMERS, cancer_model

LIMIT = 300_000
ROWS = CANCER.to_numpy().tolist()
BODY = json.dumps({"instances": ROWS}).encode()
CODINGS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "GZIP": gzip.compress, "deflate": zlib.compress}


def send(gateway: LiveGateway, path: str, content: bytes, coding: str = "gzip", **headers: str) -> httpx.Response:
    headers = {"Content-Encoding": coding, "Content-Type": "application/json", **headers}
    return httpx.post(gateway.url + path, content=content, headers=headers, timeout=30)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("rows", [1, 400])
def test_a_compressed_request_gets_the_same_answer(gateway: LiveGateway, coding: str, rows: int) -> None:
    body = json.dumps({"instances": ROWS[:rows]}).encode()
    answer = send(gateway, "/models/cancer/invocations", CODINGS[coding](body), coding)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == cancer_model(1.0).predict(CANCER.head(rows)).tolist()


def test_compressed_labels(gateway: LiveGateway) -> None:
    labels = {"feedback": [{"prediction_id": f"{place:032x}", "label": "yes"} for place in range(2000)]}
    answer = send(gateway, "/feedback", gzip.compress(json.dumps(labels).encode()))
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2000})


def test_compressed_csv(gateway: LiveGateway) -> None:
    content = gzip.compress(CUSTOMERS.head(3).to_csv(index=False).encode())
    answer = send(gateway, "/models/churn/invocations", content, **{"Content-Type": "text/csv"})
    assert len(answer.json()["predictions"]) == 3


WHOLE = gzip.compress(BODY)
DAMAGED = {
    "cut off": (WHOLE[: len(WHOLE) // 2], 400),
    "without its checksum": (WHOLE[:-8], 400),
    "one byte short": (WHOLE[:-1], 400),
    "a wrong checksum": (WHOLE[:-8] + b"\0" * 8, 400),
    "a changed byte": (WHOLE[:2000] + bytes([WHOLE[2000] ^ 255]) + WHOLE[2001:], 400),
    "not compressed": (BODY[:1000], 400),
    "something after it": (gzip.compress(b'{"instances": []}') + b"more", 400),
    "nothing but the header": (WHOLE[:10], 400),
    "a small one that grows": (gzip.compress(b" " * 50_000_000), 413),
    "one that grows by parts": (gzip.compress(b" " * 10_000) * 100, 413),
    "one byte too large": (gzip.compress(b" " * (LIMIT + 1)), 413),
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize("path", ["/models/cancer/invocations", "/v2/models/cancer/infer", "/feedback"])
def test_a_damaged_or_large_body_is_rejected(gateway: LiveGateway, path: str, case: str) -> None:
    content, status = DAMAGED[case]
    answer = send(gateway, path, content)
    assert answer.status_code == status, answer.text
    assert httpx.get(f"{gateway.url}/v2/health/live").status_code == 200


def test_parts_are_joined_and_an_empty_body_is_no_json(gateway: LiveGateway) -> None:
    body = json.dumps({"instances": ROWS[:2]}).encode()
    parts = gzip.compress(body[:100]) + gzip.compress(body[100:])
    assert len(send(gateway, "/models/cancer/invocations", parts).json()["predictions"]) == 2
    assert send(gateway, "/models/cancer/invocations", b"").status_code == 400


@pytest.mark.parametrize("size", [0, 1, compression._INLINE_BYTES, 100_000, LIMIT])
@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_every_size_comes_back(size: int, compress: object) -> None:
    content = random.Random(size).randbytes(size)
    assert asyncio.run(compression.decompressed(compress(content), LIMIT)) == content  # type: ignore[operator]


def test_no_more_than_the_limit_is_decompressed() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000)
    with pytest.raises(RequestError) as raised:
        asyncio.run(compression.decompressed(bomb, LIMIT))
    assert raised.value.status == 413


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        *(("gzip", "gzip"), ("deflate", "deflate"), ("br, gzip;q=0.5", "gzip"), ("*", "gzip"), ("identity", None)),
        *(("gzip;q=0", None), ("gzip;q=nonsense", None), ("", None), ("gzip;q=0, *", "deflate")),
    ],
)
def test_a_large_answer_is_compressed_if_the_caller_accepts_it(
    gateway: LiveGateway, accepted: str, encoding: str | None
) -> None:
    expected = cancer_model(1.0).predict(CANCER.head(450)).tolist()
    with httpx.Client(headers={"Accept-Encoding": accepted}, timeout=30) as client:
        answer = client.post(f"{gateway.url}/models/cancer/invocations", json={"instances": ROWS[:450]})
        small = client.post(f"{gateway.url}/models/cancer/invocations", json={"instances": ROWS[:1]})
    assert answer.json()["predictions"] == expected
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "accept-encoding"
    assert "content-encoding" not in small.headers


def test_other_large_answers_are_compressed_too(gateway: LiveGateway) -> None:
    answer = httpx.get(f"{gateway.url}/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["openapi"] == "3.1.0"
