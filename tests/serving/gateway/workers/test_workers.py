"""Several workers: all follow a change, a dead one is replaced, and the numbers are those of all."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import httpx
import pytest

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.admin import worker_channel
from airflow_provider_mlops.serving.gateway.admin.worker_channel import Change, WorkerChannel
from airflow_provider_mlops.serving.log import prediction_log
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER

BODY = {"instances": CANCER.head(1).to_numpy().tolist()}


def answering(url: str) -> set[str]:
    """The versions that answer, on 24 connections of their own: with two workers, both are among them."""
    versions = set()
    for _ in range(24):
        answer = httpx.post(f"{url}/models/cancer/invocations", json=BODY, timeout=30)
        assert answer.status_code == 200, answer.text
        versions.add(answer.headers["x-model-version"])
    return versions


def statuses(url: str) -> set[int]:
    return {httpx.post(f"{url}/models/cancer/invocations", json=BODY).status_code for _ in range(12)}


def requests_counted(url: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    return sum(float(value) for value in re.findall(r'^mlops_requests_total\{.*status="200".*\} (.+)$', text, re.M))


def test_one_life_of_two_workers(storage: Path) -> None:
    process = LiveGateway.launch(storage, "--model", "cancer", "--workers", "2", "--log-format", "json")
    try:
        process.wait_until_ready()
        process.wait(lambda: len(process.workers()) == 2, "there are two workers")
        with process.client() as client:
            assert answering(process.url) == {"1"}
            client.load("cancer", 2)
            # Whoever is asked for the version now has it, not only the one that was told.
            for _ in range(12):
                assert client.model_ready("cancer", 2)
            began = time.monotonic()
            assert client.activate("cancer", 2)["active"] == 2
            assert answering(process.url) == {"2"}
            assert time.monotonic() - began < 5

            counted = requests_counted(process.url)
            assert counted == 48
            victim = process.workers()[0]
            os.kill(victim, signal.SIGKILL)
            process.wait(lambda: len(process.workers()) == 2 and victim not in process.workers(), "it is replaced")
            # The other one answers meanwhile, and the new one knows what was activated before it was there.
            assert answering(process.url) == {"2"}
            process.wait(lambda: process.log.read_text().count("Loaded models:/cancer/2") >= 3, "it has loaded it")
            time.sleep(1)
            assert answering(process.url) == {"2"}
            assert requests_counted(process.url) == 96
            # That the alias is taken away is seen by each for itself.
            Registry(RegistrySettings(str(storage))).client.delete_registered_model_alias("cancer", "champion")
            process.wait(lambda: statuses(process.url) == {404}, "no version answers", 10)
        assert process.stop() == 0
    finally:
        process.kill()
    assert prediction_log.read(str(storage), "cancer").count().execute() >= 96
    assert list((storage / "write-ahead").iterdir()) == []


def test_workers_do_not_outlive_who_started_them(storage: Path) -> None:
    process = LiveGateway.launch(storage, "--model", "cancer", "--workers", "2")
    try:
        process.wait(lambda: len(process.workers()) == 2, "there are two workers")
        process.wait_until_ready()
        own = process.workers()
    finally:
        process.kill()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in own):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("cut", [0, 5])
def test_the_channel_is_read_in_order_and_without_what_is_half_written(tmp_path: Path, cut: int) -> None:
    first = WorkerChannel(str(tmp_path))
    changes = [Change("load", "m", 1), Change("activate", "m", 1, champion=True, alias=1), Change("compact")]
    positions = [first.announce(change) for change in changes]
    assert first.unread() == list(zip(changes, positions, strict=True))
    first.acknowledge(positions[1])
    assert first.unread() == [(changes[2], positions[2])]
    if cut:
        path = tmp_path / "changes.jsonl"
        path.write_bytes(path.read_bytes()[:-cut])
        assert first.unread() == []


def test_who_waits_for_the_others_does_not_wait_for_the_dead(tmp_path: Path) -> None:
    import asyncio

    first = WorkerChannel(str(tmp_path))
    position = first.announce(Change("load", "m", 1))
    (tmp_path / "1.position").write_text("0")
    first.acknowledge(position)
    assert not asyncio.run(first.wait_until_applied(position, 0.1))
    worker_channel.remove_worker(str(tmp_path), 1)
    assert asyncio.run(first.wait_until_applied(position, 0.1))
