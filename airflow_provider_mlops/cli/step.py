"""`airflow-mlops step`: run one step of the lifecycle."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def step(
    request: Annotated[
        str, typer.Argument(help="JSON file with `step`, `spec` and `workspace`: a path or any fsspec URI.")
    ],
    result: Annotated[str, typer.Argument(help="Path or URI of the JSON file for the result or the error.")],
) -> None:
    """Run one step of the lifecycle.

    Does the same as `python -m airflow_provider_mlops.lifecycle`. The exit code is 0 with a result, 1 if the step
    failed with a known error, and 2 with any other error. If the request itself is invalid, nothing is run or written.
    """
    from airflow_provider_mlops.data import storage
    from airflow_provider_mlops.errors import BY_NAME
    from airflow_provider_mlops.lifecycle.__main__ import main, read_request
    from airflow_provider_mlops.lifecycle.step import load

    load(read_request(request)["step"])
    code = main([request, result])
    error = json.loads(storage.read_text(result)).get("error")
    if error:
        # The log on standard output does not name the error: a runtime reads it from the result.
        typer.echo(f"airflow-mlops step: {BY_NAME[error['type']](*error['args'])}", err=True)
    raise typer.Exit(code)
