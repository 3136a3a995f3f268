"""An environment with clients of the Open Inference Protocol that cannot be installed next to Airflow.

It is made once and kept in `.venv-clients`.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("grpcio-tools", "kserve>=0.15", "ml-dtypes>=0.5", "tritonclient[grpc,http]>=2.70")
DIRECTORY = ROOT / ".venv-clients"


def python() -> Path:
    """Return the interpreter of the environment, which is made if it does not exist."""
    interpreter = DIRECTORY / "bin" / "python"
    installed = DIRECTORY / ".installed"
    if not installed.exists():
        venv.create(DIRECTORY, with_pip=True, clear=True)
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, timeout=900)
        installed.touch()
    return interpreter


def run(script: str, *arguments: str) -> str:
    """Run a script in the environment. Returns what it prints; raises AssertionError if it fails."""
    done = subprocess.run(
        [python(), "-c", script, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(f"{python()}\n")
