"""Versions of `cancer` that end the process which loads them or predicts with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.serving.broken_versions import add_versions
from tests.helpers.serving.served_registry import CANCER

FINE, ABORTS, FAULTS, EXITS, KILLED = range(6, 11)
"""Versions, and what they do on rows whose first value is 1000. Version 6 predicts them."""
ABORTS_LOADED, HANGS_LOADED, ABORTS_ON_EXAMPLE = range(11, 14)
"""Versions that cannot even be loaded."""

_MODULE = """
import ctypes
import os
import signal
import time

import numpy as np
from sklearn.base import BaseEstimator


class Crashing(BaseEstimator):
    def __init__(self, how="", loaded=""):
        self.how = how
        self.loaded = loaded

    def __setstate__(self, state):
        self.__dict__.update(state)
        if os.environ.get("CRASHES") and self.loaded == "abort":
            os.abort()
        if os.environ.get("CRASHES") and self.loaded == "hang":
            time.sleep(3600)

    def predict(self, features):
        first = np.asarray(features)[:, 0]
        crashes = (first == 1000).any() or (self.loaded == "example" and os.environ.get("CRASHES"))
        if crashes and self.how == "abort":
            os.abort()
        if crashes and self.how == "fault":
            ctypes.string_at(0)
        if crashes and self.how == "exit":
            os._exit(3)
        if crashes and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if (first == 1001).any():
            time.sleep(0.5)
        return np.ones(len(first), dtype=int)
"""


def row(value: float) -> dict[str, Any]:
    """A request of one row with a value in the first column."""
    return {"instances": [[float(value), *CANCER.iloc[0, 1:].tolist()]]}


def add_crashing_versions(storage: Path, directory: Path) -> dict[str, str]:
    """Register the versions. Returns the environment in which they can be loaded, and crash."""
    environment = add_versions(
        storage,
        directory,
        _MODULE,
        lambda module: {
            FINE: module.Crashing(),
            ABORTS: module.Crashing("abort"),
            FAULTS: module.Crashing("fault"),
            EXITS: module.Crashing("exit"),
            KILLED: module.Crashing("kill"),
            ABORTS_LOADED: module.Crashing(loaded="abort"),
            HANGS_LOADED: module.Crashing(loaded="hang"),
            ABORTS_ON_EXAMPLE: module.Crashing("abort", loaded="example"),
        },
    )
    return {**environment, "CRASHES": "yes"}
