"""The gRPC port of a running gateway: what it answers, what it rejects, and that nothing else differs from HTTP."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from airflow_provider_mlops.serving.gateway.access import local_key
from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.protocols.grpc import open_inference as messages
from tests.helpers.serving import served_registry
from tests.helpers.serving.grpc_client import GrpcClient, request, tensor
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, CUSTOMERS, cancer_model, churn_model

CODES = grpc.StatusCode


@pytest.fixture(scope="module")
def gateway(served_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """A gateway with a gRPC port."""
    directory = tmp_path_factory.mktemp("gateway")
    served_registry.copy_to(served_models, directory)
    process = LiveGateway.launch(directory, "--max-body-bytes", "300000", "--grpc-port", "0")
    try:
        yield process.wait_until_ready()
    finally:
        process.kill()


@pytest.fixture(scope="module")
def client(gateway: LiveGateway) -> Iterator[GrpcClient]:
    client = GrpcClient(gateway.grpc_address)
    yield client
    client.close()


def matrix(rows: int) -> Any:
    values = CANCER.head(rows).to_numpy()
    return tensor("rows", "FP64", [rows, 30], fp64_contents=values.ravel().tolist())


def customer_tensors() -> list[Any]:
    rows = CUSTOMERS.iloc[1:4]
    return [
        tensor("age", "FP32", [3], fp32_contents=rows["age"].tolist()),
        tensor("income", "FP64", [3, 1], fp64_contents=rows["income"].tolist()),
        tensor("town", "BYTES", [3], bytes_contents=[town.encode() for town in rows["town"]]),
        tensor("member", "BOOL", [3], bool_contents=rows["member"].tolist()),
    ]


def raw_customers() -> tuple[list[Any], tuple[bytes, ...]]:
    rows = CUSTOMERS.iloc[1:4]
    texts = b"".join(struct.pack("<I", len(town)) + town.encode() for town in rows["town"])
    tensors = [
        tensor("age", "FP32", [3]),
        tensor("income", "FP64", [3, 1]),
        tensor("town", "BYTES", [3]),
        tensor("member", "BOOL", [3]),
    ]
    numbers = rows["age"].to_numpy("<f4").tobytes(), rows["income"].to_numpy("<f8").tobytes()
    return tensors, (*numbers, texts, rows["member"].to_numpy("u1").tobytes())


def refused(client: GrpcClient, method: str, content: Any, **options: Any) -> grpc.RpcError:
    sent = content if isinstance(content, bytes) else content.SerializeToString()
    with pytest.raises(grpc.RpcError) as raised:
        client.call(method, sent, **options)
    return raised.value


def test_health_and_metadata(client: GrpcClient) -> None:
    assert client.ask("ServerLive").live
    assert client.ask("ServerReady").ready
    assert client.ask("ModelReady", messages.ModelReadyRequest(name="churn")).ready
    assert client.ask("ModelReady", messages.ModelReadyRequest(name="cancer", version="1")).ready
    assert not client.ask("ModelReady", messages.ModelReadyRequest(name="cancer", version="99")).ready
    assert not client.ask("ModelReady", messages.ModelReadyRequest(name="unknown")).ready
    server = client.ask("ServerMetadata")
    assert (server.name, list(server.extensions)) == (
        "airflow-provider-mlops",
        ["binary_tensor_data", "model_repository", "statistics"],
    )
    model = client.ask("ModelMetadata", messages.ModelMetadataRequest(name="churn"))
    assert [(entry.name, entry.datatype, list(entry.shape)) for entry in model.inputs] == [
        ("age", "FP64", [-1]),
        ("income", "FP64", [-1]),
        ("town", "BYTES", [-1]),
        ("member", "BOOL", [-1]),
    ]
    assert [(entry.name, list(entry.shape)) for entry in model.outputs] == [
        ("predict", [-1]),
        ("predict_proba", [-1, 2]),
    ]


@pytest.mark.parametrize("rows", [1, 7, 400])
def test_typed_contents_in_and_out(gateway: LiveGateway, client: GrpcClient, rows: int) -> None:
    response, metadata = client.infer(request("cancer", matrix(rows), id="mine"))
    model = cancer_model(1.0)
    predict, probabilities = response.outputs
    assert (response.model_name, response.model_version, response.id) == ("cancer", "1", "mine")
    assert list(predict.contents.int64_contents) == model.predict(CANCER.head(rows)).tolist()
    assert list(probabilities.shape) == [rows, 2]
    found = np.array(probabilities.contents.fp64_contents).reshape(rows, 2)
    np.testing.assert_allclose(found, model.predict_proba(CANCER.head(rows)), rtol=1e-9)
    assert json.loads(probabilities.parameters["classes"].string_param) == ["0", "1"]
    assert metadata["x-model-version"] == "1"
    own_id = metadata["x-prediction-id"]
    assert response.parameters["prediction_id"].string_param == own_id
    ids = response.parameters["prediction_ids"].string_param.split(",") if rows > 1 else [own_id]
    assert len(set(ids)) == rows
    log = prediction_log.read(str(gateway.storage), "cancer").execute().set_index("prediction_id")
    assert log.loc[ids, "arm"].unique().tolist() == ["champion"]
    np.testing.assert_allclose(log.loc[ids, "feature_mean radius"], CANCER["mean radius"].head(rows))


@pytest.mark.parametrize("way", ["typed", "raw"])
def test_columns_of_every_kind(client: GrpcClient, way: str) -> None:
    tensors, raw = (customer_tensors(), ()) if way == "typed" else raw_customers()
    response, _ = client.infer(request("churn", *tensors, raw=raw))
    expected = churn_model().predict(CUSTOMERS.iloc[1:4]).tolist()
    if way == "typed":
        assert [value.decode() for value in response.outputs[0].contents.bytes_contents] == expected
        assert not response.raw_output_contents
    else:
        assert response.raw_output_contents[0] == b"".join(
            struct.pack("<I", len(label)) + label.encode() for label in expected
        )
        assert len(response.raw_output_contents[1]) == 3 * 2 * 8
        assert not response.outputs[0].HasField("contents")


def test_the_same_prediction_as_over_http(gateway: LiveGateway, client: GrpcClient) -> None:
    response, _ = client.infer(request("cancer", matrix(5)))
    body = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [5, 30], "data": CANCER.head(5).to_numpy().tolist()}]}
    over_http = httpx.post(f"{gateway.url}/v2/models/cancer/infer", json=body).json()
    assert list(response.outputs[1].contents.fp64_contents) == over_http["outputs"][1]["data"]


def test_requested_outputs_and_their_form(client: GrpcClient) -> None:
    output = messages.ModelInferRequest.InferRequestedOutputTensor(name="predict")
    asked = request("cancer", matrix(2), outputs=[output])
    asked.parameters["binary_data_output"].bool_param = True
    response, _ = client.infer(asked)
    assert [entry.name for entry in response.outputs] == ["predict"]
    assert (
        np.frombuffer(response.raw_output_contents[0], "<i8").tolist()
        == cancer_model(1.0).predict(CANCER.head(2)).tolist()
    )


def test_an_output_that_the_model_does_not_have_is_an_error(client: GrpcClient) -> None:
    rows = tensor("x", "FP64", [1, 2], fp64_contents=[14.0, 20.0])
    for name in ("predict_proba", "explain"):
        output = messages.ModelInferRequest.InferRequestedOutputTensor(name=name)
        with pytest.raises(grpc.RpcError) as raised:
            client.infer(request("price", rows, outputs=[output]))
        assert raised.value.code() is CODES.INVALID_ARGUMENT
        assert f"price version 1 does not have the output '{name}'" in raised.value.details()
    response, _ = client.infer(request("price", rows))
    assert [entry.name for entry in response.outputs] == ["predict"]


def test_half_precision_and_brain_floats_come_as_raw_bytes(client: GrpcClient) -> None:
    values = CANCER.head(3).to_numpy("<f4")
    halves = (values.view("<u4") >> 16).astype("<u2")
    response, _ = client.infer(request("cancer", tensor("x", "BF16", [3, 30]), raw=(halves.tobytes(),)))
    rounded = (halves.astype("<u4") << 16).view("<f4").astype(np.float64)
    found = np.frombuffer(response.raw_output_contents[1], "<f8").reshape(3, 2)
    np.testing.assert_allclose(found, cancer_model(1.0).predict_proba(rounded), rtol=1e-9)


def test_an_empty_batch(gateway: LiveGateway, client: GrpcClient) -> None:
    response, metadata = client.infer(request("cancer", tensor("x", "FP64", [0, 30])))
    assert [list(output.shape) for output in response.outputs] == [[0], [0, 2]]
    assert [output.datatype for output in response.outputs] == ["INT64", "FP64"]
    assert "x-prediction-id" not in metadata
    assert "prediction_id" not in response.parameters


WRONG: dict[str, tuple[Any, grpc.StatusCode, str]] = {
    "no message": (b"\xff\xff\xff", CODES.INVALID_ARGUMENT, "valid ModelInferRequest"),
    "no such model": (request("nobody", matrix(1)), CODES.NOT_FOUND, "nobody"),
    "no such version": (request("cancer", matrix(1), model_version="99"), CODES.NOT_FOUND, "99"),
    "no version at all": (request("cancer", matrix(1), model_version="first"), CODES.NOT_FOUND, "first"),
    "no inputs": (request("cancer"), CODES.INVALID_ARGUMENT, "at least one tensor"),
    "unknown output": (
        request("cancer", matrix(1), outputs=[messages.ModelInferRequest.InferRequestedOutputTensor(name="explain")]),
        CODES.INVALID_ARGUMENT,
        "explain",
    ),
    "unknown datatype": (request("cancer", tensor("x", "FP128", [1, 30])), CODES.INVALID_ARGUMENT, "FP128"),
    "negative shape": (request("cancer", tensor("x", "FP64", [-1, 30])), CODES.INVALID_ARGUMENT, "non-negative"),
    "no shape": (request("cancer", tensor("x", "FP64", [])), CODES.INVALID_ARGUMENT, "shape"),
    "huge shape": (
        request("cancer", tensor("x", "FP64", [2**62, 2**62]), raw=(b"\0" * 8,)),
        CODES.INVALID_ARGUMENT,
        "number of bytes",
    ),
    "product that overflows to the right size": (
        request("cancer", tensor("x", "FP64", [2**61, 8]), raw=(b"",)),
        CODES.INVALID_ARGUMENT,
        "number of bytes",
    ),
    "many dimensions": (request("cancer", tensor("x", "FP64", [1] * 100)), CODES.INVALID_ARGUMENT, "dimensions"),
    "too few raw bytes": (
        request("cancer", tensor("x", "FP64", [1, 30]), raw=(b"\0" * 239,)),
        CODES.INVALID_ARGUMENT,
        "must be 240",
    ),
    "too few contents": (
        request("cancer", tensor("x", "FP64", [1, 30], fp64_contents=[1.0])),
        CODES.INVALID_ARGUMENT,
        "30 values, not 1",
    ),
    "no contents": (request("cancer", tensor("x", "FP64", [1, 30])), CODES.INVALID_ARGUMENT, "30 values, not 0"),
    "raw and typed": (request("cancer", matrix(1), raw=(b"\0" * 240,)), CODES.INVALID_ARGUMENT, "one of the two"),
    "fewer raw contents than inputs": (
        request("churn", *raw_customers()[0], raw=raw_customers()[1][:3]),
        CODES.INVALID_ARGUMENT,
        "one element per input",
    ),
    "contents of another type": (
        request("cancer", tensor("x", "FP64", [1, 30], int_contents=[1] * 30)),
        CODES.INVALID_ARGUMENT,
        "fp64_contents",
    ),
    "contents of a type that has none": (
        request("cancer", tensor("x", "BF16", [1, 30], fp32_contents=[1.0] * 30)),
        CODES.INVALID_ARGUMENT,
        "raw_input_contents",
    ),
    "an integer beyond its type": (
        request("cancer", tensor("x", "INT8", [1, 30], int_contents=[300] * 30)),
        CODES.INVALID_ARGUMENT,
        "INT8 holds integers from -128 to 127",
    ),
    "missing column": (request("churn", *customer_tensors()[:3]), CODES.INVALID_ARGUMENT, "member"),
    "infinity": (
        request("cancer", tensor("x", "FP64", [1, 30], fp64_contents=[float("inf")] * 30)),
        CODES.INVALID_ARGUMENT,
        "infinity",
    ),
    "text that is not UTF-8": (
        request("churn", *customer_tensors()[:2], tensor("town", "BYTES", [3], bytes_contents=[b"\xff"] * 3)),
        CODES.INVALID_ARGUMENT,
        "UTF-8",
    ),
    "a row that the model refuses": (
        request(
            "churn",
            *customer_tensors()[:2],
            tensor("town", "BYTES", [3], bytes_contents=[b"Paris"] * 3),
            customer_tensors()[3],
        ),
        CODES.INVALID_ARGUMENT,
        "cannot predict",
    ),
    "too large": (
        request("cancer", tensor("x", "FP64", [1, 30]), raw=(b"\0" * 400_000,)),
        CODES.RESOURCE_EXHAUSTED,
        "larger",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_rejected(gateway: LiveGateway, client: GrpcClient, case: str) -> None:
    content, code, words = WRONG[case]
    error = refused(client, "ModelInfer", content)
    assert (error.code(), words in error.details()) == (code, True), error.details()
    assert client.ask("ServerLive").live


def test_an_error_names_the_field(client: GrpcClient) -> None:
    error = refused(client, "ModelInfer", request("churn", *customer_tensors()[:3]))
    trailing = dict(error.trailing_metadata())
    assert (trailing["x-http-status"], trailing["x-field-bin"]) == ("422", b"member")


def test_a_method_that_does_not_exist(client: GrpcClient) -> None:
    assert refused(client, "ModelStreamInfer", b"").code() is CODES.UNIMPLEMENTED


def test_only_the_token_loads_models(gateway: LiveGateway, client: GrpcClient) -> None:
    load = messages.RepositoryModelLoadRequest(model_name="cancer")
    load.parameters["version"].int64_param = 2
    assert refused(client, "RepositoryModelLoad", load).code() is CODES.UNAUTHENTICATED
    wrong = (("authorization", "Bearer wrong"),)
    assert refused(client, "RepositoryModelLoad", load, metadata=wrong).code() is CODES.UNAUTHENTICATED
    allowed = (("authorization", f"Bearer {local_key.find(str(gateway.storage))}"),)
    client.ask("RepositoryModelLoad", load, metadata=allowed)
    index = client.ask("RepositoryIndex", messages.RepositoryIndexRequest(ready=True))
    assert ("cancer", "2", "READY") in {(entry.name, entry.version, entry.state) for entry in index.models}
    response, _ = client.infer(request("cancer", matrix(1), model_version="2"))
    assert response.model_version == "2"
    # KServe's clients put the name into the first field.
    client.ask("RepositoryModelLoad", messages.RepositoryModelLoadRequest(repository_name="cancer"), metadata=allowed)
    load.parameters["config"].string_param = "{}"
    assert "config" in refused(client, "RepositoryModelLoad", load, metadata=allowed).details()
    unload = messages.RepositoryModelUnloadRequest(model_name="cancer")
    error = refused(client, "RepositoryModelUnload", unload, metadata=allowed)
    assert (error.code(), "alias" in error.details()) == (CODES.FAILED_PRECONDITION, True)


def test_a_check_of_the_gateway_needs_the_token(gateway: LiveGateway, client: GrpcClient) -> None:
    mark = ("x-verification", "true")
    error = refused(client, "ModelInfer", request("cancer", matrix(1)), metadata=(mark,))
    assert error.code() is CODES.UNAUTHENTICATED
    allowed = (mark, ("authorization", f"Bearer {local_key.find(str(gateway.storage))}"))
    response, _ = client.infer(request("cancer", matrix(1)), metadata=allowed)
    log = prediction_log.read(str(gateway.storage), "cancer").execute().set_index("prediction_id")
    assert log.loc[response.parameters["prediction_id"].string_param, "arm"] == "verification"


def test_statistics_count_what_was_answered_and_what_was_rejected(client: GrpcClient) -> None:
    def statistics() -> Any:
        asked = messages.ModelStatisticsRequest(name="price", version="1")
        return client.ask("ModelStatistics", asked).model_stats[0]

    before = statistics()
    client.infer(request("price", tensor("x", "FP64", [3, 2], fp64_contents=[1.0] * 6)))
    refused(client, "ModelInfer", request("price", tensor("x", "FP64", [1, 2], fp64_contents=[float("inf")] * 2)))
    after = statistics()
    assert after.inference_count - before.inference_count == 3
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    assert after.inference_stats.success.ns > before.inference_stats.success.ns


def test_requests_in_parallel(client: GrpcClient) -> None:
    model = cancer_model(1.0)
    expected = model.predict_proba(CANCER)
    wrong: list[int] = []

    def ask(begin: int) -> None:
        for row in range(begin, 200, 8):
            values = CANCER.iloc[row].tolist()
            response, _ = client.infer(request("cancer", tensor("x", "FP64", [1, 30], fp64_contents=values)))
            if not np.allclose(list(response.outputs[1].contents.fp64_contents), expected[row], rtol=1e-9):
                wrong.append(row)

    threads = [threading.Thread(target=ask, args=(begin,)) for begin in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
