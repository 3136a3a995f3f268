"""`airflow-mlops traffic`: replay a dataset against the gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from airflow_provider_mlops import extras
from airflow_provider_mlops.cli.options import OptionDetails, with_fields_of
from airflow_provider_mlops.serving.traffic.traffic import Traffic


@with_fields_of(
    Traffic,
    {
        "dataset": OptionDetails(is_argument=True),
        "model": OptionDetails(is_argument=True),
        "gateway_url": OptionDetails(name="--gateway", environment=["AIRFLOW_MLOPS_GATEWAY_URL"]),
        "headers": OptionDetails(name="--header"),
    },
)
def traffic(
    replayed: Traffic,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="File for the summary as JSON.", dir_okay=False, metavar="FILE"),
    ] = None,
) -> None:
    """Replay a dataset against the gateway.

    Requests are sent at a given rate, and labels after a given delay, until the dataset ends or Ctrl-C.
    """
    extras.require("The command traffic", "serving")
    from rich.console import Console

    from airflow_provider_mlops.serving.traffic.progress import ProgressBar
    from airflow_provider_mlops.serving.traffic.replay import Replay

    if json_file is not None and not json_file.absolute().parent.is_dir():
        # Checked before a long replay, not after it.
        raise typer.BadParameter(f"the directory of {str(json_file)!r} must exist", param_hint="--json")
    with ProgressBar(Console(stderr=True, highlight=False)) as bar:
        summary = Replay(replayed, bar).run(handle_signals=True)
    if json_file is not None:
        json_file.write_text(json.dumps(summary.as_json(), indent=2) + "\n")
    for line in summary.lines():
        typer.echo(line)
    # The summary names requests without an answer; only a replay without any answer has failed.
    raise typer.Exit(130 if summary.stopped else 0 if summary.answered else 1)
