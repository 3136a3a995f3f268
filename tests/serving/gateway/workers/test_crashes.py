"""A version that ends its process ends only that: the worker is replaced, and the version is skipped from then on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.log import prediction_log
from tests.helpers.serving import crashing_versions, served_registry
from tests.helpers.serving.crashing_versions import (
    ABORTS,
    ABORTS_LOADED,
    ABORTS_ON_EXAMPLE,
    EXITS,
    FAULTS,
    FINE,
    KILLED,
    row,
)
from tests.helpers.serving.live_gateway import LiveGateway

PATIENCE = 240.0
"""Seconds until a gateway is ready again on a busy machine."""
ALLOWED = ["--allow-pickle", "--model", "cancer", "--model", "churn"]


@pytest.fixture(scope="module")
def crashing(served_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """A gateway with one worker and all crashing versions in its registry."""
    directory = tmp_path_factory.mktemp("crashing")
    storage = directory / "mlops"
    served_registry.copy_to(served_models, storage)
    environment = crashing_versions.add_crashing_versions(storage, directory)
    process = LiveGateway.launch(storage, *ALLOWED, environment=environment)
    try:
        yield process.wait_until_ready()
    finally:
        process.kill()


def ask(gateway: LiveGateway, version: int, value: float) -> int:
    url = f"{gateway.url}/v2/models/cancer/versions/{version}/infer"
    body = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 30], "data": row(value)["instances"][0]}]}
    return httpx.post(url, json=body, timeout=60).status_code


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (ABORTS, "was ended by SIGABRT"),
        (FAULTS, "was ended by SIGSEGV"),
        (EXITS, "exited with code 3"),
    ],
)
def test_a_version_that_ends_a_worker_is_skipped_until_someone_asks_for_it(
    crashing: LiveGateway, version: int, words: str
) -> None:
    with crashing.client() as client:
        client.load("cancer", version)
        assert ask(crashing, version, 1.0) == 200
        (before,) = crashing.workers()
        with pytest.raises(httpx.TransportError):
            ask(crashing, version, 1000.0)
        crashing.wait(client.ready, "the replacement is ready", PATIENCE)
        assert crashing.workers() != [before]
        line = f"Worker {before} {words} .*predicting with cancer version {version}.*will be skipped"
        crashing.wait(lambda: re.search(line, crashing.log.read_text()), "the log names signal and version")
        # The champions answer, the version does not.
        assert ask(crashing, 1, 1000.0) == 200
        assert ask(crashing, version, 1.0) == 404
        # Asked for again, it gets another chance.
        client.load("cancer", version)
        assert ask(crashing, version, 1.0) == 200


def test_an_unexplained_kill_blames_no_version(crashing: LiveGateway) -> None:
    with crashing.client() as client:
        client.load("cancer", KILLED)
        with pytest.raises(httpx.TransportError):
            ask(crashing, KILLED, 1000.0)
        crashing.wait(client.ready, "the replacement is ready", PATIENCE)
        crashing.wait(lambda: "was ended by SIGKILL" in crashing.log.read_text(), "the log names the signal")
        assert not any(
            f"version {KILLED}" in reason for reason in httpx.get(f"{crashing.url}/v2/health/ready").json()["failing"]
        )


@pytest.mark.parametrize("version", [ABORTS_LOADED, ABORTS_ON_EXAMPLE])
def test_a_version_that_cannot_be_loaded_ends_only_its_trial(crashing: LiveGateway, version: int) -> None:
    (before,) = crashing.workers()
    with crashing.client() as client:
        for _ in range(2):
            with pytest.raises(MlopsError, match="SIGABRT"):
                client.load("cancer", version)
    assert crashing.workers() == [before]
    assert ask(crashing, 1, 1.0) == 200


def test_what_crashed_is_still_skipped_by_the_next_gateway(storage: Path, tmp_path: Path) -> None:
    environment = crashing_versions.add_crashing_versions(storage, tmp_path)
    client = Registry(RegistrySettings(str(storage))).client
    client.set_registered_model_alias("cancer", "champion", str(ABORTS))
    gateway = LiveGateway.launch(storage, *ALLOWED, "--workers", "2", environment=environment)
    try:
        gateway.wait_until_ready()
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{gateway.url}/models/cancer/invocations", json=row(1000.0), timeout=60)
        url = f"{gateway.url}/v2/health/ready"

        def failing() -> bool:
            try:
                return all("SIGABRT" in "".join(httpx.get(url, timeout=60).json()["failing"]) for _ in range(8))
            except httpx.TransportError:
                # No worker listens yet.
                return False

        def answering() -> str | None:
            answer = httpx.post(f"{gateway.url}/models/cancer/invocations", json=row(1.0), timeout=60)
            return answer.headers.get("x-model-version")

        gateway.wait(failing, "both workers skip it", PATIENCE)
        gateway.kill()
        gateway.start()
        gateway.wait(failing, "the next gateway skips it", PATIENCE)
        # The other model answers, and this one says why it does not.
        answer = httpx.post(f"{gateway.url}/models/cancer/invocations", json=row(1.0), timeout=60)
        assert (answer.status_code, "SIGABRT" in answer.text) == (404, True)
        with gateway.client() as gateway_client:
            assert gateway_client.model_ready("churn")
        # A new assignment of the alias asks for it again.
        client.set_registered_model_alias("cancer", "champion", str(FINE))
        gateway.wait(lambda: answering() == str(FINE), "the new champion answers", PATIENCE)
        client.set_registered_model_alias("cancer", "champion", str(ABORTS))
        gateway.wait(lambda: answering() == str(ABORTS), "it gets another chance", PATIENCE)
    finally:
        gateway.kill()
    assert prediction_log.read(str(storage), "cancer").count().execute() > 0
