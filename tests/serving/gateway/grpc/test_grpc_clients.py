"""The gRPC and HTTP clients of Triton and KServe, in an environment of their own, against a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_mlops.serving.gateway.access import local_key
from tests.helpers.serving import client_environment, served_registry
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, CUSTOMERS, cancer_model, churn_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TRITON = """
import json, sys
import ml_dtypes
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

address, key, rows, customers = sys.argv[1], sys.argv[2], np.array(json.loads(sys.argv[3])), json.loads(sys.argv[4])
client = triton.InferenceServerClient(address)
allowed = {"authorization": "Bearer " + key}
found = {
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "models": [client.is_model_ready("cancer"), client.is_model_ready("cancer", "99"), client.is_model_ready("nobody")],
    "server": client.get_server_metadata(as_json=True)["name"],
    "inputs": [entry["name"] for entry in client.get_model_metadata("churn", as_json=True)["inputs"]],
    "index": sorted(entry["name"] for entry in client.get_model_repository_index(as_json=True)["models"]),
}
matrix = triton.InferInput("rows", list(rows.shape), "FP64")
matrix.set_data_from_numpy(rows)
answer = client.infer("cancer", [matrix], client_timeout=60)
found["classes"] = answer.as_numpy("predict").tolist()
found["probabilities"] = answer.as_numpy("predict_proba").tolist()
asked = triton.InferRequestedOutput("predict_proba")
found["only"] = [output.name for output in client.infer("cancer", [matrix], outputs=[asked]).get_response().outputs]
columns = []
kinds = {"age": ("FP32", "f4"), "income": ("FP64", "f8"), "town": ("BYTES", object), "member": ("BOOL", bool)}
for name, (kind, dtype) in kinds.items():
    values = np.array(customers[name], dtype=dtype)
    column = triton.InferInput(name, [len(values)], kind)
    column.set_data_from_numpy(values)
    columns.append(column)
found["churn"] = [value.decode() for value in client.infer("churn", columns, request_id="mine").as_numpy("predict")]
halves = triton.InferInput("rows", list(rows.shape), "BF16")
halves.set_data_from_numpy(rows.astype(ml_dtypes.bfloat16))
found["bf16"] = client.infer("cancer", [halves]).as_numpy("predict").tolist()
empty = triton.InferInput("rows", [0, 30], "FP64")
empty.set_data_from_numpy(np.zeros((0, 30)))
found["empty"] = list(client.infer("cancer", [empty]).as_numpy("predict_proba").shape)
try:
    client.load_model("cancer")
except InferenceServerException as error:
    found["refused"] = error.status()
client.load_model("cancer", headers=allowed)
try:
    client.unload_model("cancer", headers=allowed)
except InferenceServerException as error:
    found["unload"] = error.status()
statistics = client.get_inference_statistics("cancer", "1", as_json=True)["model_stats"][0]
found["counted"] = int(statistics["inference_stats"]["success"]["count"])
results = []
import threading
done = threading.Event()
def arrived(result, error):
    results.append((result, error))
    if len(results) == 20:
        done.set()
for _ in range(20):
    client.async_infer("cancer", [matrix], arrived)
assert done.wait(60)
found["asynchronous"] = sum(error is None for _, error in results)
found["compressed"] = client.infer("cancer", [matrix], compression_algorithm="gzip").as_numpy("predict").tolist()
print(json.dumps(found))
"""

KSERVE = """
import asyncio, json, sys
import numpy as np
from kserve import InferInput, InferRequest, InferenceGRPCClient, InferenceRESTClient, RESTConfig

address, url, rows = sys.argv[1], sys.argv[2], np.array(json.loads(sys.argv[3]))

async def main():
    found = {}
    grpc = InferenceGRPCClient(address)
    found["grpc"] = [await grpc.is_server_live(), await grpc.is_server_ready(), await grpc.is_model_ready("cancer")]
    for binary in (True, False):
        matrix = InferInput("rows", list(rows.shape), "FP64")
        matrix.set_data_from_numpy(rows, binary_data=binary)
        answer = await grpc.infer(InferRequest(model_name="cancer", infer_inputs=[matrix]))
        found["grpc raw" if binary else "grpc typed"] = answer.outputs[0].as_numpy().tolist()
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    found["rest"] = [await rest.is_server_live(url), await rest.is_server_ready(url)]
    found["rest"].append(await rest.is_model_ready(url, "cancer"))
    for binary in (True, False):
        matrix = InferInput("rows", list(rows.shape), "FP64")
        matrix.set_data_from_numpy(rows, binary_data=binary)
        asked = InferRequest(model_name="cancer", infer_inputs=[matrix])
        answer = await rest.infer(url, asked, model_name="cancer")
        found["rest binary" if binary else "rest json"] = answer.outputs[0].as_numpy().tolist()
    print(json.dumps(found))

asyncio.run(main())
"""

DESCRIPTOR = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tools.grpc_messages import write
write(Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def gateway(served_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    directory = tmp_path_factory.mktemp("gateway")
    served_registry.copy_to(served_models, directory)
    process = LiveGateway.launch(directory, "--grpc-port", "0")
    try:
        yield process.wait_until_ready()
    finally:
        process.kill()


ROWS = CANCER.head(5)


def test_tritons_client(gateway: LiveGateway) -> None:
    customers = CUSTOMERS.iloc[1:4]
    printed = client_environment.run(
        TRITON,
        gateway.grpc_address,
        local_key.find(str(gateway.storage)) or "",
        json.dumps(ROWS.to_numpy().tolist()),
        json.dumps(customers.to_dict(orient="list")),
    )
    found = json.loads(printed.splitlines()[-1])
    model = cancer_model(1.0)
    due = model.predict(ROWS).tolist()
    assert found["live"]
    assert found["ready"]
    assert found["models"] == [True, False, False]
    assert found["server"] == "airflow-provider-mlops"
    assert found["inputs"] == ["age", "income", "town", "member"]
    assert found["index"] == ["cancer", "churn", "price"]
    assert found["classes"] == found["bf16"] == found["compressed"] == due
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(ROWS), rtol=1e-9)
    assert found["only"] == ["predict_proba"]
    assert found["churn"] == churn_model().predict(customers).tolist()
    assert found["empty"] == [0, 2]
    assert found["refused"] == "StatusCode.UNAUTHENTICATED"
    assert found["unload"] == "StatusCode.FAILED_PRECONDITION"
    assert found["counted"] >= 4
    assert found["asynchronous"] == 20


def test_kserves_clients(gateway: LiveGateway) -> None:
    printed = client_environment.run(KSERVE, gateway.grpc_address, gateway.url, json.dumps(ROWS.to_numpy().tolist()))
    found = json.loads(printed.splitlines()[-1])
    due = cancer_model(1.0).predict(ROWS).tolist()
    assert found["grpc"] == found["rest"] == [True, True, True]
    for way in ("grpc raw", "grpc typed", "rest binary", "rest json"):
        assert found[way] == due, way


def test_the_descriptor_is_that_of_the_proto_file(tmp_path: Path) -> None:
    client_environment.run(DESCRIPTOR, str(client_environment.ROOT), str(tmp_path))
    package = client_environment.ROOT / "airflow_provider_mlops" / "serving" / "protocols" / "grpc"
    for name in ("open_inference.binpb", "open_inference.pyi"):
        assert (package / name).read_bytes() == (tmp_path / name).read_bytes()
