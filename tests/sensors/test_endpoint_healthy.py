from __future__ import annotations

import math
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.sensors.endpoint_healthy import EndpointHealthySensor
from airflow_provider_mlops.serving.gateway.http.request_counts import RequestCounts
from airflow_provider_mlops.serving.traffic.replay import Replay
from airflow_provider_mlops.serving.traffic.traffic import Traffic
from airflow_provider_mlops.triggers.endpoint_healthy import EndpointHealthyTrigger
from tests.helpers.airflow.session import roundtrip
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import customers, records

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("rows") / "customers.parquet")
    pq.write_table(customers(100, seed=3), path)
    return path


@pytest.fixture
def active(served: LiveGateway) -> LiveGateway:
    with served.client() as client:
        client.activate("churn", 1)
    return served


def send(gateway: LiveGateway, rows: str, requests: int) -> Any:
    return Replay(Traffic(rows, "churn", gateway.url, rate=1000, requests=requests)).run()


@contextmanager
def full_disk(gateway: LiveGateway) -> Iterator[None]:
    """The gateway can write no file meanwhile, and so it answers no prediction."""
    (worker,) = gateway.workers()
    before = resource.prlimit(worker, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    yield
    resource.prlimit(worker, resource.RLIMIT_FSIZE, before)


def trigger(**options: Any) -> EndpointHealthyTrigger:
    return roundtrip(
        EndpointHealthyTrigger(model_name="churn", **{"min_requests": 20, "consecutive_checks": 2, **options})
    )


def test_it_is_healthy_for_so_many_looks_with_enough_requests(active, rows):
    looking = trigger()
    send(active, rows, 30)
    assert looking.check() is None, "what came before the first look does not count"
    send(active, rows, 15)
    assert looking.check() is None, "too few requests"
    send(active, rows, 5)
    assert looking.check() is None, "healthy for one look"
    send(active, rows, 25)
    found = looking.check()
    latency = found.pop("latency_ms")
    url = f"{active.url}/v2/models/churn/infer"
    assert found == {"model_name": "churn", "version": 1, "url": url, "requests": 25, "error_rate": 0.0}
    assert 0 < latency < 10_000


def test_errors_make_it_begin_anew(active, rows):
    looking = trigger(max_error_rate=0.5)
    looking.check()
    send(active, rows, 20)
    assert looking.check() is None
    with full_disk(active):
        assert send(active, rows, 20).refused == {503: 20}
    assert looking.check() is None
    send(active, rows, 20)
    assert looking.check() is None, "healthy for the first look again"
    with full_disk(active):
        send(active, rows, 5)
    send(active, rows, 15)
    found = looking.check()
    assert (found["requests"], found["error_rate"]) == (20, 0.25)


def test_refused_rows_and_checks_are_no_errors(active, rows):
    looking = trigger(consecutive_checks=1, min_requests=1)
    looking.check()
    with active.client() as client:
        with pytest.raises(InvalidSpecError):
            client.infer("churn", [{"age": "old"}])
        client.infer("churn", records(customers(1, seed=3)), verification=True)
    found = looking.check()
    assert (found["requests"], found["error_rate"], found["latency_ms"]) == (1, 0.0, None)


def test_it_is_too_slow(active, rows):
    looking = trigger(consecutive_checks=1, max_latency_ms=0.001)
    looking.check()
    send(active, rows, 20)
    assert looking.check() is None
    looking.max_latency_ms = 60_000
    send(active, rows, 20)
    assert looking.check()["requests"] == 20


def test_another_version_and_another_gateway_begin_anew(active, rows):
    looking, second = trigger(consecutive_checks=1), trigger(consecutive_checks=1, version=2)
    looking.check()
    assert second.check() is None
    send(active, rows, 20)
    with active.client() as client:
        client.activate("churn", 2)
    assert looking.check() is None
    assert second.check() is None
    send(active, rows, 20)
    assert looking.check()["requests"] == second.check()["requests"] == 20

    send(active, rows, 20)
    active.kill()
    with pytest.raises(BackendUnavailableError):
        looking.check()
    active.start()
    with active.client() as client:
        client.activate("churn", 1)
    assert looking.check() is None
    send(active, rows, 20)
    assert looking.check()["requests"] == 20


def test_numbers_of_prometheus():
    text = """
# TYPE mlops_requests_total counter
mlops_requests_total{model="churn",version="1",arm="champion",status="200"} 90.0
mlops_requests_total{model="churn",version="2",arm="candidate",status="503"} 10.0
mlops_requests_total{model="churn",version="1",arm="verification",status="500"} 7.0
mlops_requests_total{model="price",version="1",arm="champion",status="500"} 5.0
# TYPE mlops_request_seconds histogram
mlops_request_seconds_bucket{model="churn",version="1",arm="champion",le="0.01"} 45.0
mlops_request_seconds_bucket{model="churn",version="1",arm="champion",le="0.1"} 89.0
mlops_request_seconds_bucket{model="churn",version="1",arm="champion",le="+Inf"} 90.0
"""
    both, first = RequestCounts.parse(text, "churn"), RequestCounts.parse(text, "churn", 1)
    assert (both.requests, both.failed, both.error_rate) == (100, 10, 0.1)
    assert (first.requests, first.failed, first.error_rate) == (90, 0, 0.0)
    assert both.quantile(0.5) == 0.01
    assert both.quantile(0.25) == 0.005
    assert both.quantile(0.999) == math.inf
    assert RequestCounts().quantile(0.5) is None
    assert both.since(both).requests == 0
    assert both.since(first).failed == 10
    assert first.since(both) is None


@pytest.mark.parametrize(
    "options",
    [
        *({"max_error_rate": 2}, {"quantile": 0}, {"consecutive_checks": 0}, {"min_requests": 0}),
        {"mode": "reschedule"},
    ],
)
def test_options_that_cannot_be(options):
    (name,) = options
    with pytest.raises(InvalidSpecError, match=name):
        EndpointHealthySensor(task_id="wait", model_name="churn", deferrable=False, **options)


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_sensor_waits_until_it_is_healthy(run_dag, active, rows, deferrable):
    with DAG(dag_id=f"healthy_{deferrable}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as built:
        EndpointHealthySensor(
            task_id="wait",
            model_name="churn",
            version="{{ 1 }}",
            min_requests=5,
            consecutive_checks=2,
            poke_interval=0.2,
            deferrable=deferrable,
        )
    traffic = Replay(Traffic(rows, "churn", active.url, rate=50, repeat=True, seconds=120))
    thread = threading.Thread(target=traffic.run, daemon=True)
    thread.start()
    try:
        ran = run_dag(built)
    finally:
        traffic.stop()
        thread.join(30)
    assert ran.state == "success"
    found = ran.xcoms("wait")["return_value"]
    assert (found["version"], found["error_rate"]) == (1, 0.0)
    assert found["requests"] >= 5
