"""Verification of a deployment: the gateway and the packaged model must agree on the model's input example."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import RejectedError, describe_error

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion
    from airflow_provider_mlops.serving.client.client import GatewayClient

log = logging.getLogger(__name__)

EXAMPLE_ROWS = 20
"""The maximum number of rows of the input example that are compared."""

# Another build of NumPy, or another batch size, may differ in the last digits.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9


@dataclass(frozen=True)
class ExpectedPredictions:
    """The packaged model's predictions for its input example.

    Parameters
    ----------
    records
        Rows as JSON; a missing value is None.
    output
        Predictions, shape (rows,), or (rows, targets) for several targets.
    probabilities
        Probabilities, shape (rows, classes); None if the model has none.
    """

    records: list[dict[str, Any]]
    output: NDArray[Any]
    probabilities: NDArray[np.float64] | None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.records)

    def first_row(self) -> ExpectedPredictions:
        """Return the predictions for the first row only, which is enough to identify the version that answers."""
        probabilities = None if self.probabilities is None else self.probabilities[:1]
        return replace(self, records=self.records[:1], output=self.output[:1], probabilities=probabilities)


def expected_predictions(registry: Registry, model: ModelVersion, *, allow_pickle: bool = False) -> ExpectedPredictions:
    """Load the packaged model in this process and predict its input example.

    Raises InvalidSpecError if the version has no example or must not be loaded, RejectedError if it cannot predict.
    """
    from airflow_provider_mlops.registry import models
    from airflow_provider_mlops.registry.model_output import ModelOutputError, predict

    example = models.input_example(registry, model).head(EXAMPLE_ROWS)
    packaged = models.load(registry, model, allow_pickle=allow_pickle)
    try:
        output, probabilities = predict(packaged, example)
    except ModelOutputError as error:
        raise RejectedError(f"Rejected {model}: for its own input example, {error}. Train it again.") from error
    except Exception as error:
        raise RejectedError(
            f"Rejected {model}: it cannot predict its own input example ({describe_error(error)}). Train it again."
        ) from error
    return ExpectedPredictions(json_records(example), output, probabilities)


def verify(gateway: GatewayClient, model: ModelVersion, expected: ExpectedPredictions, version: int | None) -> None:
    """Compare the gateway's predictions with the expected ones: classes exactly, numbers within a tolerance.

    These requests are logged as verification and do not count as traffic.

    Parameters
    ----------
    version
        Version whose own address is called. None calls the model's address, where `model` must answer.

    Raises
    ------
    RejectedError
        If the predictions differ; the message shows both.
    """
    import numpy as np

    answer = gateway.infer(model.name, expected.records, version=version, verification=True)
    if answer.version != model.version:
        raise RejectedError(
            f"Rejected {model}: the endpoint of {model.name} answers with version {answer.version} instead of "
            f"version {model.version}."
        )
    output = np.asarray(answer.output)
    if not same(expected.output, output):
        raise RejectedError(_difference(model, "predictions", expected.output, output))
    if expected.probabilities is not None and answer.probabilities is not None:
        probabilities = np.asarray(answer.probabilities, dtype=np.float64)
        if not same(expected.probabilities, probabilities):
            raise RejectedError(_difference(model, "probabilities", expected.probabilities, probabilities))


def same(expected: NDArray[Any], answered: NDArray[Any]) -> bool:
    """Return whether two arrays of predictions agree: floating-point numbers closely, everything else exactly.

    >>> import numpy
    >>> same(numpy.array([0.1, 2.0]), numpy.array([0.1 + 1e-12, 2.0]))
    True
    >>> same(numpy.array(["a", "b"]), numpy.array(["a", "c"]))
    False
    """
    import numpy as np

    if expected.shape != answered.shape:
        return False
    if expected.dtype.kind == "f":
        try:
            numbers = answered.astype(np.float64)
        except (TypeError, ValueError):
            return False
        return bool(np.allclose(expected, numbers, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True))
    if expected.dtype.kind in "iub":
        return bool(np.array_equal(expected, answered))
    return [str(value) for value in expected.ravel()] == [str(value) for value in answered.ravel()]


def json_records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON objects: None for a missing value, times as ISO 8601, bytes as Base64."""
    import base64

    def plain(value: Any) -> Any:
        if value is None or value != value:
            return None
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        if hasattr(value, "isoformat"):
            return value.isoformat()
        return value.item() if hasattr(value, "item") else value

    return [{str(name): plain(value) for name, value in row.items()} for row in rows.to_dict(orient="records")]


def _difference(model: ModelVersion, what: str, expected: NDArray[Any], answered: NDArray[Any]) -> str:
    return (
        f"Rejected {model}: for its input example, the gateway returns the {what} {_format_values(answered)}, and the "
        f"packaged model returns {_format_values(expected)}. Check that the gateway's environment has the package "
        "versions that the model was trained with."
    )


def _format_values(values: NDArray[Any]) -> str:
    text = ", ".join(str(value) for value in values.tolist()[:5])
    return f"[{text}{', ...' if len(values) > 5 else ''}]"
