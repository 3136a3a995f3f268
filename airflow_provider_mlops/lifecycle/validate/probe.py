"""Try a packaged model in a fresh process: `python -m airflow_provider_mlops.lifecycle.validate.probe DIRECTORY`.

A fresh process finds dependencies that are missing in the package: a class that is defined only in a notebook, a module
that happened to be imported, a file that exists only on one machine. The process gets only the files of the version. It
loads them as a server does, predicts the recorded rows and the input example, and times predictions of one row.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import InvalidSpecError, describe_error
from airflow_provider_mlops.lifecycle.scoring.evaluation import PredictedValues

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion

log = logging.getLogger(__name__)

_WARM_UP = 10
_TAIL = 600
_REQUEST, _ROWS, _RESULT = "request.json", "rows.parquet", "result.json"


class ProbeRequest(BaseModel):
    """The instructions for the fresh process."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_directory: str
    predictions: int
    allow_pickle: bool
    trusted_types: tuple[str, ...] = ()
    storage_uri: str | None = None


class ProbeResult(BaseModel):
    """The measurements in the fresh process. If any is None, `error` has the reason."""

    model_config = ConfigDict(frozen=True)

    megabytes: float | None = None
    load_seconds: float | None = None
    peak_megabytes: float | None = None
    rows: PredictedValues | None = None
    input_example: PredictedValues | None = None
    latencies_ms: tuple[float, ...] | None = None
    error: str | None = None


def probe(
    registry: Registry, model: ModelVersion, rows_uri: str, *, predictions: int, allow_pickle: bool, timeout: float
) -> ProbeResult:
    """Start a process that loads the version and predicts with it, and wait for the result.

    If the model does not load, or if the process crashes or takes too long, the result has an `error`.

    Parameters
    ----------
    rows_uri
        Parquet file with the recorded rows.
    predictions
        Number of predictions of one row to time.
    timeout
        Time limit of the process in seconds.

    Raises
    ------
    BackendUnavailableError
        If the files of the version cannot be fetched.
    InvalidSpecError
        If the recorded rows do not exist anymore.
    """
    from airflow_provider_mlops.registry import models

    started = time.monotonic()
    try:
        rows = storage.read_bytes(rows_uri)
    except FileNotFoundError:
        raise InvalidSpecError(
            "evaluation_uri", rows_uri, "the example rows of the evaluation do not exist. Run the evaluate step again"
        ) from None
    with models.downloaded(registry, model) as files, tempfile.TemporaryDirectory(prefix="mlops-probe-") as directory:
        size = _megabytes(files)
        request = ProbeRequest(
            model_directory=str(files),
            predictions=predictions,
            allow_pickle=allow_pickle,
            trusted_types=registry.trusted_types,
            storage_uri=registry.storage_uri,
        )
        Path(directory, _REQUEST).write_text(request.model_dump_json())
        Path(directory, _ROWS).write_bytes(rows)
        result = _run_process(directory, timeout)
    log.info("Loaded and tested %s in a fresh process in %.1f s", model, time.monotonic() - started)
    return result.model_copy(update={"megabytes": size})


def measure(registry: Registry, model: ModelVersion) -> ProbeResult:
    """Measure the size of the version's files without loading the model."""
    from airflow_provider_mlops.registry import models

    with models.downloaded(registry, model) as files:
        return ProbeResult(megabytes=_megabytes(files))


def _megabytes(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 1e6


def _run_process(directory: str, timeout: float) -> ProbeResult:
    try:
        process = subprocess.run(
            [sys.executable, "-m", "airflow_provider_mlops.lifecycle.validate.probe", directory],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            # As the gateway predicts: for a few rows, more threads would only wait for each other.
            env={"OMP_NUM_THREADS": "1", **os.environ},
        )
    except subprocess.TimeoutExpired:
        return ProbeResult(error=f"the process did not load the model and predict within {timeout:g} s")
    written = Path(directory, _RESULT)
    if not written.exists():
        return ProbeResult(error=f"the process exited with code {process.returncode}: {_tail(process.stdout)}")
    return ProbeResult.model_validate_json(written.read_text())


def main(directory: str) -> None:
    """Run the request in `directory` and write the result there; the entry point of the fresh process."""
    request = ProbeRequest.model_validate_json(Path(directory, _REQUEST).read_text())
    result = load_and_predict(request, os.path.join(directory, _ROWS))
    storage.write_text(os.path.join(directory, _RESULT), result.model_dump_json())


def load_and_predict(request: ProbeRequest, rows_path: str) -> ProbeResult:
    """Load the model from its files and predict, in this process. Any error becomes the `error` of the result."""
    import resource

    result: dict[str, Any] = {}
    try:
        from mlflow.models import Model

        from airflow_provider_mlops.registry import packaging
        from airflow_provider_mlops.registry.model_output import predict

        started = time.monotonic()
        model = packaging.read(
            request.model_directory,
            allow_pickle=request.allow_pickle,
            trusted_types=request.trusted_types,
            storage_uri=request.storage_uri,
        )
        result["load_seconds"] = time.monotonic() - started
        described = Model.load(request.model_directory)
        if described.signature is None:
            raise InvalidSpecError(
                "model",
                request.model_directory,
                "the model was saved without a signature. Train it with the train step",
            )
        rows = _rows(rows_path, described.signature.inputs.input_names())
        result["rows"] = tuple(predict(model, rows)[0].tolist())
        result["latencies_ms"] = _latencies(model, rows, request.predictions)
        result["input_example"] = _predict_input_example(model, described, request.model_directory)
    except Exception as error:
        result["error"] = describe_error(error)[:_TAIL]
    # The unit is kibibytes on Linux and bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    result["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return ProbeResult(**result)


def _rows(path: str, features: list[str]) -> Any:
    import pyarrow.parquet

    from airflow_provider_mlops.registry.rows import feature_rows

    return feature_rows(pyarrow.parquet.read_table(path), features)


def _predict_input_example(model: Any, described: Any, directory: str) -> PredictedValues:
    from airflow_provider_mlops.registry.model_output import predict
    from airflow_provider_mlops.registry.rows import conform

    if not described.saved_input_example_info:
        raise InvalidSpecError(
            "model", directory, "the model was saved without an input example. Train it with the train step"
        )
    example = conform(described.load_input_example(directory), described.signature)
    return tuple(predict(model, example)[0].tolist())


def _latencies(model: Any, rows: Any, number: int) -> tuple[float, ...]:
    """Return how long `number` predictions of one row took, in milliseconds each, after a warm-up."""
    single = [rows.iloc[[position]] for position in range(len(rows))]
    times = []
    for row in islice(cycle(single), _WARM_UP + number):
        started = time.perf_counter()
        model.predict(row)
        times.append((time.perf_counter() - started) * 1000)
    return tuple(times[_WARM_UP:])


def _tail(output: str) -> str:
    lines = [line for line in output.strip().splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-_TAIL:] or "no output"


if __name__ == "__main__":
    main(sys.argv[1])
