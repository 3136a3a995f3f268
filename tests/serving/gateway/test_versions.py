"""Versions side by side: loading, activating, following the alias, and who may do it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, RejectedError
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.gateway.access import local_key
from airflow_provider_mlops.serving.gateway.gateway import Gateway
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from tests.helpers.serving.live_gateway import LiveGateway, post
from tests.helpers.serving.served_registry import CANCER, cancer_model, copy_to

ROWS = CANCER.head(20)


def probabilities(client: GatewayClient, version: int | None = None) -> np.ndarray[Any, Any]:
    return np.array(client.infer("cancer", ROWS, version=version).probabilities)


def test_one_life_of_a_gateway(storage: Path) -> None:
    """Load, activate, roll back, fail to load, follow the alias: in one process, to start only one."""
    one, two = (cancer_model(strength).predict_proba(ROWS) for strength in (1.0, 0.01))
    registry = Registry(RegistrySettings(str(storage)))
    process = LiveGateway.launch(storage).wait_until_ready()
    try:
        with process.client() as client:
            # A candidate is loaded beside the champion and answers only where it is named.
            assert not client.model_ready("cancer", 2)
            state = client.load("cancer", 2)
            assert (state["active"], [entry["version"] for entry in state["versions"]]) == (1, [1, 2])
            assert client.model_ready("cancer", 2)
            np.testing.assert_allclose(probabilities(client), one)
            np.testing.assert_allclose(probabilities(client, 2), two)
            assert client.infer("cancer", ROWS).version == 1

            # Activating is seen by the next request, and so is going back.
            state = client.activate("cancer", 2)
            assert (state["active"], state["previous"]) == (2, 1)
            np.testing.assert_allclose(probabilities(client), two)
            assert client.activate("cancer", 1)["active"] == 1
            np.testing.assert_allclose(probabilities(client), one)
            client.activate("cancer", 2)

            # The alias still says 1. It has not moved, so the poll leaves what was activated alone.
            time.sleep(1)
            assert client.infer("cancer", ROWS).version == 2

            # What cannot be loaded says why, and nothing changes.
            for version, why in ((3, "cannot be loaded.*BadZipFile"), (4, "pickle"), (5, "signature")):
                for change in (client.load, client.activate):
                    with pytest.raises(RejectedError, match=why) as raised:
                        change("cancer", version)
                    assert "Version 2 stays active" in str(raised.value)
                assert client.infer("cancer", ROWS).version == 2
                assert str(version) in client.model("cancer")["failures"]
            with pytest.raises(InvalidSpecError, match="could not be loaded"):
                client.infer("cancer", ROWS, version=3)
            for name, version in (("cancer", 99), ("nobody", 1)):
                with pytest.raises(InvalidSpecError, match="has no version"):
                    client.load(name, version)
            with pytest.raises(InvalidSpecError, match="does not serve"):
                client.model("nobody")

            # The gateway notices by itself that the champion has changed, to a bad one too.
            registry.client.set_registered_model_alias("cancer", "champion", "3")
            time.sleep(1)
            assert client.infer("cancer", ROWS).version == 2
            registry.client.set_registered_model_alias("cancer", "champion", "1")
            process.wait(lambda: client.infer("cancer", ROWS).version == 1, "it follows the alias", 10)
    finally:
        process.kill()


def _bearer(storage: Path) -> dict[str, str]:
    return {"Authorization": f"Bearer {local_key.find(str(storage))}"}


def test_a_gateway_that_was_away_catches_up_and_keeps_the_previous_warm(storage: Path) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    registry.client.set_registered_model_alias("cancer", "champion", "2")
    registry.client.set_registered_model_alias("cancer", "previous", "1")
    process = LiveGateway.launch(storage, "--model", "cancer").wait_until_ready()
    try:
        with process.client() as client:
            process.wait(lambda: client.model("cancer")["previous"] == 1, "the previous version is loaded")
            assert client.infer("cancer", ROWS).version == 2
            assert [model["name"] for model in client.models()] == ["cancer"]
            # Only one model answers here, so that MLflow's path needs no name.
            body = {"instances": ROWS.to_numpy().tolist()}
            assert len(post(f"{process.url}/invocations", body).json()["predictions"]) == len(ROWS)
            # A model that had no champion when the gateway started.
            client.load("churn", 1)
            assert not client.model_ready("churn")
            assert client.model_ready("churn", 1)
            assert post(f"{process.url}/models/churn/invocations", body).status_code == 404
    finally:
        process.kill()


def test_a_server_that_goes_away_and_comes_back(storage: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{storage}/mlflow.db", "--artifacts-destination", str(storage / "a")]

    def start() -> subprocess.Popen[bytes]:
        with open(storage / "mlflow.log", "ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop(server: subprocess.Popen[bytes]) -> None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(20)

    server = start()
    # The gateway comes first, and waits for MLflow.
    process = LiveGateway.launch(storage, "--tracking-uri", address)
    try:
        with process.client() as client:
            assert not client.ready()
            process.wait(client.ready, "MLflow answers and the models are loaded", 120)
            status = f"{process.url}/admin/models"
            assert httpx.get(status, headers=_bearer(storage)).json()["registry_error"] is None
            stop(server)
            process.wait(
                lambda: httpx.get(status, headers=_bearer(storage)).json()["registry_error"],
                "it says that MLflow is unavailable",
            )
            assert client.infer("cancer", ROWS).version == 1
            assert client.ready()
            with pytest.raises(BackendUnavailableError, match="MLflow"):
                client.load("cancer", 2)
            assert client.model("cancer")["failures"] == {}
            server = start()
            process.wait(
                lambda: httpx.get(status, headers=_bearer(storage)).json()["registry_error"] is None, "it is back", 120
            )
            Registry(RegistrySettings(str(storage))).client.set_registered_model_alias("cancer", "champion", "2")
            process.wait(lambda: client.infer("cancer", ROWS).version == 2, "it follows the alias", 60)
    finally:
        process.kill()
        stop(server)


def test_swapping_under_load_fails_no_request(storage: Path) -> None:
    expected = {version: cancer_model(strength).predict_proba(ROWS) for version, strength in ((1, 1.0), (2, 0.01))}
    process = LiveGateway.launch(storage, "--model", "cancer").wait_until_ready()
    stop = threading.Event()
    errors: list[BaseException] = []
    seen: list[int] = []

    def ask() -> None:
        with process.client() as client:
            while not stop.is_set():
                try:
                    answer = client.infer("cancer", ROWS)
                    np.testing.assert_allclose(answer.probabilities, expected[answer.version])
                    seen.append(answer.version)
                except BaseException as error:
                    errors.append(error)
                    return

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with process.client() as client:
            client.load("cancer", 2)
            for swap in range(20):
                client.activate("cancer", 2 - swap % 2)
                time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        process.kill()
    assert not errors
    assert set(seen) == {1, 2}
    log = prediction_log.read(str(storage), "cancer")
    assert log.count().execute() == len(seen) * len(ROWS)


ADMIN = [
    ("GET", "/admin/models"),
    ("GET", "/admin/models/cancer"),
    ("POST", "/admin/models/cancer/load"),
    ("POST", "/admin/models/cancer/activate"),
    ("POST", "/admin/models/cancer/deactivate"),
    ("POST", "/admin/compact"),
]


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_the_admin_api_needs_a_key(gateway: LiveGateway, method: str, path: str) -> None:
    # Version 2 does not answer: that it should no longer changes nothing for the tests that follow.
    version = 2 if path.endswith("deactivate") else 1
    right = local_key.find(str(gateway.storage))
    assert right is not None
    for header in (
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {right}x",
        f"Basic {right}",
        right,
        "Bearer \xff",
    ):
        headers = {} if header is None else {"Authorization": header.encode("latin-1")}
        answer = httpx.request(method, gateway.url + path, headers=headers)
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"] == 'Bearer realm="airflow-mlops"'
        assert answer.json()["field"] == "Authorization"
    answer = httpx.request(method, gateway.url + path, headers=_bearer(gateway.storage), json={"version": version})
    assert answer.status_code == 200
    assert gateway.client().model("cancer")["active"] == 1


@pytest.mark.parametrize(
    "body", [{}, {"version": "1"}, {"version": True}, {"version": 0}, {"version": 1.5}, {"version": 2**40}, [1]]
)
def test_the_admin_api_wants_a_version(gateway: LiveGateway, body: object) -> None:
    answer = post(f"{gateway.url}/admin/models/cancer/load", body, headers=_bearer(gateway.storage))
    assert answer.status_code == 400
    assert answer.json()["field"] == "version"


def test_a_whole_number_may_be_written_with_a_fraction(gateway: LiveGateway) -> None:
    answer = post(f"{gateway.url}/admin/models/cancer/load", {"version": 1.0}, headers=_bearer(gateway.storage))
    assert answer.status_code == 200, answer.text


def test_the_client_says_whose_key_is_wrong(gateway: LiveGateway) -> None:
    with gateway.client("wrong") as client, pytest.raises(InvalidSpecError, match="key is not valid") as raised:
        client.models()
    assert raised.value.field == "gateway_conn_id"
    with GatewayClient(gateway.url) as client, pytest.raises(InvalidSpecError, match="requires a key"):
        client.load("cancer", 2)


def test_a_given_key_counts_and_named_models_must_be_there(served_models: Path, tmp_path: Path) -> None:
    copy_to(served_models, tmp_path)
    environment = {"AIRFLOW_MLOPS_GATEWAY_KEY": "s3cret-key"}
    process = LiveGateway.launch(tmp_path, "--model", "churn", "--model", "nobody", environment=environment)
    try:
        with GatewayClient(process.url, "s3cret-key") as client:
            process.wait(lambda: client.model_ready("churn"), "churn is loaded", 240)
            assert client.models()[0]["name"] == "churn"
        assert httpx.get(f"{process.url}/v2/health/ready").status_code == 401
        answer = httpx.get(f"{process.url}/v2/health/ready", headers={"Authorization": "Bearer s3cret-key"})
        assert answer.status_code == 503
        assert answer.json()["reasons"] == ["the model 'nobody' has no active version"]
        assert local_key.find(str(tmp_path)) is None
        assert "s3cret-key" not in process.log.read_text()
    finally:
        process.kill()


def models_in_memory() -> int:
    gc.collect()
    return sum(isinstance(thing, LoadedModel) for thing in gc.get_objects())


def test_a_version_that_was_let_go_leaves_the_memory(storage: Path) -> None:
    settings = Settings(storage_uri=str(storage), models=("cancer",), allow_pickle=True)
    registry = Registry(RegistrySettings(str(storage)))
    for number in range(6, 9):
        registry.client.create_model_version("cancer", registry.client.get_model_version("cancer", "2").source)
        assert int(registry.client.get_model_version("cancer", str(number)).version) == number
    gateway = Gateway(settings, registry)
    before = models_in_memory()

    row = {"inputs": [{"name": "rows", "shape": [1, 30], "datatype": "FP64", "data": ROWS.iloc[0].tolist()}]}

    async def ask() -> int:
        transport = httpx.ASGITransport(gateway.asgi())
        headers = _bearer(storage)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            for version in (1, 2, 4, 6, 7, 8):
                await client.post("/admin/models/cancer/load", json={"version": version})
                path = f"/v2/models/cancer/versions/{version}/infer"
                assert (await client.post(path, json=row)).status_code == 200
            return len((await client.get("/admin/models/cancer")).json()["versions"])

    kept = asyncio.run(ask())
    assert kept < 6
    assert models_in_memory() - before == kept
