"""The interface of every compiled estimator."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from airflow_provider_mlops.serving.models.compiled.elementwise import Floats


class Predictor(Protocol):
    """The arithmetic of an estimator."""

    def predict(self, features: Floats) -> tuple[NDArray[Any], Floats | None] | None:
        """Return values or classes, and probabilities; None if scikit-learn must predict. Keeps `features`."""

    def edges(self) -> Floats | None:
        """Return rows on which a wrong number would show, if the estimator has such rows."""
