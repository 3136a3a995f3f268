"""What a gateway says about itself: lists, the repository index, statistics, and what MLflow's clients ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import mlflow
import pytest
import tritonclient.http as triton
from mlflow.deployments import get_deploy_client
from tritonclient.utils import InferenceServerException

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.access import local_key
from tests.helpers.serving import served_registry
from tests.helpers.serving.live_gateway import LiveGateway, post
from tests.helpers.serving.served_registry import CANCER

ROW = CANCER.head(1).to_numpy().tolist()


def test_the_list_of_models(gateway: LiveGateway) -> None:
    assert httpx.get(f"{gateway.url}/v2/models").json() == {"models": ["cancer", "churn", "price"]}


def test_the_repository_index(gateway: LiveGateway) -> None:
    with gateway.client() as client, pytest.raises(Exception, match="3"):
        client.load("cancer", 3)
    everything = httpx.post(f"{gateway.url}/v2/repository/index").json()
    states = {(entry["name"], entry["version"]): entry["state"] for entry in everything}
    assert states["cancer", "1"] == states["churn", "1"] == "READY"
    assert states["cancer", "3"] == "UNAVAILABLE"
    assert next(entry["reason"] for entry in everything if entry["state"] == "UNAVAILABLE")
    ready = post(f"{gateway.url}/v2/repository/index", {"ready": True}).json()
    assert ready == [entry for entry in everything if entry["state"] == "READY"]
    assert post(f"{gateway.url}/v2/repository/index", {"ready": "yes"}).json()["field"] == "ready"
    with triton.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
        assert client.get_model_repository_index() == everything


def test_statistics_by_model_and_version(gateway: LiveGateway) -> None:
    def statistics(path: str = "/v2/models/cancer/versions/1/stats") -> Any:
        return httpx.get(gateway.url + path).json()["model_stats"]

    (before,) = statistics()
    post(f"{gateway.url}/models/cancer/invocations", {"instances": ROW * 4})
    post(f"{gateway.url}/models/cancer/invocations", {"instances": [[None] * 30]})
    # A check of the gateway is not traffic.
    check = {"X-Verification": "true", "Authorization": f"Bearer {local_key.find(str(gateway.storage))}"}
    assert post(f"{gateway.url}/models/cancer/invocations", {"instances": ROW}, headers=check).status_code == 200
    (after,) = statistics()
    assert after["inference_count"] - before["inference_count"] == 4
    successes, failures = (
        after["inference_stats"][kind]["count"] - before["inference_stats"][kind]["count"]
        for kind in ("success", "fail")
    )
    assert (successes, failures) == (1, 1)
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    assert after in statistics("/v2/models/cancer/stats")
    assert {entry["name"] for entry in statistics("/v2/models/stats")} == {"cancer", "churn", "price"}
    assert httpx.get(f"{gateway.url}/v2/models/nobody/stats").status_code == 404
    assert httpx.get(f"{gateway.url}/v2/models/cancer/versions/99/stats").status_code == 404
    with triton.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
        assert client.get_inference_statistics("cancer", "1")["model_stats"] == [after]


def test_what_clients_of_mlflow_ask_for(gateway: LiveGateway) -> None:
    assert httpx.get(f"{gateway.url}/version").text == mlflow.__version__
    for path in ("/ping", "/health"):
        assert httpx.get(gateway.url + path).status_code == 200
    client = get_deploy_client(gateway.url)
    endpoints = client.list_endpoints()
    assert [endpoint.name for endpoint in endpoints] == ["cancer", "churn", "price"]
    cancer = client.get_endpoint("cancer")
    assert cancer.endpoint_url == f"{gateway.url}/endpoints/cancer/invocations"
    assert post(cancer.endpoint_url, {"instances": ROW}).status_code == 200
    assert httpx.get(f"{gateway.url}/api/2.0/endpoints/nobody").status_code == 404


def test_invocations_without_a_model_names_the_models(gateway: LiveGateway) -> None:
    answer = post(f"{gateway.url}/invocations", {"instances": ROW})
    assert answer.status_code == 404
    assert "cancer, churn, price" in answer.json()["error"]


FORMS = {
    "one value per column": {"inputs": {"mean radius": 14.0, "mean texture": 20.0}},
    "lists of values": {"inputs": {"mean radius": [14.0], "mean texture": [20.0]}},
    "columns of one value each": {"inputs": {"mean radius": [[14.0]], "mean texture": [[20.0]]}},
    "a null": {"inputs": {"mean radius": None, "mean texture": 20.0}},
}


@pytest.mark.parametrize("form", FORMS)
def test_inputs_of_single_values(gateway: LiveGateway, form: str) -> None:
    answer = post(f"{gateway.url}/models/price/invocations", FORMS[form])
    assert len(answer.json()["predictions"]) == 1, answer.text


EMPTY: dict[str, tuple[str, Any]] = {
    "records": ("/models/churn/invocations", {"dataframe_records": []}),
    "split": (
        "/models/churn/invocations",
        {"dataframe_split": {"columns": ["age", "income", "town", "member"], "data": []}},
    ),
    "instances": ("/models/churn/invocations", {"instances": []}),
    "inputs": ("/models/cancer/invocations", {"inputs": []}),
    "columns": ("/models/price/invocations", {"inputs": {"mean radius": [], "mean texture": []}}),
}


@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_batch_of_rows(gateway: LiveGateway, case: str) -> None:
    path, body = EMPTY[case]
    answer = post(gateway.url + path, body)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [], "prediction_ids": []})
    assert "x-prediction-id" not in answer.headers


def test_an_empty_batch_of_tensors(gateway: LiveGateway) -> None:
    tensors = [
        {"name": name, "datatype": kind, "shape": [0], "data": []}
        for name, kind in (("age", "FP64"), ("income", "FP64"), ("town", "BYTES"), ("member", "BOOL"))
    ]
    answer = post(f"{gateway.url}/v2/models/churn/infer", {"inputs": tensors}).json()
    assert answer["outputs"] == [
        {"name": "predict", "shape": [0], "datatype": "BYTES", "data": []},
        {
            "name": "predict_proba",
            "shape": [0, 2],
            "datatype": "FP64",
            "parameters": {"classes": ["no", "yes"]},
            "data": [],
        },
    ]
    assert answer["parameters"] == {"prediction_ids": []}
    matrix = {"name": "x", "datatype": "FP32", "shape": [0, 30], "data": []}
    answer = post(f"{gateway.url}/v2/models/cancer/infer", {"inputs": [matrix]}).json()
    assert [(output["shape"], output["datatype"]) for output in answer["outputs"]] == [([0], "INT64"), ([0, 2], "FP64")]


def test_loading_and_unloading_through_the_repository(storage: Path) -> None:
    with LiveGateway(storage, "--default-model", "churn") as gateway:
        url = f"{gateway.url}/v2/repository/models/cancer"
        allowed = {"Authorization": f"Bearer {local_key.find(str(storage))}"}
        assert httpx.post(f"{url}/load").status_code == 401
        answer = post(f"{url}/load", {"parameters": {"version": 2}}, headers=allowed)
        assert [entry["version"] for entry in answer.json()["versions"]] == [1, 2]
        assert answer.json()["active"] == 1
        for parameters in ({"config": "{}"}, {"version": [2]}, {"version": ""}, {"version": True}):
            assert post(f"{url}/load", {"parameters": parameters}, headers=allowed).status_code == 400, parameters
        assert post(f"{url}/load", [], headers=allowed).status_code == 400
        # A model with a champion is served.
        answer = post(f"{url}/unload", {"parameters": {"unload_dependents": False}}, headers=allowed)
        assert (answer.status_code, "alias" in answer.json()["error"]) == (409, True)
        # Version 2 was activated by hand, and nothing in MLflow says that it should be served.
        Registry(RegistrySettings(str(storage))).client.delete_registered_model_alias("cancer", "champion")
        gateway.wait(lambda: httpx.get(f"{gateway.url}/v2/models/cancer/ready").status_code == 404)
        with gateway.client() as client:
            client.activate("cancer", 2)
        assert post(f"{url}/unload", {"parameters": {"version": 1}}, headers=allowed).status_code == 409
        answer = httpx.post(f"{url}/unload", headers=allowed)
        assert (answer.status_code, answer.json()["active"]) == (200, None)
        assert httpx.post(f"{url}/load", headers=allowed).status_code == 404
        with triton.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
            with pytest.raises(InferenceServerException, match="key"):
                client.load_model("churn")
            client.load_model("churn", headers=allowed)
        customers = served_registry.CUSTOMERS.iloc[1:3].to_dict(orient="records")
        answer = post(f"{gateway.url}/invocations", {"dataframe_records": customers})
        assert len(answer.json()["predictions"]) == 2
