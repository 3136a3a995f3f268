"""What was acknowledged survives: kill -9 under load, and SIGTERM."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.log import prediction_log
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, copy_to, register_pickled


class Load:
    """Clients that ask and give labels, and note what was acknowledged, until the gateway is gone."""

    def __init__(self, seed: int) -> None:
        self.predictions: list[str] = []
        self.claimed: set[str] = set()
        self.labels: dict[str, int] = {}
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def run(self, url: str, stop: threading.Event) -> None:
        with GatewayClient(url) as client:
            while not stop.is_set():
                try:
                    rows = self._random.choice((1, 3))
                    answer = client.infer("cancer", CANCER.head(rows))
                    with self._lock:
                        self.predictions.extend(answer.prediction_ids)
                        name = self._random.choice(self.predictions[-50:])
                    # Two clients that label the same prediction would not know whose label came last.
                    with self._lock:
                        mine = name not in self.claimed
                        self.claimed.add(name)
                    if mine:
                        client.feedback(name, self._random.randint(0, 9))
                        label = self._random.randint(10, 19)
                        client.feedback(name, label)
                        self.labels[name] = label
                except BackendUnavailableError:
                    return


@pytest.mark.parametrize("compact_seconds", ["0.1", "1000"])
def test_kill_9_under_load_loses_nothing_that_was_acknowledged(storage: Path, compact_seconds: str) -> None:
    """Three times over the same storage: once compaction is always under way, once it never was before the kill."""
    load = Load(0)
    for _ in range(3):
        options = ("--model", "cancer", "--compact-seconds", compact_seconds)
        process = LiveGateway.launch(storage, *options).wait_until_ready()
        stop = threading.Event()
        threads = [threading.Thread(target=load.run, args=(process.url, stop)) for _ in range(3)]
        before = len(load.predictions)
        try:
            for thread in threads:
                thread.start()
            time.sleep(1.5)
            process.kill()
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
            process.kill()
        assert len(load.predictions) > before
        check(storage, load)
    process = LiveGateway.launch(storage, "--model", "cancer").wait_until_ready()
    assert process.stop() == 0
    # All of it is Parquet now, and no writer has left anything behind.
    assert list((storage / "write-ahead").iterdir()) == []
    check(storage, load)


def check(storage: Path, load: Load) -> None:
    log = prediction_log.read(str(storage), "cancer").execute()
    assert log["prediction_id"].is_unique
    assert set(load.predictions) <= set(log["prediction_id"])
    labels = dict(zip(log["prediction_id"], log["label"], strict=True))
    assert len(load.labels) > 10
    assert {name: labels[name] for name in load.labels} == load.labels


def test_sigterm_answers_what_is_under_way_and_compacts(storage: Path) -> None:
    process = LiveGateway.launch(storage, "--model", "cancer", "--max-body-bytes", "50000000").wait_until_ready()
    rows = 8_000
    values = CANCER.sample(rows, replace=True, random_state=0).to_numpy().ravel().tolist()
    body = {"inputs": [{"name": "rows", "shape": [rows, 30], "datatype": "FP64", "data": values}]}
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.post(f"{process.url}/v2/models/cancer/infer", json=body, timeout=60))

    # One request is being predicted and others wait for the thread when the signal comes.
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    process.wait(lambda: answers, "the first is answered")
    process.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert process.process.wait(60) == 0
    assert [answer.status_code for answer in answers] == [200] * 4
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{process.url}/v2/health/live")
    assert list((storage / "write-ahead").iterdir()) == []
    assert prediction_log.read(str(storage), "cancer").count().execute() == 4 * rows


def test_a_large_request_does_not_stop_the_others_from_being_heard(storage: Path) -> None:
    process = LiveGateway.launch(storage, "--model", "cancer").wait_until_ready()
    try:
        # Large enough to take a while on a fast machine, too.
        rows = 20_000
        values = CANCER.sample(rows, replace=True, random_state=0).to_numpy().ravel().tolist()
        body = {"inputs": [{"name": "rows", "shape": [rows, 30], "datatype": "FP64", "data": values}]}
        done = threading.Event()

        def ask() -> None:
            httpx.post(f"{process.url}/v2/models/cancer/infer", json=body, timeout=60)
            done.set()

        thread = threading.Thread(target=ask)
        thread.start()
        with httpx.Client() as client:
            heard = 0
            while not done.is_set():
                assert client.get(f"{process.url}/v2/health/live", timeout=2).status_code == 200
                heard += 1
        thread.join()
        assert heard > 2
    finally:
        process.kill()


def test_a_model_that_never_comes_back_neither_hangs_its_callers_nor_the_end(
    served_models: Path, tmp_path: Path
) -> None:
    """The model is pickled and hangs on a certain input. It comes with a module of its own, as such models do."""
    module = tmp_path / "modules"
    module.mkdir()
    (module / "endless.py").write_text(ENDLESS)
    sys.path.insert(0, str(module))
    try:
        import endless  # type: ignore[import-not-found]

        copy_to(served_models, tmp_path / "mlops")
        registry = Registry(RegistrySettings(str(tmp_path / "mlops")))
        registry.client.create_registered_model("endless")
        version = register_pickled(registry, "endless", endless.Endless(), tmp_path)
    finally:
        sys.path.remove(str(module))
    environment = {"PYTHONPATH": os.pathsep.join([str(module), os.environ.get("PYTHONPATH", "")])}
    options = ("--model", "endless", "--allow-pickle", "--predict-seconds", "1", "--threads", "2")
    process = LiveGateway.launch(tmp_path / "mlops", *options, environment=environment)
    try:
        with process.client() as client:
            client.activate("endless", version.version)
            assert client.infer("endless", CANCER.head(1)).output == [1]
            with pytest.raises(BackendUnavailableError, match="prediction took longer than 1 s"):
                client.infer("endless", CANCER.head(1) * 0 - 1)
            # The other thread answers.
            assert client.infer("endless", CANCER.head(1)).output == [1]
        assert process.stop() == 0
    finally:
        process.kill()
    assert prediction_log.read(str(tmp_path / "mlops"), "endless").count().execute() == 2


ENDLESS = """
import time

import numpy as np
from sklearn.base import BaseEstimator


class Endless(BaseEstimator):
    def predict(self, features):
        while np.asarray(features).min() < 0:
            time.sleep(0.1)
        return np.ones(len(features), dtype=int)
"""
