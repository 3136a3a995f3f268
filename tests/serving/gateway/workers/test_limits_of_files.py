"""The gateway allows as many connections as it can have files open, and keeps some for itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from airflow_provider_mlops.serving.gateway.workers.sockets import max_connections
print(max_connections(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "files"),
    [(256, 1024, 768, 1024), (1024, 1024, 768, 1024), (200, 200, 72, 200), (64, 64, 16, 64)],
)
def test_the_limit_of_files_is_raised_and_connections_stay_below_it(
    soft: int, hard: int, connections: int, files: int
) -> None:
    script = SCRIPT.format(soft=soft, hard=hard)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(connections), str(files)]
