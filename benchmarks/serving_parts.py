"""Where does a row's time go? The parts of one request in process, for models that the step train makes.

Each part runs many times in a row, alone. Its processor time is measured (`time.process_time`), not the time on the
clock, so that other work on the machine counts less; the median of the repetitions is printed, in microseconds.

- parse: JSON to Python objects. check: from these to checked rows.
- preprocess, predict: from rows to the estimator's input, and from there to checked predictions.
- encode: the response. log: the record, and the write to the file.
- all: their sum; what HTTP, asyncio and routing add is in `benchmarks.serving`.
- scikit-learn: `predict` and `predict_proba` of the same Pipeline on a DataFrame that is already there; `times` is how
  often our preprocess and predict fit into that.

    python -m benchmarks.serving_parts [--repeat 7] [--cases NAME ...]
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.predict import batches
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.policy.policy import CHAMPION, Choice
from airflow_provider_mlops.serving.protocols import encoding, invocations, protocol_v2
from airflow_provider_mlops.serving.protocols.body import Body
from benchmarks import trained_models
from benchmarks.measure import machine, print_table, versions

_ID = "0" * 32


def microseconds(call: Callable[[], Any], repeat: int) -> float:
    """Return the median processor time of a call."""
    call()
    began = time.process_time()
    for _ in range(5):
        call()
    each = max((time.process_time() - began) / 5, 1e-6)
    count = max(1, min(2000, int(0.02 / each)))
    trials = []
    for _ in range(repeat):
        began = time.process_time()
        for _ in range(count):
            call()
        trials.append((time.process_time() - began) / count)
    return statistics.median(trials) * 1e6


def parts(
    model: LoadedModel, estimator: Any, form: str, body: dict[str, Any], log: WriteAhead, repeat: int
) -> list[float]:
    """Return the time of each part of a request, in the order of the table."""
    protocol: Any = invocations if form == trained_models.SPLIT else protocol_v2
    content = Body(json.dumps(body).encode())
    parsed = protocol.parse(content, model.schema)
    rows, response = parsed.rows, model.predict(parsed.rows)
    choice = Choice(1, CHAMPION, 1.0)

    def write() -> None:
        log.append([batches.encode_record(model, _ID, choice, rows, response, 1.0)], model.log_schema, evidence=False)

    parse = microseconds(lambda: encoding.decode(content.content), repeat)
    check = microseconds(lambda: protocol.parse(content, model.schema), repeat) - parse
    predict = microseconds(lambda: model.predict(rows), repeat)
    compiled = model.compiled
    preprocess = 0.0 if compiled is None else microseconds(lambda: compiled.preprocessing.features(rows), repeat)
    encode = microseconds(lambda: parsed.encode(model, response, _ID), repeat)
    logged = microseconds(write, repeat)
    frame = rows.frame()
    # Threads that wait for each other spend processor time, too.
    with threadpool_limits(1):
        judge = microseconds(lambda: _predict(estimator, frame), repeat)
    total = parse + check + predict + encode + logged
    return [parse, check, preprocess, predict - preprocess, encode, logged, total, judge, judge / predict]


def _predict(estimator: Any, frame: pd.DataFrame) -> None:
    estimator.predict(frame)
    if hasattr(estimator, "predict_proba"):
        estimator.predict_proba(frame)


def run(directory: Path, cases: tuple[trained_models.Case, ...], repeat: int) -> list[tuple[object, ...]]:
    """Return the rows of the table."""
    storage = directory / "storage"
    measured = trained_models.build(storage, cases)
    registry = Registry(RegistrySettings(str(storage)))
    log = WriteAhead(str(directory / "log"))
    table: list[tuple[object, ...]] = []
    for case in cases:
        version = models.get(registry, case.name, "champion")
        model = LoadedModel.load(registry, version)
        estimator = models.load(registry, version)
        row, kinds = measured[case.name][0], trained_models.kinds(measured[case.name])
        for form in trained_models.forms(kinds):
            body = trained_models.body(form, row, kinds)
            times = parts(model, estimator, form, body, log, repeat)
            table.append((case.title, "yes" if model.compiled else "no", form, *times))
            gc.collect()
    log.close()
    return table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--cases", nargs="*", choices=trained_models.BY_NAME, default=list(trained_models.BY_NAME))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(", ".join(f"{name}: {value}" for name, value in machine().items()))
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as directory:
        cases = tuple(trained_models.BY_NAME[name] for name in options.cases)
        table = run(Path(directory), cases, options.repeat)
    headers = ["model", "compiled", "form", "parse", "check", "preprocess", "predict", "encode", "log", "all"]
    print_table([*headers, "scikit-learn", "times"], table, "Microseconds of processor time per request of one row")


if __name__ == "__main__":
    main()
