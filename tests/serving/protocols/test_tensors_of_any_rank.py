"""Models that take one tensor which is not a table: images, and single numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from airflow_provider_mlops.serving.log import prediction_log
from tests.helpers.serving import tensor_models
from tests.helpers.serving.grpc_client import GrpcClient, request, tensor
from tests.helpers.serving.live_gateway import LiveGateway, post
from tests.helpers.serving.tensor_models import GRAY, IMAGES, curve_model, gray_model, image_model


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    directory = tmp_path_factory.mktemp("tensors")
    tensor_models.register(directory, directory)
    process = LiveGateway.launch(directory, "--allow-pickle", "--grpc-port", "0")
    try:
        yield process.wait_until_ready()
    finally:
        process.kill()


def infer(gateway: LiveGateway, model: str, shape: list[int], data: Any, datatype: str = "FP64") -> httpx.Response:
    inputs = [{"name": "x", "datatype": datatype, "shape": shape, "data": data}]
    return post(f"{gateway.url}/v2/models/{model}/infer", {"inputs": inputs})


def probabilities(answer: httpx.Response) -> Any:
    output = answer.json()["outputs"][1]
    return np.array(output["data"]).reshape(output["shape"])


def test_metadata_describe_one_tensor(gateway: LiveGateway) -> None:
    for model, shape, datatype in (
        ("images", [-1, 4, 4, 2], "FP64"),
        ("gray", [-1, 3, 3], "INT32"),
        ("curve", [-1], "FP64"),
    ):
        (described,) = httpx.get(f"{gateway.url}/v2/models/{model}").json()["inputs"]
        assert (described["name"], described["shape"], described["datatype"]) == ("input", shape, datatype)


@pytest.mark.parametrize("rows", [1, 5, 60])
@pytest.mark.parametrize("form", ["nested", "flat"])
def test_images_in_json(gateway: LiveGateway, form: str, rows: int) -> None:
    images = IMAGES[:rows]
    data = images.tolist() if form == "nested" else images.ravel().tolist()
    answer = infer(gateway, "images", list(images.shape), data)
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(probabilities(answer), image_model().predict_proba(images), rtol=1e-9)
    own_id = answer.json()["parameters"]["prediction_id"]
    log = prediction_log.read(str(gateway.storage), "images").execute().set_index("prediction_id")
    logged = log.loc[own_id if rows == 1 else f"{own_id}-{rows - 1}"]
    assert [logged[f"feature_{place}"] for place in range(32)] == images[-1].ravel().tolist()


@pytest.mark.parametrize("form", ["inputs", "instances", "named inputs", "named instances"])
def test_images_in_mlflows_protocol(gateway: LiveGateway, form: str) -> None:
    images = IMAGES[:3].tolist()
    bodies: dict[str, Any] = {
        "inputs": {"inputs": images},
        "instances": {"instances": images},
        "named inputs": {"inputs": {"input": images}},
        "named instances": {"instances": [{"input": image} for image in images]},
    }
    answer = post(f"{gateway.url}/models/images/invocations", bodies[form])
    assert answer.json()["predictions"] == image_model().predict(IMAGES[:3]).tolist()


def test_images_in_binary_and_in_grpc(gateway: LiveGateway) -> None:
    images = IMAGES[:7].astype(np.float32)
    expected = image_model().predict_proba(images.astype(np.float64))
    with triton.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
        sent = triton.InferInput("x", list(images.shape), "FP32")
        sent.set_data_from_numpy(images)
        np.testing.assert_allclose(client.infer("images", [sent]).as_numpy("predict_proba"), expected, rtol=1e-9)
    client = GrpcClient(gateway.grpc_address)
    for asked in (
        request("images", tensor("x", "FP32", [7, 4, 4, 2], fp32_contents=images.ravel().tolist())),
        request("images", tensor("x", "FP32", [7, 4, 4, 2]), raw=(images.tobytes(),)),
    ):
        asked.parameters["binary_data_output"].bool_param = True
        response, _ = client.infer(asked)
        found = np.frombuffer(response.raw_output_contents[1], "<f8").reshape(7, 2)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    client.close()


def test_bytes_as_unsigned_integers(gateway: LiveGateway) -> None:
    answer = infer(gateway, "gray", [4, 3, 3], GRAY[:4].tolist(), "UINT8")
    np.testing.assert_allclose(probabilities(answer), gray_model().predict_proba(GRAY[:4]), rtol=1e-9)
    assert infer(gateway, "gray", [1, 3, 3], [256] + [0] * 8, "UINT8").status_code == 422


@pytest.mark.parametrize(
    "body", [{"inputs": [1.5, 30.0]}, {"instances": [1.5, 30.0]}, {"inputs": {"input": [1.5, 30.0]}}]
)
def test_single_numbers(gateway: LiveGateway, body: dict[str, Any]) -> None:
    expected = curve_model().predict([1.5, 30.0]).tolist()
    assert post(f"{gateway.url}/models/curve/invocations", body).json()["predictions"] == expected
    assert infer(gateway, "curve", [2], [1.5, 30.0]).json()["outputs"][0]["data"] == expected


def test_an_empty_batch_of_images(gateway: LiveGateway) -> None:
    answer = infer(gateway, "images", [0, 4, 4, 2], [])
    assert [output["shape"] for output in answer.json()["outputs"]] == [[0], [0, 2]]
    assert post(f"{gateway.url}/models/images/invocations", {"inputs": []}).json()["predictions"] == []


IMAGE = IMAGES[:1].tolist()
WRONG: dict[str, tuple[list[int], Any, int]] = {
    "flat rows": ([1, 32], IMAGES[0].ravel().tolist(), 422),
    "another order": ([1, 2, 4, 4], IMAGES[0].ravel().tolist(), 422),
    "one dimension fewer": ([4, 4, 2], IMAGE[0], 422),
    "one dimension more": ([1, 1, 4, 4, 2], [IMAGE], 422),
    "no rows but a size": ([0, 4, 4, 3], [], 422),
    "too few values": ([1, 4, 4, 2], [1.0] * 31, 400),
    "rows of other lengths": ([1, 4, 4, 2], [[[[1.0, 2.0]] * 4, [[1.0, 2.0]] * 3, *[[[1.0, 2.0]] * 4] * 2]], 400),
    "nested as another shape": ([1, 4, 4, 2], np.ones((1, 4, 2, 4)).tolist(), 400),
    "a list too deep": ([1, 4, 4, 2], np.ones((1, 4, 4, 2, 1)).tolist(), 422),
    "text": ([1, 4, 4, 2], [["a"] * 32], 400),
    "a product that wraps around": ([2**60, 4, 4, 2], [1.0], 400),
    "null": ([1, 4, 4, 2], [None] * 32, 422),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tensors_are_rejected(gateway: LiveGateway, case: str) -> None:
    shape, data, status = WRONG[case]
    answer = infer(gateway, "images", shape, data)
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True), answer.text


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"0": 1.0}]},
        {"dataframe_split": {"columns": ["0"], "data": [[1.0]]}},
        {"inputs": 5},
        {"inputs": {"a": IMAGE, "b": IMAGE}},
        {"instances": [IMAGE[0], [1.0]]},
        {"instances": IMAGE[0]},
    ],
)
def test_wrong_forms_are_rejected(gateway: LiveGateway, body: dict[str, Any]) -> None:
    answer = post(f"{gateway.url}/models/images/invocations", body)
    assert answer.status_code in (400, 422), answer.text
    assert json.loads(answer.content)["error"]


def test_csv_is_no_tensor(gateway: LiveGateway) -> None:
    answer = httpx.post(
        f"{gateway.url}/models/images/invocations", content="0\n1\n", headers={"Content-Type": "text/csv"}
    )
    assert (answer.status_code, "[-1, 4, 4, 2]" in answer.json()["error"]) == (422, True)
