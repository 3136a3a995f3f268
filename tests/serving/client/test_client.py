"""The client against what is no gateway, and the key that a gateway makes for itself."""

from __future__ import annotations

import os
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.gateway.access import local_key
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CUSTOMERS, churn_model


def test_a_gateway_that_is_away() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with GatewayClient(f"http://127.0.0.1:{port}/", timeout=2) as client:
        assert not client.ready()
        assert not client.model_ready("churn")
        with pytest.raises(BackendUnavailableError, match="airflow-mlops serve"):
            client.infer("churn", CUSTOMERS.head(1))


def test_a_gateway_that_does_not_answer_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with GatewayClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3) as client:
            with pytest.raises(BackendUnavailableError, match="ReadTimeout"):
                client.models()


@pytest.mark.parametrize("url", ["gateway:8710", "ftp://gateway", ""])
def test_an_address_that_is_none(url: str) -> None:
    with GatewayClient(url) as client, pytest.raises(InvalidSpecError, match="http://host:port"):
        client.models()


def test_something_else_answers_there() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.startswith("/admin") else 404)
            self.end_headers()
            self.wfile.write(b"<html>Welcome</html>")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with GatewayClient(f"http://127.0.0.1:{server.server_port}") as client:
            with pytest.raises(InvalidSpecError, match="not a gateway"):
                client.models()
            with pytest.raises(InvalidSpecError, match="Welcome"):
                client.metadata("churn")
            assert not client.ready()
    finally:
        server.shutdown()
        server.server_close()


def test_rows_in_every_form(gateway: LiveGateway) -> None:
    rows = CUSTOMERS.head(8)
    expected = churn_model().predict(rows).tolist()
    nullable = rows.astype({"age": "Float64", "member": "boolean", "town": "string"})
    records = rows.to_dict(orient="records")
    decimals = [{**record, "income": Decimal(str(record["income"]))} for record in records]
    arrays = {name: rows[name].to_numpy() for name in rows}
    with gateway.client() as client:
        for form in (rows, nullable, records, decimals, arrays):
            answer = client.infer("churn", form)
            assert answer.output == expected
            assert (answer.model, answer.version, answer.classes) == ("churn", 1, ("no", "yes"))
            assert len(answer.prediction_ids) == 8
        nothing_known = [{**records[1], "age": None}]
        assert len(client.infer("churn", nothing_known).output) == 1
        assert client.feedback_many([(name, True) for name in answer.prediction_ids]) == 8
        assert client.feedback_many([]) == 0
        with pytest.raises(InvalidSpecError, match="infinite"):
            client.infer("churn", [{**records[1], "income": np.inf}])
        with pytest.raises(InvalidSpecError, match="'height'"):
            client.infer("churn", rows.assign(height=1.8))
        with pytest.raises(InvalidSpecError, match="'town'"):
            client.infer("churn", rows.assign(town=datetime(2026, 1, 1)).assign(town=5.0))
        with pytest.raises(InvalidSpecError, match=r"name='a name with"):
            client.infer("a name with?odd#characters", pd.DataFrame({"x": [1.0]}))
        with pytest.raises(InvalidSpecError) as raised:
            client.feedback("order-17", 1)
        assert raised.value.field == "prediction_id"


def test_the_local_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    storage = str(tmp_path / "new")
    assert local_key.find(storage) is None
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: local_key.find_or_make(storage), range(16)))
    assert made == {local_key.find(storage)}
    assert len(made.pop()) >= 32
    assert os.listdir(storage) == ["gateway.key"]
    assert stat.S_IMODE(os.stat(f"{storage}/gateway.key").st_mode) == 0o600


def test_remote_storage_keeps_no_key() -> None:
    assert local_key.find("s3://bucket/mlops") is None
    with pytest.raises(InvalidSpecError, match="AIRFLOW_MLOPS_GATEWAY_KEY"):
        local_key.find_or_make("s3://bucket/mlops")
