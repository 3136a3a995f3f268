"""A benchmark that is ended, in any way, leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.sessions import stat

REPOSITORY = Path(__file__).resolve().parent.parent.parent

STUBBORN = """
import os, subprocess, sys, time
from benchmarks.measure import child, unwind_on_signals
grandchild = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
middle = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
unwind_on_signals()
with open(sys.argv[1], "wb") as log, child([sys.executable, "-c", middle, grandchild], log, os.environ, grace=1):
    while not os.path.getsize(sys.argv[1]):
        time.sleep(0.05)
    print("ready", flush=True)
    if sys.argv[2] == "raise":
        raise RuntimeError("on purpose")
    time.sleep(600)
"""


def marked(mark: str) -> list[int]:
    """The living processes that have a mark in their environment."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            fields = stat(int(entry.name))
            if f"BENCHMARK_TEST={mark}".encode() in environment and fields and fields[0] != "Z":
                pids.append(int(entry.name))
    return pids


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def start(mark: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"BENCHMARK_TEST": mark, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL", "raise"])
def test_children_of_children_are_ended_however_a_benchmark_ends(tmp_path: Path, ending: str) -> None:
    mark = f"{os.getpid()}-{ending}"
    process = start(mark, "-c", STUBBORN, str(tmp_path / "log"), ending)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    if ending != "raise":
        assert len(marked(mark)) >= 3
        process.send_signal(getattr(signal, ending))
    process.wait(30)
    assert process.returncode != 0
    wait_for(lambda: marked(mark) == [], 30)


@pytest.mark.timeout(180)
def test_a_benchmark_that_is_terminated_leaves_nothing_behind(tmp_path: Path) -> None:
    mark = f"{os.getpid()}-extract"
    process = start(mark, "-m", "benchmarks.extract_analyze", "--rows", "3000000", "--directory", str(tmp_path))
    wait_for(lambda: any(tmp_path.glob("*/customers.db")), 90)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    wait_for(lambda: marked(mark) == [], 20)
    # Its data is gone, too.
    assert list(tmp_path.iterdir()) == []
