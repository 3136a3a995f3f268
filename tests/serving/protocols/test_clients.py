"""Clients that others wrote, against the running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import tritonclient.http as triton
from mlflow.deployments import get_deploy_client
from numpy.typing import NDArray
from requests import HTTPError
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tritonclient.utils import InferenceServerException

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, CUSTOMERS, cancer_model, churn_model, register


def test_the_client_of_mlflow_deployments(gateway: LiveGateway) -> None:
    client = get_deploy_client(gateway.url)
    rows = CUSTOMERS.head(4)
    records = json.loads(rows.to_json(orient="records"))
    answer = client.predict(endpoint="churn", inputs={"dataframe_records": records})
    assert answer["predictions"] == churn_model().predict(rows).tolist()
    assert len(answer["prediction_ids"]) == 4
    split = json.loads(rows.to_json(orient="split"))
    answer = client.predict(endpoint="churn", inputs={"dataframe_split": split})
    assert answer["predictions"] == churn_model().predict(rows).tolist()
    with pytest.raises(HTTPError, match="422"):
        client.predict(endpoint="churn", inputs={"dataframe_records": [{**records[0], "income": "much"}]})


def test_a_plain_client_over_one_connection(gateway: LiveGateway) -> None:
    expected = cancer_model(1.0).predict(CANCER.head(50)).tolist()
    with httpx.Client(base_url=gateway.url) as client:
        for row, due in zip(CANCER.head(50).to_numpy().tolist(), expected, strict=True):
            answer = client.post("/models/cancer/invocations", json={"instances": [row]})
            assert answer.json()["predictions"] == [due]
            assert answer.headers["x-model-version"] == "1"


@pytest.fixture(scope="module")
def client(gateway: LiveGateway) -> Iterator[triton.InferenceServerClient]:
    """A client of the Open Inference Protocol, which sends and takes binary tensors."""
    client = triton.InferenceServerClient(gateway.url.removeprefix("http://"))
    yield client
    client.close()


def tensor(name: str, datatype: str, values: NDArray[Any], binary: bool) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def texts(values: NDArray[Any]) -> list[str]:
    """What the client has made of BYTES: bytes where they came in binary, text where they came in JSON."""
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def test_triton_asks_for_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("churn")
    assert client.is_model_ready("cancer", "1")
    assert not client.is_model_ready("cancer", "99")
    assert not client.is_model_ready("nobody")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("churn")
    assert [(entry["name"], entry["datatype"]) for entry in metadata["inputs"]] == [
        ("age", "FP64"),
        ("income", "FP64"),
        ("town", "BYTES"),
        ("member", "BOOL"),
    ]
    with pytest.raises(InferenceServerException, match="nobody"):
        client.get_model_metadata("nobody")


BINARY = pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])


@BINARY
@pytest.mark.parametrize("answer_binary", [True, False], ids=["binary_answer", "json_answer"])
def test_triton_sends_columns(client: triton.InferenceServerClient, binary: bool, answer_binary: bool) -> None:
    rows = CUSTOMERS.iloc[1:6]
    inputs = [
        tensor("age", "FP64", rows["age"].to_numpy(), binary),
        tensor("income", "FP64", rows["income"].to_numpy(), binary),
        tensor("town", "BYTES", rows["town"].to_numpy(dtype=object), binary),
        tensor("member", "BOOL", rows["member"].to_numpy(), binary),
    ]
    outputs = [triton.InferRequestedOutput(name, binary_data=answer_binary) for name in ("predict", "predict_proba")]
    answer = client.infer("churn", inputs, outputs=outputs, request_id="mine")
    model = churn_model()
    assert texts(answer.as_numpy("predict")) == model.predict(rows).tolist()
    np.testing.assert_allclose(answer.as_numpy("predict_proba"), model.predict_proba(rows), rtol=1e-9)
    assert answer.get_response()["id"] == "mine"
    with pytest.raises(InferenceServerException, match="income"):
        client.infer("churn", [inputs[0], *inputs[2:]])


@BINARY
@pytest.mark.parametrize("datatype", ["FP64", "FP32"])
def test_triton_sends_a_matrix(client: triton.InferenceServerClient, binary: bool, datatype: str) -> None:
    rows = CANCER.head(3).astype(np.float64 if datatype == "FP64" else np.float32)
    # Without outputs the client asks for all of them in binary.
    answer = client.infer("cancer", [tensor("rows", datatype, rows.to_numpy(), binary)], model_version="1")
    model, as_taken = cancer_model(1.0), rows.astype(np.float64)
    assert answer.as_numpy("predict").tolist() == model.predict(as_taken).tolist()
    np.testing.assert_allclose(answer.as_numpy("predict_proba"), model.predict_proba(as_taken), rtol=1e-9)


ORDERS = pd.DataFrame(
    {
        "pieces": np.arange(60, dtype=np.int64) % 7,
        "weight": np.linspace(0.1, 9.7, 60, dtype=np.float32),
        "price": np.linspace(400.0, 3.0, 60),
        "country": ["it", "de", "fr"] * 20,
        "gift": np.arange(60) % 4 == 0,
    }
)
DATATYPES = {"pieces": "INT64", "weight": "FP32", "price": "FP64", "country": "BYTES", "gift": "BOOL"}


@pytest.fixture(scope="module")
def orders(gateway: LiveGateway, client: triton.InferenceServerClient) -> Pipeline:
    """A model that takes a column of each datatype, as the gateway serves it."""
    columns = ColumnTransformer(
        [("country", OneHotEncoder(), ["country"])], remainder="passthrough", verbose_feature_names_out=False
    )
    model = make_pipeline(columns, RandomForestRegressor(10, random_state=0))
    model.fit(ORDERS, ORDERS["pieces"] * ORDERS["price"] + ORDERS["weight"])
    registry = Registry(RegistrySettings(str(gateway.storage)))
    register(registry, "orders", model, ORDERS, "1")
    registry.client.set_registered_model_alias("orders", "champion", "1")
    gateway.wait(lambda: client.is_model_ready("orders"), "the new champion answers")
    return model


@BINARY
def test_triton_sends_every_datatype(client: triton.InferenceServerClient, orders: Pipeline, binary: bool) -> None:
    metadata = client.get_model_metadata("orders")
    # What was trained on 32 bits is registered for 64, and takes both.
    due = {**DATATYPES, "weight": "FP64"}
    assert {entry["name"]: entry["datatype"] for entry in metadata["inputs"]} == due
    rows = ORDERS.iloc[[3, 59, 17, 4]]
    inputs = [
        tensor(name, datatype, rows[name].to_numpy(dtype=object if datatype == "BYTES" else None), binary)
        for name, datatype in DATATYPES.items()
    ]
    for answer_binary in (True, False):
        outputs = [triton.InferRequestedOutput("predict", binary_data=answer_binary)]
        answer = client.infer("orders", inputs, outputs=outputs)
        np.testing.assert_allclose(answer.as_numpy("predict"), orders.predict(rows), rtol=1e-9)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_triton_compresses_both_ways(client: triton.InferenceServerClient, algorithm: str) -> None:
    rows = tensor("rows", "FP64", CANCER.to_numpy(), True)
    answer = client.infer(
        "cancer", [rows], request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
    )
    np.testing.assert_allclose(answer.as_numpy("predict_proba"), cancer_model(1.0).predict_proba(CANCER), rtol=1e-9)
