"""The three servers of a complete installation, MLflow, the gateway and Airflow, and traffic for them."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from airflow_provider_mlops.serving.client.credentials import KEY_VARIABLE
from demo.home import Home
from demo.service import Service, free_port, stop_all

DAGS = Path(__file__).resolve().parent.parent / "dags"
_BIN = Path(sys.executable).parent


USUAL_PORTS = (5000, 8710, 8080, 8793, 8794)
"""Ports of MLflow, the gateway and Airflow's API, and of Airflow's log servers."""


class Stack:
    """An MLflow server, the serving gateway and `airflow standalone` in one directory, on free ports.

    Parameters
    ----------
    home
        The directory.
    dags
        Airflow's DAGs folder.
    preferred_ports
        Ports to use if they are free, in the order of `USUAL_PORTS`; 0 means any.
    """

    def __init__(self, home: Home, dags: Path = DAGS, preferred_ports: Sequence[int] = (0, 0, 0, 0, 0)) -> None:
        self.home = home
        ports = [free_port(preferred) for preferred in preferred_ports]
        self.mlflow_url, self.gateway_url, self.airflow_url = (f"http://127.0.0.1:{port}" for port in ports[:3])
        self.gateway_key = secrets.token_urlsafe(32)
        self.key_file = home.path / "gateway.key"
        self.storage = home.path / "storage"
        logs = home.path / "logs"
        database = f"sqlite:///{home.path / 'mlflow.db'}"
        base = _environment()
        gateway = base | {KEY_VARIABLE: self.gateway_key}
        airflow = base | self._airflow_settings(dags, *ports[2:])
        self.mlflow = Service(
            "MLflow",
            [
                sys.executable,
                "-m",
                "mlflow",
                "server",
                "--host",
                "127.0.0.1",
                "--port",
                str(ports[0]),
                "--workers",
                "1",
                "--backend-store-uri",
                database,
                "--artifacts-destination",
                str(self.storage / "mlflow-artifacts"),
            ],
            # Saves seven processes that wait for jobs that no one submits here.
            environment=base | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            log=logs / "mlflow.log",
            ready_url=f"{self.mlflow_url}/health",
        )
        self.gateway = Service(
            "The gateway",
            [
                str(_BIN / "airflow-mlops"),
                "serve",
                "--host",
                "127.0.0.1",
                "--port",
                str(ports[1]),
                "--storage-uri",
                str(self.storage),
                "--tracking-uri",
                self.mlflow_url,
                "--without-key",
                "probes",
            ],
            environment=gateway,
            log=logs / "gateway.log",
            ready_url=f"{self.gateway_url}/v2/health/live",
        )
        self.airflow = Service(
            "Airflow",
            [str(_BIN / "airflow"), "standalone"],
            environment=airflow,
            log=logs / "airflow.log",
            ready_url=f"{self.airflow_url}/api/v2/monitor/health",
        )

        self._with_key = gateway
        self.traffic: Service | None = None

    def start_traffic(self, arguments: Sequence[str]) -> Service:
        """Start `airflow-mlops traffic` against the gateway in the background, and return it."""
        command = [str(_BIN / "airflow-mlops"), "traffic", *arguments, "--gateway", self.gateway_url]
        self.traffic = Service(
            "The traffic", command, environment=self._with_key, log=self.home.path / "logs" / "traffic.log"
        )
        self.traffic.start(self.home)
        return self.traffic

    def add_settings(self, settings: Mapping[str, str]) -> None:
        """Give Airflow more environment variables. Call it before `start`."""
        self.airflow.environment.update(settings)

    def start(self) -> Iterator[tuple[Service, float]]:
        """Start everything. Yields each server, with the seconds it may take, when the caller must wait for it."""
        self.storage.mkdir(parents=True, exist_ok=True)
        self.key_file.touch(0o600)
        self.key_file.write_text(self.gateway_key)
        self.mlflow.start(self.home)
        self.airflow.start(self.home)
        yield self.mlflow, 90
        self.gateway.start(self.home)
        yield self.gateway, 60
        yield self.airflow, 240

    def stop(self) -> None:
        """End everything that was started."""
        stop_all([service for service in (self.traffic, self.airflow, self.gateway, self.mlflow) if service])

    def _airflow_settings(self, dags: Path, api: int, worker_logs: int, trigger_logs: int) -> dict[str, str]:
        airflow_home = self.home.path / "airflow"
        return {
            "AIRFLOW_HOME": str(airflow_home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.airflow_url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api),
            "AIRFLOW__API__BASE_URL": self.airflow_url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__EXPOSE_CONFIG": "False",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            # On a busy machine, a writer may have to wait for others longer than SQLite's five seconds.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_home / 'airflow.db'}?timeout=60",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__MLOPS__STORAGE_URI": str(self.storage),
            "AIRFLOW_CONN_MLFLOW_DEFAULT": json.dumps({"conn_type": "mlflow", "host": self.mlflow_url}),
            "AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT": json.dumps(
                {"conn_type": "mlops_gateway", "host": self.gateway_url, "password": self.gateway_key}
            ),
        }


def _environment() -> dict[str, str]:
    """Return the environment without variables that point the servers at another installation."""
    dropped = ("AIRFLOW", "_AIRFLOW", "MLFLOW_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {
        "PATH": f"{_BIN}:{os.environ.get('PATH', '')}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GX_ANALYTICS_ENABLED": "false",
    }
