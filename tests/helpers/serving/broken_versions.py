"""Two versions of `cancer` that break on some rows."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from tests.helpers.serving.served_registry import CANCER, register_pickled

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
    return add_versions(storage, directory, BROKEN, lambda module: {6: module.Broken(), 7: module.Broken(hangs=True)})


def add_versions(storage: Path, directory: Path, source: str, make: Callable[[Any], dict[int, Any]]) -> dict[str, str]:
    """Register versions of `cancer` whose classes are in a module of their own, as those of other people are.

    Returns the environment in which they can be loaded.
    """
    modules = directory / "modules"
    modules.mkdir()
    (modules / "versions_of_others.py").write_text(source)
    sys.path.insert(0, str(modules))
    try:
        registry = Registry(RegistrySettings(str(storage)))
        for number, estimator in make(importlib.import_module("versions_of_others")).items():
            saved = directory / str(number)
            saved.mkdir()
            assert register_pickled(registry, "cancer", estimator, saved).version == number
    finally:
        sys.path.remove(str(modules))
        sys.modules.pop("versions_of_others", None)
    return {"PYTHONPATH": os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])}
