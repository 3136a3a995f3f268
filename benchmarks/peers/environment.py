"""An environment of its own for each server that the gateway is compared with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import versions
from benchmarks.peers.peer import Peer

_SAME = ("joblib", "numpy", "pandas", "scikit-learn")
"""Packages that a peer has in our version, because the Pipeline is the same file for all."""


def install(directory: Path, peer: Peer, more: Sequence[str] = ()) -> Path:
    """Return the `bin` folder of the peer's environment, which is made if it is missing or out of date.

    Raises RuntimeError if pip cannot install the peer.
    """
    folder = directory / peer.name.lower().replace(" ", "-")
    wanted = [*peer.requirements, *more, *(f"{name}=={version}" for name, version in versions(_SAME).items())]
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text().split() != wanted:
        print(f"Installing {peer.name} into {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        command = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *wanted]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{peer.name} cannot be installed into {folder}\n{done.stderr[-4000:]}")
        stamp.write_text("\n".join(wanted))
    return folder / "bin"
