"""Both protocols over HTTP, against the models themselves."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from starlette.routing import Route

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.gateway import Gateway
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import prediction_id, prediction_log
from tests.helpers.serving.live_gateway import LiveGateway, post
from tests.helpers.serving.served_registry import CANCER, CUSTOMERS, cancer_model, churn_model, price_model


def test_server_and_model_metadata(gateway: LiveGateway) -> None:
    assert httpx.get(f"{gateway.url}/v2").json()["name"] == "airflow-provider-mlops"
    assert httpx.get(f"{gateway.url}/v2/health/live").json() == {"live": True}
    ready = {"ready": True, "status": "ready", "reasons": [], "degraded": [], "failing": []}
    assert httpx.get(f"{gateway.url}/v2/health/ready").json() == ready
    assert httpx.get(f"{gateway.url}/v2/models/churn/ready").json() == {"name": "churn", "version": "1", "ready": True}
    churn = httpx.get(f"{gateway.url}/v2/models/churn").json()
    assert churn["versions"] == ["1"]
    assert [(entry["name"], entry["datatype"], entry["parameters"]["nullable"]) for entry in churn["inputs"]] == [
        ("age", "FP64", True),
        ("income", "FP64", False),
        ("town", "BYTES", False),
        ("member", "BOOL", False),
    ]
    assert churn["outputs"][0] == {"name": "predict", "datatype": "BYTES", "shape": [-1]}
    assert churn["outputs"][1]["parameters"]["classes"] == ["no", "yes"]


def test_v2_columns_as_tensors_of_their_own(gateway: LiveGateway) -> None:
    rows = CUSTOMERS.head(8)
    inputs = [
        {"name": "member", "shape": [8], "datatype": "BOOL", "data": rows["member"].tolist()},
        {"name": "income", "shape": [8, 1], "datatype": "FP32", "data": [[value] for value in rows["income"]]},
        {
            "name": "town",
            "shape": [8],
            "datatype": "BYTES",
            "data": rows["town"].tolist(),
            "parameters": {"content_type": "str"},
        },
        {
            "name": "age",
            "shape": [8, 1],
            "datatype": "FP64",
            "data": [None if value != value else value for value in rows["age"]],
        },
    ]
    body = {"id": "mine", "parameters": {"content_type": "pd"}, "inputs": inputs}
    answer = post(f"{gateway.url}/v2/models/churn/infer", body)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    model = churn_model()
    predict, probabilities = content["outputs"]
    assert content["id"] == "mine"
    assert (predict["datatype"], predict["shape"]) == ("BYTES", [8])
    assert predict["data"] == model.predict(rows).tolist()
    assert probabilities["parameters"]["classes"] == ["no", "yes"]
    np.testing.assert_allclose(np.reshape(probabilities["data"], [8, 2]), model.predict_proba(rows), rtol=1e-12)
    ids = content["parameters"]["prediction_ids"]
    assert len(set(ids)) == 8
    assert all(map(prediction_id.is_valid, ids))
    assert answer.headers["x-prediction-id"] == content["parameters"]["prediction_id"] == ids[0].removesuffix("-0")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("rows", [1, 5])
def test_v2_one_matrix_for_a_model_of_numbers(gateway: LiveGateway, rows: int, nested: bool) -> None:
    values = CANCER.head(rows).to_numpy()
    data = values.tolist() if nested else values.ravel().tolist()
    body = {"inputs": [{"name": "rows", "shape": [rows, 30], "datatype": "FP64", "data": data}]}
    content = post(f"{gateway.url}/v2/models/cancer/infer", body).json()
    assert content["outputs"][0]["data"] == cancer_model(1.0).predict(CANCER.head(rows)).tolist()
    assert prediction_id.is_valid(content["id"])


def test_v2_asks_for_one_output_only(gateway: LiveGateway) -> None:
    body = {
        "inputs": [{"name": "rows", "shape": [1, 30], "datatype": "FP64", "data": CANCER.iloc[0].tolist()}],
        "outputs": [{"name": "predict_proba"}],
    }
    content = post(f"{gateway.url}/v2/models/cancer/versions/1/infer", body).json()
    assert [output["name"] for output in content["outputs"]] == ["predict_proba"]


def test_a_regressor_takes_missing_values_and_has_no_probabilities(gateway: LiveGateway) -> None:
    with gateway.client() as client:
        answer = client.infer("price", {"mean radius": [14.0, None], "mean texture": [None, 20.0]})
    features = pd.DataFrame({"mean radius": [14.0, np.nan], "mean texture": [np.nan, 20.0]})
    np.testing.assert_allclose(answer.output, price_model().predict(features))
    assert answer.probabilities is None
    assert answer.classes == ()


FORMS = {
    "dataframe_split": lambda frame: {"dataframe_split": json.loads(frame.to_json(orient="split"))},
    "dataframe_records": lambda frame: {"dataframe_records": json.loads(frame.to_json(orient="records"))},
    "instances of objects": lambda frame: {"instances": json.loads(frame.to_json(orient="records"))},
    "inputs of columns": lambda frame: {"inputs": _columns(frame)},
    "columns in another order": lambda frame: FORMS["dataframe_split"](frame[frame.columns[::-1]]),
}


def _columns(frame: pd.DataFrame) -> dict[str, list[object]]:
    return {name: json.loads(frame[name].to_json(orient="values")) for name in frame.columns}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["cancer", "churn"])
def test_invocations(gateway: LiveGateway, form: str, name: str) -> None:
    rows, model = (CANCER.head(3), cancer_model(1.0)) if name == "cancer" else (CUSTOMERS.head(3), churn_model())
    answer = post(f"{gateway.url}/models/{name}/invocations", FORMS[form](rows))
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == model.predict(rows).tolist()
    assert len(answer.json()["prediction_ids"]) == 3


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_invocations_with_rows_of_numbers(gateway: LiveGateway, key: str) -> None:
    answer = post(f"{gateway.url}/models/cancer/invocations", {key: CANCER.head(2).to_numpy().tolist()})
    assert answer.json()["predictions"] == cancer_model(1.0).predict(CANCER.head(2)).tolist()


def test_invocations_wants_a_name_where_several_models_answer(gateway: LiveGateway) -> None:
    answer = post(f"{gateway.url}/invocations", {"instances": []})
    assert answer.status_code == 404
    assert "cancer, churn, price" in answer.json()["error"]


def test_mlflows_own_client(gateway: LiveGateway) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    client = ScoringServerClient(host, port)
    client.wait_server_ready(timeout=5)
    client.url_prefix += "/models/churn"
    rows = CUSTOMERS.head(4)
    predictions = client.invoke(rows).get_predictions()
    assert predictions[0].tolist() == churn_model().predict(rows).tolist()


def test_what_is_answered_is_in_the_log_with_features_and_label(gateway: LiveGateway) -> None:
    rows = CUSTOMERS.iloc[6:9]
    with gateway.client() as client:
        answer = client.infer("churn", rows)
        pinned = client.infer("churn", rows.head(1), version=1)
        client.feedback(answer.prediction_ids[1], "yes")
        client.feedback(answer.prediction_ids[1], "no")
        client.feedback(answer.prediction_ids[1], "no")
    table = prediction_log.read(str(gateway.storage), "churn")
    log = table.execute().set_index("prediction_id")
    logged = log.loc[list(answer.prediction_ids)]
    for name in rows.columns:
        expected = rows[name].tolist()
        found = logged[f"feature_{name}"].tolist()
        assert [None if value != value else value for value in found] == [
            None if value != value else value for value in expected
        ]
    assert logged["output"].tolist() == answer.output
    np.testing.assert_allclose(logged[["probability_no", "probability_yes"]].to_numpy(), answer.probabilities)
    assert set(logged["arm"]) == {"champion"}
    assert set(logged["propensity"]) == {1.0}
    assert set(logged["version"]) == {1}
    assert logged["label"].fillna("").tolist() == ["", "no", ""]
    assert logged["latency_ms"].between(0.01, 30_000).all()
    assert log.loc[pinned.prediction_ids[0], "arm"] == "pinned"
    assert list(prediction_log.features(table).columns) == list(rows.columns)


@pytest.mark.parametrize("path", ["/v2/models/churn/infer", "/v2/models/churn/versions/1/infer"])
def test_a_check_is_answered_as_any_request_and_logged_apart(gateway: LiveGateway, path: str) -> None:
    version = 1 if "versions" in path else None
    with gateway.client() as client:
        usual = client.infer("churn", CUSTOMERS.head(3), version=version)
        check = client.infer("churn", CUSTOMERS.head(3), version=version, verification=True)
    assert (check.version, check.output, check.probabilities) == (usual.version, usual.output, usual.probabilities)
    arms = prediction_log.read(str(gateway.storage), "churn").execute().set_index("prediction_id")["arm"]
    assert set(arms[list(check.prediction_ids)]) == {"verification"}
    assert set(arms[list(usual.prediction_ids)]) == {"champion" if version is None else "pinned"}


@pytest.mark.parametrize("path", ["/v2/models/churn/infer", "/models/churn/invocations"])
def test_nobody_without_the_right_hides_a_prediction(gateway: LiveGateway, path: str) -> None:
    records = json.loads(CUSTOMERS.head(1).to_json(orient="records"))
    tensors = [
        {"name": name, "shape": [1], "datatype": kind, "data": [records[0][name]]}
        for name, kind in {"age": "FP64", "income": "FP64", "town": "BYTES", "member": "BOOL"}.items()
    ]
    body = {"inputs": tensors} if "infer" in path else {"dataframe_records": records}
    before = prediction_log.read(str(gateway.storage), "churn").count().execute()
    for mark, given, status in (
        ("true", None, 401),
        ("TRUE", "Bearer wrong", 401),
        ("perhaps", None, 400),
        ("false", None, 200),
    ):
        headers = {"X-Verification": mark} | ({} if given is None else {"Authorization": given})
        answer = post(gateway.url + path, body, headers=headers)
        assert answer.status_code == status, answer.text
    # A refusal is no answer; what was answered is in the log as traffic.
    logged = prediction_log.read(str(gateway.storage), "churn").execute().set_index("prediction_id")
    assert len(logged) == before + 1
    assert logged.loc[answer.headers["X-Prediction-Id"], "arm"] == "champion"


def test_the_openapi_document_names_every_path_and_method(gateway: LiveGateway, tmp_path: Path) -> None:
    content = httpx.get(f"{gateway.url}/openapi.json").json()
    assert content["openapi"] == "3.1.0"
    documented = {
        path: {key.upper() for key in entry if key != "parameters"} for path, entry in content["paths"].items()
    }
    app = Gateway(Settings(storage_uri=str(tmp_path)), Registry(RegistrySettings(str(tmp_path)))).app()
    served = {route.path: route.methods - {"HEAD"} for route in app.routes if isinstance(route, Route)}
    assert documented == served


def test_no_redirect_follows_the_host_header(gateway: LiveGateway) -> None:
    for path in ("/v2/models/", "/v2/models/churn/", "/metrics/", "//elsewhere.example"):
        answer = httpx.get(f"{gateway.url}{path}", headers={"Host": "elsewhere.example"})
        assert answer.status_code == 404
        assert "location" not in answer.headers


def test_an_output_that_the_model_does_not_have_is_an_error(gateway: LiveGateway) -> None:
    path = f"{gateway.url}/v2/models/price/infer"
    inputs = [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [14.0, 20.0]}]
    for name, words in (
        ("predict_proba", "price version 1 does not have the output 'predict_proba', because it predicts no prob"),
        ("probability", "price version 1 does not have the output 'probability', because there is no such output"),
    ):
        for outputs in ([{"name": name}], [name], ["predict", {"name": name, "parameters": {"binary_data": True}}]):
            answer = post(path, {"inputs": inputs, "outputs": outputs})
            assert (answer.status_code, answer.json()["field"]) == (400, "outputs")
            assert words in answer.json()["error"]
            assert answer.json()["error"].endswith("Available outputs: predict.")
    # A batch without rows, and one that is parsed in a thread.
    for rows in (0, 5000):
        data = [14.0, 20.0] * rows
        many = [{"name": "x", "shape": [rows, 2], "datatype": "FP64", "data": data}]
        assert post(path, {"inputs": many, "outputs": ["predict_proba"]}).status_code == 400
    # Without names, a request gets the outputs that the model has.
    for content in ({"inputs": inputs}, {"inputs": inputs, "outputs": []}):
        assert [output["name"] for output in post(path, content).json()["outputs"]] == ["predict"]
    wrong = {"inputs": [[14.0, 20.0]], "signature_name": "predict_proba"}
    answer = post(f"{gateway.url}/models/price/invocations", wrong)
    assert (answer.status_code, answer.json()["field"]) == (400, "signature_name")
