"""The interface of every compiled estimator."""

from __future__ import annotations

from typing import Any, Final, Protocol

from numpy.typing import NDArray

from airflow_provider_mlops.serving.models.compiled.elementwise import Floats

BITS_64: Final = 1e-9
BITS_32: Final = 2e-6
"""Permitted relative difference from a model that calculates with so many bits."""


class Predictor(Protocol):
    """The arithmetic of an estimator."""

    tolerance: float
    """Permitted relative difference of probabilities and of a regressor's values. Classes must be equal."""

    def predict(self, features: Floats) -> tuple[NDArray[Any], Floats | None] | None:
        """Return values or classes, and probabilities; None if scikit-learn must predict. Keeps `features`."""

    def edges(self) -> Floats | None:
        """Return rows on which a wrong number would show, if the estimator has such rows."""
