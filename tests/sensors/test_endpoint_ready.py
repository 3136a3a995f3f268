from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest
from airflow.sdk import DAG

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.sensors.endpoint_ready import EndpointReadySensor
from airflow_provider_mlops.triggers.endpoint_ready import EndpointReadyTrigger
from tests.helpers.airflow.session import roundtrip

pytestmark = pytest.mark.usefixtures("connection")


def dag(name: str) -> DAG:
    return DAG(dag_id=name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


def test_it_waits_until_the_version_answers(served):
    any_version = EndpointReadyTrigger(model_name="churn")
    assert any_version.check() is None
    with served.client() as client:
        client.load("churn", 1)
        assert any_version.check() is None
        client.activate("churn", 1)
        url = f"{served.url}/v2/models/churn/infer"
        assert any_version.check() == {"model_name": "churn", "version": 1, "url": url}
        assert EndpointReadyTrigger(model_name="churn", version=2).check() is None
        client.activate("churn", 2)
        assert EndpointReadyTrigger(model_name="churn", version=2).check()["version"] == 2
    assert EndpointReadyTrigger(model_name="another").check() is None


def test_the_trigger_fires_once_a_version_and_survives_a_restart(served):
    trigger = roundtrip(EndpointReadyTrigger(model_name="churn", poke_interval=0.1))
    assert "hush" not in str(trigger.serialize())
    assert set(trigger.serialize()[1]) == {"model_name", "version", "gateway_conn_id", "poke_interval"}

    async def scenario() -> list[int]:
        with served.client() as client:
            client.activate("churn", 1)
            events = trigger.run()
            first = await asyncio.wait_for(anext(events), 20)
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            client.activate("churn", 2)
            second = await asyncio.wait_for(waiting, 20)
        return [first.payload["version"], second.payload["version"]]

    assert asyncio.run(scenario()) == [1, 2]


def test_a_gateway_that_is_away_raises_what_the_trigger_waits_for(monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT", '{"conn_type": "mlops_gateway", "host": "http://127.0.0.1:1"}'
    )
    with pytest.raises(BackendUnavailableError):
        EndpointReadyTrigger(model_name="churn").check()


def test_the_sensor_defers_until_the_version_answers(run_dag, served):
    with served.client() as client:
        client.activate("churn", 1)
    with dag("endpoint") as built:
        EndpointReadySensor(
            task_id="wait", model_name="churn", version="{{ 1 + 1 }}", poke_interval=0.2, deferrable=True
        )

    def later() -> None:
        with served.client() as client:
            client.activate("churn", 2)

    timer = threading.Timer(6, later)
    timer.start()
    ran = run_dag(built)
    timer.join()
    assert ran.state == "success"
    assert ran.xcoms("wait")["return_value"]["version"] == 2
