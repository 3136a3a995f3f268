"""Clients that others wrote, against the running gateway."""

from __future__ import annotations

import json

import httpx
import numpy as np
import pytest
from mlflow.deployments import get_deploy_client

from tests.serving.gateway_process import GatewayProcess
from tests.serving.served_registry import CANCER, CUSTOMERS, cancer_model, churn_model


def test_the_client_of_mlflow_deployments(gateway: GatewayProcess) -> None:
    client = get_deploy_client(gateway.url)
    rows = CUSTOMERS.head(4)
    records = json.loads(rows.to_json(orient="records"))
    answer = client.predict(endpoint="churn", inputs={"dataframe_records": records})
    assert answer["predictions"] == churn_model().predict(rows).tolist()
    assert len(answer["prediction_ids"]) == 4


def test_a_plain_client_over_one_connection(gateway: GatewayProcess) -> None:
    expected = cancer_model(1.0).predict(CANCER.head(50)).tolist()
    with httpx.Client(base_url=gateway.url) as client:
        for row, due in zip(CANCER.head(50).to_numpy().tolist(), expected, strict=True):
            answer = client.post("/models/cancer/invocations", json={"instances": [row]})
            assert answer.json()["predictions"] == [due]
            assert answer.headers["x-model-version"] == "1"


@pytest.mark.parametrize("binary", [True, False])
def test_the_triton_client(gateway: GatewayProcess, binary: bool) -> None:
    triton = pytest.importorskip(
        "tritonclient.http", reason="the package tritonclient[http], a client of the protocol, is not installed"
    )
    client = triton.InferenceServerClient(gateway.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("churn")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("churn")["inputs"][0]["name"] == "age"
    rows = CUSTOMERS.iloc[1:6]
    columns = {
        "age": ("FP64", rows["age"].to_numpy()),
        "income": ("FP64", rows["income"].to_numpy()),
        "town": ("BYTES", rows["town"].to_numpy(dtype=object)),
        "member": ("BOOL", rows["member"].to_numpy()),
    }
    inputs = []
    for name, (datatype, values) in columns.items():
        tensor = triton.InferInput(name, [5], datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("predict", "predict_proba")]
    answer = client.infer("churn", inputs, outputs=outputs, request_id="mine")
    model = churn_model()
    labels = [value.decode() if isinstance(value, bytes) else value for value in answer.as_numpy("predict")]
    assert labels == model.predict(rows).tolist()
    np.testing.assert_allclose(answer.as_numpy("predict_proba"), model.predict_proba(rows), rtol=1e-9)
    assert answer.get_response()["id"] == "mine"
    matrix = triton.InferInput("rows", [3, 30], "FP64")
    matrix.set_data_from_numpy(CANCER.head(3).to_numpy(), binary_data=binary)
    # Without outputs the client asks for all of them in binary.
    found = client.infer("cancer", [matrix], model_version="1").as_numpy("predict")
    assert found.tolist() == cancer_model(1.0).predict(CANCER.head(3)).tolist()
    with pytest.raises(Exception, match="income"):
        client.infer("churn", [inputs[0], *inputs[2:]])
    client.close()
