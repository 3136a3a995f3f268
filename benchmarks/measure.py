"""What every benchmark needs: the machine, the versions, a table, and the numbers as JSON."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

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


def machine() -> dict[str, str | int | float]:
    """The processor, how many of them, the memory in GiB, the system and Python."""
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
    """The installed version of each package; those that are not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_json(path: str | Path, ratios: Mapping[str, float]) -> None:
    """Write the numbers by name, with the machine and the versions they were taken on."""
    content = {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "ratios": dict(ratios),
    }
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print a table for a terminal; numbers stand to the right."""
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
    """What a child process took: seconds on the clock, seconds of processor, and its peak memory in bytes."""

    seconds: float
    processor_seconds: float
    peak_memory: int


def run_child(command: Sequence[str], environment: Mapping[str, str] | None = None, log: Path | None = None) -> Usage:
    """Run a command to its end and measure it by itself. Raises RuntimeError, with the end of its log, if it fails."""
    started = time.monotonic()
    with open(log or os.devnull, "wb") as output:
        process = subprocess.Popen(
            command, env=dict(environment or os.environ), stdout=output, stderr=subprocess.STDOUT
        )
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
