"""Shared by all benchmarks: the machine, versions, tables, results as JSON, and processes that do not stay behind."""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any, NoReturn

from demo.guard import Guard
from demo.sessions import end_sessions

PACKAGES = (
    "airflow-provider-mlops",
    "apache-airflow",
    "duckdb",
    "great-expectations",
    "ibis-framework",
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "sqlalchemy",
)


GUARD = Guard()
"""Ends the processes of a benchmark that was killed."""


def unwind_on_signals() -> None:
    """Let SIGTERM, SIGHUP and SIGINT raise SystemExit, so that `with` and `finally` stop what was started."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def end(number: int, frame: object) -> NoReturn:
        for ignored in numbers:
            signal.signal(ignored, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in numbers:
        signal.signal(number, end)


@contextmanager
def child(
    command: Sequence[str], output: IO[Any] | int | None, environment: Mapping[str, str], grace: float = 10.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in its own session, and end it and all that it started at the end of the block."""
    process = subprocess.Popen(
        command, env=dict(environment), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        GUARD.watch(process.pid)
        yield process
    finally:
        end_sessions([process.pid], grace)
        if process.returncode is None:
            process.wait()


def machine() -> dict[str, str | int | float]:
    """Return the processor, the number of processors, the memory in GiB, the system and the version of Python."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "processors": os.cpu_count() or 1,
        "memory_gib": round(memory, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the version of each package that is installed."""
    installed = {}
    for package in packages:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def write_json(path: str | Path, ratios: Mapping[str, float]) -> None:
    """Write the results by name, with the machine and the versions."""
    content = {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "ratios": dict(ratios),
    }
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print a table for a terminal, with numbers aligned to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[place]) for line in [list(headers), *cells]) for place in range(len(headers))]
    numeric = [bool(rows) and all(isinstance(row[place], int | float) for row in rows) for place in range(len(headers))]

    def line(values: Sequence[str]) -> str:
        return "  ".join(
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ).rstrip()

    if title:
        print(f"\n{title}")
    print(line(headers))
    print("  ".join("-" * width for width in widths))
    for values in cells:
        print(line(values))
    sys.stdout.flush()


@dataclass(frozen=True)
class Usage:
    """Resources that a child process used: seconds, processor seconds, and peak memory in bytes."""

    seconds: float
    processor_seconds: float
    peak_memory: int


def run_child(command: Sequence[str], environment: Mapping[str, str] | None = None, log: Path | None = None) -> Usage:
    """Run a command to its end and measure it. Raises RuntimeError, with the end of its log, if it fails."""
    started = time.monotonic()
    with open(log or os.devnull, "wb") as output:
        with child(command, output, environment or os.environ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "" if log is None else log.read_text(errors="replace")[-4000:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}\n{tail}")
    return Usage(time.monotonic() - started, usage.ru_utime + usage.ru_stime, _bytes(usage))


def _bytes(usage: resource.struct_rusage) -> int:
    # macOS counts in bytes, Linux in KiB.
    return usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
