"""The packaged model in a fresh process: `python -m airflow_provider_mlops.lifecycle.validate.probe DIRECTORY`.

A process that has just been started finds what training left out: a class that is defined nowhere but in the notebook,
a package that happened to be imported, a file that is only on one machine. The process gets the version's files and
nothing else; it loads them as a server does, answers the recorded rows and the input example, and times predictions of
one row.
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
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.evaluation import Answers

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion

log = logging.getLogger(__name__)

_WARM_UP = 10
_TAIL = 600
_REQUEST, _ROWS, _FOUND = "request.json", "rows.parquet", "found.json"


class Request(BaseModel):
    """What the process is to do."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_directory: str
    predictions: int
    allow_pickle: bool


class Probed(BaseModel):
    """What was found. `error` says why what is None is not known."""

    model_config = ConfigDict(frozen=True)

    megabytes: float | None = None
    load_seconds: float | None = None
    peak_megabytes: float | None = None
    rows: Answers | None = None
    input_example: Answers | None = None
    latencies_ms: tuple[float, ...] | None = None
    error: str | None = None


def probe(
    registry: Registry, model: ModelVersion, rows_uri: str, *, predictions: int, allow_pickle: bool, timeout: float
) -> Probed:
    """Start a process that loads the version and answers, and wait for it.

    A model that does not load, a process that crashes or takes too long are findings, and not errors. Raises
    BackendUnavailableError if the version's files cannot be fetched, InvalidSpecError if the recorded rows are gone.

    :param rows_uri: the recorded rows as Parquet.
    :param predictions: how many predictions of one row to time.
    :param timeout: how many seconds the process may take.
    """
    from airflow_provider_mlops.registry import models

    started = time.monotonic()
    try:
        rows = storage.read_bytes(rows_uri)
    except FileNotFoundError:
        raise InvalidSpecError(
            "evaluation_uri", rows_uri, "the example rows of the evaluation are gone: run evaluate again"
        ) from None
    with models.downloaded(registry, model) as files, tempfile.TemporaryDirectory(prefix="mlops-probe-") as directory:
        size = _megabytes(files)
        request = Request(model_directory=str(files), predictions=predictions, allow_pickle=allow_pickle)
        Path(directory, _REQUEST).write_text(request.model_dump_json())
        Path(directory, _ROWS).write_bytes(rows)
        found = _in_fresh_process(directory, timeout)
    log.info("A fresh process was done with %s after %.1f s", model, time.monotonic() - started)
    return found.model_copy(update={"megabytes": size})


def measure(registry: Registry, model: ModelVersion) -> Probed:
    """How large the version's files are, without loading them."""
    from airflow_provider_mlops.registry import models

    with models.downloaded(registry, model) as files:
        return Probed(megabytes=_megabytes(files))


def _megabytes(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 1e6


def _in_fresh_process(directory: str, timeout: float) -> Probed:
    try:
        process = subprocess.run(
            [sys.executable, "-m", "airflow_provider_mlops.lifecycle.validate.probe", directory],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Probed(error=f"it had not loaded and answered after {timeout:g} s")
    answered = Path(directory, _FOUND)
    if not answered.exists():
        return Probed(error=f"it ended with exit code {process.returncode}: {_tail(process.stdout)}")
    return Probed.model_validate_json(answered.read_text())


def main(directory: str) -> None:
    """What the fresh process does."""
    request = Request.model_validate_json(Path(directory, _REQUEST).read_text())
    found = load_and_answer(request, os.path.join(directory, _ROWS))
    storage.write_text(os.path.join(directory, _FOUND), found.model_dump_json())


def load_and_answer(request: Request, rows_path: str) -> Probed:
    """Load the model from its files and answer, in this process. Whatever goes wrong is the `error` of the result."""
    import resource

    found: dict[str, Any] = {}
    try:
        from mlflow.models import Model

        from airflow_provider_mlops.registry import packaging

        started = time.monotonic()
        model = packaging.read(request.model_directory, allow_pickle=request.allow_pickle)
        found["load_seconds"] = time.monotonic() - started
        described = Model.load(request.model_directory)
        if described.signature is None:
            raise InvalidSpecError("model", None, "it was saved without a signature: train it with this package")
        rows = _rows(rows_path, described.signature.inputs.input_names())
        found["rows"] = tuple(model.predict(rows).tolist())
        found["latencies_ms"] = _latencies(model, rows, request.predictions)
        found["input_example"] = _answer_input_example(model, described, request.model_directory)
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"[:_TAIL]
    # Linux gives kibibytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    found["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return Probed(**found)


def _rows(path: str, features: list[str]) -> Any:
    import pyarrow.parquet

    from airflow_provider_mlops.registry.rows import feature_rows

    return feature_rows(pyarrow.parquet.read_table(path), features)


def _answer_input_example(model: Any, described: Any, directory: str) -> Answers:
    from airflow_provider_mlops.registry.rows import conform

    if not described.saved_input_example_info:
        raise InvalidSpecError("model", None, "it was saved without an input example: train it with this package")
    example = conform(described.load_input_example(directory), described.signature)
    return tuple(model.predict(example).tolist())


def _latencies(model: Any, rows: Any, number: int) -> tuple[float, ...]:
    """How long each of a number of predictions of one row took, in milliseconds, after a few that warm up."""
    single = [rows.iloc[[position]] for position in range(len(rows))]
    times = []
    for row in islice(cycle(single), _WARM_UP + number):
        started = time.perf_counter()
        model.predict(row)
        times.append((time.perf_counter() - started) * 1000)
    return tuple(times[_WARM_UP:])


def _tail(output: str) -> str:
    lines = [line for line in output.strip().splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-_TAIL:] or "it said nothing"


if __name__ == "__main__":
    main(sys.argv[1])
