"""Deadlines, several workers, rollouts, and the end of a gateway, seen from its gRPC port."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.protocols.grpc import open_inference as messages
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import canary
from tests.helpers.rollouts_in_gateway import HALF, Serve, begin
from tests.helpers.serving.broken_versions import LARGE
from tests.helpers.serving.grpc_client import GrpcClient, request, tensor
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER

CODES = grpc.StatusCode


def one(row: int, version: str = "") -> messages.ModelInferRequest:
    """A request with one row."""
    values = CANCER.iloc[row % len(CANCER)].tolist()
    return request("cancer", tensor("x", "FP64", [1, 30], fp64_contents=values), model_version=version)


def that_hangs(version: str) -> messages.ModelInferRequest:
    """A request on which the broken version hangs."""
    contents = tensor("x", "FP64", [1, 30], fp64_contents=LARGE["instances"][0])
    return request("cancer", contents, model_version=version)


def test_a_deadline_ends_a_request_and_not_the_version(serve: Serve, broken: dict[str, str]) -> None:
    gateway = serve("--grpc-port", "0", "--allow-pickle", "--predict-seconds", "60", **broken)
    with gateway.client() as admin:
        admin.load("cancer", 7)
    client = GrpcClient(gateway.grpc_address)
    with pytest.raises(grpc.RpcError) as raised:
        client.infer(that_hangs("7"), timeout=1.5)
    assert raised.value.code() is CODES.DEADLINE_EXCEEDED

    def failures() -> int:
        asked = messages.ModelStatisticsRequest(name="cancer", version="7")
        return int(client.ask("ModelStatistics", asked).model_stats[0].inference_stats.fail.count)

    gateway.wait(lambda: failures() == 1)
    assert 'status="504"' in httpx.get(f"{gateway.url}/metrics").text
    # The champion still answers, and the request that was given up is not in the log.
    response, _ = client.infer(one(0))
    log = prediction_log.read(str(gateway.storage), "cancer").execute()
    assert log["version"].tolist() == [1]
    assert log["prediction_id"].tolist() == [response.parameters["prediction_id"].string_param]
    client.close()


def test_two_workers_share_the_port_and_stop_without_losing_requests(storage: Path) -> None:
    gateway = LiveGateway.launch(storage, "--grpc-port", "0", "--workers", "2").wait_until_ready()
    try:
        answered: list[str] = []
        failed: list[grpc.StatusCode] = []
        stopping = threading.Event()

        def ask() -> None:
            while not stopping.is_set():
                # A new connection, which the kernel gives to one of the workers.
                client = GrpcClient(gateway.grpc_address, use_local_subchannel_pool=1)
                try:
                    response, _ = client.infer(one(len(answered)), timeout=30)
                    answered.append(response.parameters["prediction_id"].string_param)
                except grpc.RpcError as error:
                    failed.append(error.code())
                    time.sleep(0.05)
                finally:
                    client.close()

        gateway.wait(lambda: _both_serve(gateway))
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        gateway.wait(lambda: len(answered) > 60)
        assert not failed
        assert gateway.stop() == 0
        stopping.set()
        for thread in threads:
            thread.join()
        # New connections are refused, and gRPC cancels calls that arrive while it closes the port.
        assert set(failed) <= {CODES.UNAVAILABLE, CODES.CANCELLED}
        log = prediction_log.read(str(storage), "cancer").execute()
        assert set(answered) <= set(log["prediction_id"])
    finally:
        gateway.kill()


def _both_serve(gateway: LiveGateway) -> bool:
    """Return whether several new connections all find a worker."""
    for _ in range(6):
        client = GrpcClient(gateway.grpc_address, use_local_subchannel_pool=1)
        try:
            if not client.ask("ServerReady", timeout=10).ready:
                return False
        except grpc.RpcError:
            return False
        finally:
            client.close()
    return True


def test_a_rollout_divides_calls_as_it_divides_http_requests(serve: Serve, store: RolloutStore) -> None:
    gateway = serve("--grpc-port", "0")
    begin(store, gateway, canary(strategy=HALF))
    client = GrpcClient(gateway.grpc_address)
    versions = {client.infer(one(row))[0].model_version for row in range(60)}
    assert versions == {"1", "2"}
    log = prediction_log.read(str(gateway.storage), "cancer").execute()
    arms = log.set_index("version")["arm"].to_dict()
    assert arms == {1: "champion", 2: "candidate"}
    np.testing.assert_allclose(log["propensity"], 0.5)
    client.close()
