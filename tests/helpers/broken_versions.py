"""Two versions of `cancer` that break on some rows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from tests.helpers.served_registry import CANCER, register_pickled

BROKEN = """
import time

import numpy as np
from sklearn.base import BaseEstimator


class Broken(BaseEstimator):
    def __init__(self, hangs=False):
        self.hangs = hangs

    def predict(self, features):
        if np.asarray(features)[:, 0].max() > 500:
            if self.hangs:
                time.sleep(3600)
            raise RuntimeError("I am broken")
        return np.ones(len(features), dtype=int)
"""
LARGE = {"instances": [[1000.0, *CANCER.iloc[0, 1:].tolist()]]}
"""A row on which the broken versions break."""


def add_broken_versions(storage: Path, directory: Path) -> dict[str, str]:
    """Version 6 fails and version 7 hangs on some rows. Returns the environment in which they can be loaded."""
    modules = directory / "modules"
    modules.mkdir()
    (modules / "broken.py").write_text(BROKEN)
    sys.path.insert(0, str(modules))
    try:
        import broken  # type: ignore[import-not-found]

        registry = Registry(RegistrySettings(str(storage)))
        for number, hangs in ((6, False), (7, True)):
            saved = directory / str(number)
            saved.mkdir()
            assert register_pickled(registry, "cancer", broken.Broken(hangs), saved).version == number
    finally:
        sys.path.remove(str(modules))
        sys.modules.pop("broken", None)
    return {"PYTHONPATH": os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])}
