"""Versions of `cancer` that misbehave on some rows, each in one way, as other people's estimators do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.serving.broken_versions import add_versions
from tests.helpers.serving.served_registry import CANCER

CHAMPION, CANDIDATE = 6, 7

REFUSES, RAISES, ENDS, SLEEPS, RETURNS_NONE, RETURNS_DICTIONARIES, RETURNS_NAN, DROPS, IS_SLOW, INTERRUPTS = range(
    1001, 1011
)
"""Values of the first column, and what the candidate does with them. The champion predicts them."""
BOTH_REFUSE = 1000

_MODULE = """
import sys
import time

import numpy as np
from sklearn.base import BaseEstimator


class Misbehaving(BaseEstimator):
    def __init__(self, is_candidate=False):
        self.is_candidate = is_candidate

    def predict(self, features):
        first = np.asarray(features)[:, 0]
        output = np.ones(len(first))
        if (first == 1000).any():
            raise ValueError("secret: both refuse it")
        if self.is_candidate and len(first):
            worst = int(first.max())
            if worst == 1001:
                raise ValueError("secret: refused")
            if worst == 1002:
                raise RuntimeError("secret: broken")
            if worst == 1003:
                sys.exit(3)
            if worst == 1004:
                time.sleep(3)
            if worst == 1005:
                return None
            if worst == 1006:
                return np.array([{"a": 1}] * len(first), dtype=object)
            if worst == 1007:
                return np.where(first == 1007, np.nan, output)
            if worst == 1008:
                return output[first != 1008]
            if worst == 1009:
                time.sleep(0.4)
            if worst == 1010:
                raise KeyboardInterrupt
        return output
"""


def row(value: float) -> dict[str, Any]:
    """A request of one row with a value in the first column."""
    return {"instances": [[float(value), *CANCER.iloc[0, 1:].tolist()]]}


def add_misbehaving_versions(storage: Path, directory: Path) -> dict[str, str]:
    """Register the champion and the candidate. Returns the environment in which they can be loaded."""
    return add_versions(
        storage,
        directory,
        _MODULE,
        lambda module: {CHAMPION: module.Misbehaving(), CANDIDATE: module.Misbehaving(is_candidate=True)},
    )
