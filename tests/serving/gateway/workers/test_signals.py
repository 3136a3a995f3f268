"""A signal that comes before the gateway serves stops it as any other does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, uvicorn
from airflow_provider_mlops.serving.gateway.workers import workers
from airflow_provider_mlops.serving.gateway.settings import Settings

run = uvicorn.Server.run

def signalled(self, *arguments, **options):
    os.kill(os.getppid(), int(sys.argv[2]))
    run(self, *arguments, **options)

uvicorn.Server.run = signalled
settings = Settings(storage_uri=sys.argv[1], tracking_uri="sqlite:///" + sys.argv[1] + "/mlflow.db")
sys.exit(workers.run(settings, 0, 1))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
