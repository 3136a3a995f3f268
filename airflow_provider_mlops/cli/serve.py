"""`airflow-mlops serve`: run the gateway."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from airflow_provider_mlops import extras
from airflow_provider_mlops.cli.options import OptionDetails, with_fields_of
from airflow_provider_mlops.cli.storage_options import ROLLOUT_STORE, STORAGE
from airflow_provider_mlops.serving.defaults import DEFAULT_PORT
from airflow_provider_mlops.serving.gateway.settings import Settings


@with_fields_of(
    Settings,
    {
        "storage_uri": STORAGE,
        "tracking_uri": OptionDetails(environment=["MLFLOW_TRACKING_URI"]),
        "registry_uri": OptionDetails(environment=["MLFLOW_REGISTRY_URI"]),
        "keys": OptionDetails(environment=["AIRFLOW_MLOPS_GATEWAY_KEYS"]),
        "cors_origins": OptionDetails(name="--cors-origin"),
        "rollout_store": ROLLOUT_STORE,
        "models": OptionDetails(name="--model"),
        "trusted_types": OptionDetails(name="--trusted-type"),
    },
)
def serve(
    settings: Settings,
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 chooses a free port and logs it.", metavar="PORT")
    ] = DEFAULT_PORT,
    worker_count: Annotated[
        int,
        typer.Option("--workers", min=1, max=64, help="Number of processes that serve on the same port.", metavar="N"),
    ] = 1,
    max_worker_memory: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Resident memory in MiB above which a worker is replaced, after it has answered its requests; for "
            "models whose memory grows. By default, there is no limit.",
            metavar="MIB",
        ),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="Format of the gateway's own log; json writes one object per line.")
    ] = "text",
) -> None:
    """Run the gateway.

    It answers prediction requests, logs them and accepts labels, until SIGTERM or Ctrl-C.
    """
    # One thread per prediction: for a few rows, more of them would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    extras.require("The command serve", "serving")
    if settings.grpc_port is not None:
        extras.require("The option --grpc-port", "grpc")
    from airflow_provider_mlops.serving.gateway.workers import logs, workers

    logs.configure(log_format)
    max_worker_bytes = None if max_worker_memory is None else max_worker_memory << 20
    raise typer.Exit(workers.run(settings, port, worker_count, max_worker_bytes=max_worker_bytes))
