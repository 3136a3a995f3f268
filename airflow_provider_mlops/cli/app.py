"""The command line: `airflow-mlops serve`, `traffic`, `report` and `step`."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="airflow-mlops",
    help="The serving gateway and the lifecycle steps of airflow-provider-mlops, without Airflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


StorageUri = Annotated[
    str | None,
    typer.Option(
        envvar=["AIRFLOW_MLOPS_STORAGE_URI", "AIRFLOW__MLOPS__STORAGE_URI"],
        help="Where the prediction log lies: a directory or any fsspec URI. "
        "By default AIRFLOW_HOME/mlops, as for the steps.",
        show_default=False,
    ),
]
RolloutStoreUrl = Annotated[
    str | None,
    typer.Option(
        envvar=["AIRFLOW_MLOPS_ROLLOUT_STORE", "AIRFLOW__MLOPS__ROLLOUT_STORE_URL"],
        help="The SQLAlchemy URL of the database in which rollouts are kept: PostgreSQL where several machines "
        "serve. By default SQLite under the storage URI.",
        show_default=False,
        show_envvar=True,
    ),
]


def _default_storage() -> str:
    return os.path.join(os.environ.get("AIRFLOW_HOME") or os.path.expanduser("~/airflow"), "mlops")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one and logs it.")] = 8710,
    storage_uri: StorageUri = None,
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
    rollout_store: RolloutStoreUrl = None,
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
    threads: Annotated[int, typer.Option(min=1, help="How many threads predict with each version.")] = 1,
    prediction_log: Annotated[
        bool, typer.Option("--prediction-log/--no-prediction-log", help="Whether predictions are logged.")
    ] = True,
    max_requests: Annotated[
        int, typer.Option(min=1, help="How many requests for predictions may be under way; others get 429.")
    ] = 1024,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="How many of them may wait for one version; others get 429.")
    ] = 512,
    max_body_bytes: Annotated[int, typer.Option(min=1024, help="The largest body of a request.")] = 16 * 1024 * 1024,
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
    from airflow_provider_mlops.serving.gateway.settings import Settings
    from airflow_provider_mlops.serving.gateway.workers import logs, server, workers

    if log_format not in logs.FORMATS:
        raise typer.BadParameter(f"{log_format!r} is neither text nor json", param_hint="--log-format")
    logs.configure(log_format)
    settings = Settings(
        storage_uri=storage_uri or _default_storage(),
        tracking_uri=tracking_uri,
        registry_uri=registry_uri,
        token=token or None,
        rollout_store=rollout_store or None,
        models=tuple(model or ()),
        allow_pickle=allow_pickle,
        threads=threads,
        prediction_log=prediction_log,
        max_requests=max_requests,
        max_waiting=max_waiting,
        max_body_bytes=max_body_bytes,
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
def traffic(
    dataset: Annotated[str, typer.Argument(help="A dataset's URI, or a Parquet or CSV file.")],
    model: Annotated[str, typer.Argument(help="The model's name.")],
    gateway_url: Annotated[
        str, typer.Option("--gateway", envvar="AIRFLOW_MLOPS_GATEWAY_URL", help="Where the gateway listens.")
    ] = "http://127.0.0.1:8710",
    rate: Annotated[float, typer.Option(help="Requests/s, whether or not earlier ones are answered.")] = 10.0,
    even: Annotated[bool, typer.Option("--even", help="Send at equal distances, not at random times.")] = False,
    seed: Annotated[int, typer.Option(help="Of the times, and of which rows get a label.")] = 0,
    rows: Annotated[int, typer.Option(help="Rows in a request.")] = 1,
    requests: Annotated[int | None, typer.Option(help="Send at most so many requests.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Send for so long.")] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Begin again when the dataset ends.")] = False,
    clients: Annotated[int, typer.Option(help="Requests under way at most, each on a connection.")] = 16,
    timeout: Annotated[float, typer.Option(help="Seconds after which a request is given up.")] = 30.0,
    header: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=COLUMN: send a column as a header, such as X-User-Id=user. May be given several times."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column with the labels.")] = None,
    label_delay: Annotated[float, typer.Option(help="Seconds from an answer to its label.")] = 0.0,
    label_share: Annotated[float, typer.Option(help="The share of the rows that get a label.")] = 1.0,
    label_patience: Annotated[float, typer.Option(help="For how long a label is sent again that fails.")] = 60.0,
    reward: Annotated[str | None, typer.Option(help="The column with the rewards.")] = None,
    reward_from: Annotated[
        str | None, typer.Option(help="correct: the reward is 1 where the answer is the label, else 0.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where the summary goes, as JSON.", dir_okay=False)
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(help="A file for each answer, failure and acknowledged label: a JSON object a line, at once."),
    ] = None,
) -> None:
    """Replay a dataset against the gateway at a given rate, with labels after a given delay. Ctrl-C ends it."""
    from rich.console import Console

    from airflow_provider_mlops.errors import MlopsError
    from airflow_provider_mlops.serving.traffic.progress import ProgressBar
    from airflow_provider_mlops.serving.traffic.replay import Replay
    from airflow_provider_mlops.serving.traffic.traffic import Traffic

    if json_file is not None and not json_file.absolute().parent.is_dir():
        # Said before a long replay, and not after it.
        raise typer.BadParameter(f"there is no directory for {str(json_file)!r}: make it first", param_hint="--json")
    console = Console(stderr=True, highlight=False)
    try:
        given = Traffic(
            dataset,
            model,
            gateway_url,
            rate=rate,
            even=even,
            seed=seed,
            rows=rows,
            requests=requests,
            seconds=seconds,
            repeat=repeat,
            clients=clients,
            timeout=timeout,
            headers=_headers(header or []),
            target=target,
            label_delay=label_delay,
            label_share=label_share,
            label_patience=label_patience,
            reward=reward,
            reward_from=reward_from,
            record=record,
        )
        with ProgressBar(console) as bar:
            summary = Replay(given, bar).run(handle_signals=True)
    except MlopsError as error:
        typer.echo(f"airflow-mlops traffic: {error}", err=True)
        raise typer.Exit(2) from error
    if json_file is not None:
        json_file.write_text(json.dumps(summary.as_json(), indent=2) + "\n")
    for line in summary.lines():
        typer.echo(line)
    # What was not answered is told; only a replay that brought nothing at all has failed.
    raise typer.Exit(130 if summary.stopped else 0 if summary.answered else 1)


def _headers(given: list[str]) -> dict[str, str]:
    headers = {}
    for text in given:
        name, equals, column = text.partition("=")
        if not (name and equals and column):
            raise typer.BadParameter(f"{text!r} is not NAME=COLUMN", param_hint="--header")
        headers[name] = column
    return headers


@app.command()
def report(
    rollout: Annotated[str, typer.Argument(help="A rollout's id, or a model's name for its newest rollout.")],
    storage_uri: StorageUri = None,
    rollout_store: RolloutStoreUrl = None,
) -> None:
    """Show a rollout: its history, what came of each arm, and what other policies would have earned."""
    from rich.console import Console

    from airflow_provider_mlops.errors import InvalidSpecError, MlopsError
    from airflow_provider_mlops.lifecycle.rollout import report as rollout_report
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url

    storage = storage_uri or _default_storage()
    try:
        with contextlib.closing(RolloutStore(rollout_store or default_url(storage))) as store:
            if not store.engine.is_there:
                raise InvalidSpecError(
                    "rollout_store_url", store.engine.address,
                    "there is no rollout store: give the gateway's --storage-uri or --rollout-store",
                )  # fmt: skip
            newest = store.of_model(rollout, limit=1)
            found = newest[0] if newest else store.get(rollout)
            rollout_report.show(Console(highlight=False), store, storage, found)
    except MlopsError as error:
        typer.echo(f"airflow-mlops report: {error}", err=True)
        raise typer.Exit(2) from error


@app.command()
def step(
    request: Annotated[str, typer.Argument(help="A JSON file with step, spec and workspace; any fsspec URI.")],
    result: Annotated[str, typer.Argument(help="Where the result or the error is written as JSON.")],
) -> None:
    """Carry out one step of the lifecycle; the same as `python -m airflow_provider_mlops.lifecycle`."""
    from airflow_provider_mlops.lifecycle.__main__ import main

    raise typer.Exit(main([request, result]))
