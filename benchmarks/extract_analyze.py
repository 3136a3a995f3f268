"""How much memory and time do the steps extract and analyze need for a large table?

Makes an SQLite file with 10 million rows and 20 columns (numbers with and without nulls, categories, identifiers,
times), then runs both steps, each in its own process. The operating system reports the peak memory of the process; the
limit is 1 GiB per step.

    python -m benchmarks.extract_analyze [--rows 10000000] [--json FILE] [--directory DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Usage, machine, print_table, run_child, unwind_on_signals, versions, write_json

LIMIT = 2**30
BATCH = 50_000
COLUMNS = {
    "id": "INTEGER",
    "customer": "TEXT",
    "changed_at": "TEXT",
    "country": "TEXT",
    "plan": "TEXT",
    "device": "TEXT",
    "channel": "TEXT",
    "age": "INTEGER",
    "visits": "INTEGER",
    "orders": "INTEGER",
    "tickets": "INTEGER",
    "late": "INTEGER",
    "income": "REAL",
    "balance": "REAL",
    "spend": "REAL",
    "discount": "REAL",
    "latitude": "REAL",
    "longitude": "REAL",
    "score": "REAL",
    "churned": "INTEGER",
}


def make_database(path: Path, rows: int) -> None:
    """Fill an SQLite file with customers. `discount` is null in the first rows, and 10% of `income` is null."""
    import numpy

    random = numpy.random.default_rng(7)
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;")
    connection.execute(f"CREATE TABLE customers ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
    insert = f"INSERT INTO customers VALUES ({', '.join('?' * len(COLUMNS))})"
    countries = numpy.array([f"country {index:02d}" for index in range(60)])
    for start in range(0, rows, BATCH):
        count = min(BATCH, rows - start)
        ids = numpy.arange(start, start + count)
        income = random.lognormal(10, 0.6, count)
        visits = random.poisson(9, count)
        columns = [
            ids,
            numpy.char.add("customer-", ids.astype("U")),
            (numpy.datetime64("2026-01-01T00:00:00") + ids).astype("U"),
            countries[numpy.minimum(random.geometric(0.08, count), 60) - 1],
            random.choice(["free", "basic", "plus", "business"], count, p=[0.5, 0.3, 0.15, 0.05]),
            random.choice(["phone", "tablet", "desktop"], count),
            random.choice(["search", "mail", "friend", "shop", "other"], count),
            random.integers(18, 95, count),
            visits,
            random.binomial(visits, 0.3),
            random.poisson(0.4, count),
            random.integers(0, 2, count),
            numpy.where(random.random(count) < 0.1, None, income),
            random.normal(0, 1000, count),
            income * random.random(count) / 12,
            numpy.full(count, None) if start < 4 * BATCH else random.random(count),
            random.uniform(-60, 70, count),
            random.uniform(-180, 180, count),
            random.beta(2, 5, count),
            (random.random(count) < 1 / (1 + numpy.exp(visits - 6.0))).astype("int64"),
        ]
        connection.executemany(insert, zip(*(column.tolist() for column in columns), strict=True))
        connection.commit()
    connection.close()


def run_step(
    step: str, spec: dict[str, object], directory: Path, environment: dict[str, str]
) -> tuple[dict[str, Any], Usage]:
    """Run one step in its own process. Returns its result and the resources it used."""
    request, result, log = (directory / f"{step}-{name}" for name in ("request.json", "result.json", "log.txt"))
    task = {"dag_id": "benchmark", "run_id": "run", "task_id": step}
    workspace = {"storage_uri": str(directory / "storage"), "task": task}
    request.write_text(json.dumps({"step": step, "spec": spec, "workspace": workspace}))
    command = [sys.executable, "-m", "airflow_provider_mlops.lifecycle", str(request), str(result)]
    usage = run_child(command, environment, log)
    print(log.read_text()[-1500:], file=sys.stderr)
    return json.loads(result.read_text())["result"], usage


def measure(rows: int, directory: Path) -> dict[str, float]:
    """Make the data, run both steps, print a table, and return the results."""
    database = directory / "customers.db"
    started = time.monotonic()
    run_child([sys.executable, __file__, "--make", str(database), "--rows", str(rows)], log=directory / "make.txt")
    gib = database.stat().st_size / 2**30
    seconds = time.monotonic() - started
    print(f"Made {rows:,} rows x {len(COLUMNS)} columns ({gib:.2f} GiB of SQLite) in {seconds:.0f} s", flush=True)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "AIRFLOW_PROVIDER_MLOPS_SECRET_CONNECTION_WAREHOUSE": f"sqlite:///{database}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    source = {"kind": "sql", "query": "SELECT * FROM customers", "connection": "warehouse"}
    extracted, extract = run_step("extract", {"dataset_name": "customers", "source": source}, directory, environment)
    if extracted["rows"] != rows:
        raise RuntimeError(f"{extracted['rows']:,} rows were extracted, not {rows:,}")
    spec = {"dataset": extracted["dataset"], "target": "churned", "slices": ["country", "plan"]}
    _, analyze = run_step("analyze", spec, directory, environment)
    table = []
    for name, usage in (("extract", extract), ("analyze", analyze)):
        speed, peak = rows / usage.seconds, usage.peak_memory / 2**20
        table.append((name, rows, usage.seconds, speed, usage.processor_seconds, peak, usage.peak_memory / LIMIT))
    headers = ["step", "rows", "seconds", "rows/s", "processor s", "peak MiB", "of 1 GiB"]
    print_table(headers, table, f"{rows:,} rows x {len(COLUMNS)} columns")
    return {
        "rows": rows,
        "columns": len(COLUMNS),
        **{f"{name}_seconds": seconds for name, _, seconds, *_ in table},
        **{f"{name}_rows_per_second": speed for name, _, _, speed, *_ in table},
        **{f"{name}_peak_memory_of_limit": share for name, *_, share in table},
        "peak_memory_of_limit": max(share for *_, share in table),
    }


def main() -> int:
    """Run the command line. The exit code is 1 if a step used more memory than the limit."""
    unwind_on_signals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    parser.add_argument(
        "--directory", type=Path, help="parent of the working directory; by default that for temporary files"
    )
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make is not None:
        make_database(options.make, options.rows)
        return 0
    print(", ".join(f"{name}: {value}" for name, value in machine().items()))
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-", dir=options.directory) as directory:
        ratios = measure(options.rows, Path(directory))
    if options.json:
        write_json(options.json, ratios)
    return 0 if ratios["peak_memory_of_limit"] <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
