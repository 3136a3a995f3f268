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

SCRIPT_OF_TWO = """
import os, signal, socket, sys, uvicorn
from airflow_provider_mlops.serving.gateway import gateway
from airflow_provider_mlops.serving.gateway.workers import workers
from airflow_provider_mlops.serving.gateway.settings import Settings

startup = uvicorn.Server.startup

async def signalled(self, *arguments, **options):
    os.kill(os.getppid(), signal.SIGTERM)
    await startup(self, *arguments, **options)

uvicorn.Server.startup = signalled
gateway._LOAD_SECONDS = 3600
silent = socket.create_server(("127.0.0.1", 0))
settings = Settings(storage_uri=sys.argv[1], tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
sys.exit(workers.run(settings, 0, 2))
"""
"""Its workers would wait for an hour until their models are loaded."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_signal_while_two_workers_wait_for_their_models(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT_OF_TWO, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
