"""Environments of their own for what the gateway is compared with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import versions

_SAME = ("joblib", "numpy", "pandas", "scikit-learn")
"""Packages that each environment has in our version, because the models are the same for all."""


def install(directory: Path, name: str, requirements: Sequence[str]) -> Path:
    """Return the `bin` folder of an environment, which is made if it is missing or out of date.

    Raises RuntimeError if pip cannot install the requirements.
    """
    folder = directory / name.lower().replace(" ", "-")
    wanted = [*requirements, *(f"{package}=={version}" for package, version in versions(_SAME).items())]
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text().split() != wanted:
        print(f"Installing {name} into {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        command = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *wanted]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name} cannot be installed into {folder}\n{done.stderr[-4000:]}")
        stamp.write_text("\n".join(wanted))
    return folder / "bin"
