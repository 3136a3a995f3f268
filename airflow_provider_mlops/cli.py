"""The command line: `airflow-mlops serve` and `airflow-mlops step`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

app = typer.Typer(
    name="airflow-mlops",
    help="The serving gateway and the lifecycle steps of airflow-provider-mlops, without Airflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one and logs it.")] = 8710,
    storage_uri: Annotated[
        str | None,
        typer.Option(
            envvar=["AIRFLOW_MLOPS_STORAGE_URI", "AIRFLOW__MLOPS__STORAGE_URI"],
            help="Where the prediction log goes: a directory or any fsspec URI. "
            "By default AIRFLOW_HOME/mlops, as for the steps.",
            show_default=False,
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow's tracking URI. By default the SQLite database under the storage URI.",
            show_default=False,
        ),
    ] = None,
    registry_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_REGISTRY_URI",
            help="MLflow's model registry, where it is another one than the tracking URI.",
            show_default=False,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="AIRFLOW_MLOPS_GATEWAY_TOKEN",
            help="The bearer token of the admin API. Without one, the gateway makes one and keeps it in the file "
            "gateway.token in the storage directory, where the steps that share it find it.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    rollout_store: Annotated[
        str | None,
        typer.Option(
            envvar=["AIRFLOW_MLOPS_ROLLOUT_STORE", "AIRFLOW__MLOPS__ROLLOUT_STORE_URL"],
            help="The SQLAlchemy URL of the database in which rollouts are kept: PostgreSQL where several machines "
            "serve. By default SQLite under the storage URI.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model to serve; may be given several times. By default all that have a champion."),
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load pickled models too, which runs whatever code they bring along.")
    ] = False,
    worker_count: Annotated[
        int, typer.Option("--workers", min=1, max=64, help="How many processes serve, all on the same port.")
    ] = 1,
    log_format: Annotated[
        str, typer.Option(help="How the gateway's own log is written: text, or json with one object a line.")
    ] = "text",
    threads: Annotated[int, typer.Option(min=1, help="How many threads predict.")] = 1,
    prediction_log: Annotated[
        bool, typer.Option("--prediction-log/--no-prediction-log", help="Whether predictions are logged.")
    ] = True,
    maximum_requests: Annotated[
        int, typer.Option(min=1, help="How many requests for predictions may be under way; others get 429.")
    ] = 1024,
    maximum_waiting: Annotated[
        int, typer.Option(min=1, help="How many of them may wait for one version; others get 429.")
    ] = 512,
    maximum_body_bytes: Annotated[int, typer.Option(min=1024, help="The largest body of a request.")] = 16
    * 1024
    * 1024,
    predict_seconds: Annotated[
        float, typer.Option(min=0.1, help="After how long a prediction is given up and answered with 503.")
    ] = 60.0,
    poll_seconds: Annotated[
        float, typer.Option(min=0.05, help="How often MLflow is asked whether a champion has changed.")
    ] = 2.0,
    compact_seconds: Annotated[
        float, typer.Option(min=0.05, help="How often the prediction log is compacted to Parquet.")
    ] = 300.0,
) -> None:
    """Answer predictions over HTTP, log them, and take labels, until SIGTERM or Ctrl-C."""
    # One thread for each prediction: more of them for a few rows would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from airflow_provider_mlops.errors import MlopsError
    from airflow_provider_mlops.serving.gateway import logs, server, workers
    from airflow_provider_mlops.serving.gateway.settings import Settings

    if log_format not in logs.FORMATS:
        raise typer.BadParameter(f"{log_format!r} is neither text nor json", param_hint="--log-format")
    logs.configure(log_format)
    settings = Settings(
        storage_uri=storage_uri
        or os.path.join(os.environ.get("AIRFLOW_HOME") or os.path.expanduser("~/airflow"), "mlops"),
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
        token=token or None,
        rollout_store=rollout_store or None,
        models=tuple(model or ()),
        allow_pickle=allow_pickle,
        threads=threads,
        prediction_log=prediction_log,
        maximum_requests=maximum_requests,
        maximum_waiting=maximum_waiting,
        maximum_body_bytes=maximum_body_bytes,
        predict_seconds=predict_seconds,
        poll_seconds=poll_seconds,
        compact_seconds=compact_seconds,
    )
    try:
        if worker_count == 1:
            server.run(settings, host, port)
        else:
            raise typer.Exit(workers.run(settings, host, port, worker_count, log_format))
    except MlopsError as error:
        typer.echo(f"airflow-mlops serve: {error}", err=True)
        raise typer.Exit(2) from error


@app.command()
def step(
    request: Annotated[str, typer.Argument(help="A JSON file with step, spec and workspace; any fsspec URI.")],
    result: Annotated[str, typer.Argument(help="Where the result or the error is written as JSON.")],
) -> None:
    """Carry out one step of the lifecycle; the same as `python -m airflow_provider_mlops.lifecycle`."""
    from airflow_provider_mlops.lifecycle.__main__ import main

    raise typer.Exit(main([request, result]))


if __name__ == "__main__":
    app()
