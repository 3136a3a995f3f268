"""Whether the gateway answers as the packaged model does: the model's input example, asked both ways."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import RejectedError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion
    from airflow_provider_mlops.serving.client.client import GatewayClient

log = logging.getLogger(__name__)

EXAMPLE_ROWS = 20
"""How many rows of the input example are asked at most."""

# Another build of NumPy, or a batch of another size, may differ in the last digits.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9


@dataclass(frozen=True)
class Expected:
    """What the packaged model says of its input example.

    :param records: the rows as JSON has them, a missing value being None.
    :param output: the predictions, of shape (rows,), or (rows, targets) for several targets.
    :param probabilities: of shape (rows, classes), or None.
    """

    records: list[dict[str, Any]]
    output: NDArray[Any]
    probabilities: NDArray[np.float64] | None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.records)

    def first_row(self) -> Expected:
        """The same for the first row only, which tells who answers without keeping the live endpoint busy."""
        probabilities = None if self.probabilities is None else self.probabilities[:1]
        return replace(self, records=self.records[:1], output=self.output[:1], probabilities=probabilities)


def expected_answer(registry: Registry, model: ModelVersion, *, allow_pickle: bool = False) -> Expected:
    """Load the packaged model in this process and ask it its input example.

    Raises InvalidSpecError if the version has no example or may not be loaded, RejectedError if it cannot predict.
    """
    import numpy as np

    from airflow_provider_mlops.registry import models

    example = models.input_example(registry, model).head(EXAMPLE_ROWS)
    packaged = models.load(registry, model, allow_pickle=allow_pickle)
    try:
        output = np.asarray(packaged.predict(example))
        probabilities = None
        if hasattr(packaged, "predict_proba"):
            probabilities = np.asarray(packaged.predict_proba(example), dtype=np.float64)
    except Exception as error:
        raise RejectedError(
            f"{model} cannot predict its own input example ({type(error).__name__}: {error}): train it again"
        ) from error
    return Expected(json_records(example), output, probabilities)


def verify(gateway: GatewayClient, model: ModelVersion, expected: Expected, version: int | None) -> None:
    """Ask the gateway and compare: classes exactly, numbers closely. The log does not count it as traffic.

    :param version: the version whose own address is asked. None asks the model's address, where `model` must answer.

    Raises RejectedError that shows both answers if they differ, and what the gateway raises.
    """
    import numpy as np

    answer = gateway.infer(model.name, expected.records, version=version, verification=True)
    if answer.version != model.version:
        raise RejectedError(f"the endpoint of {model.name} answers with version {answer.version}, not {model.version}")
    output = np.asarray(answer.output)
    if not same(expected.output, output):
        raise RejectedError(_difference(model, "predictions", expected.output, output))
    if expected.probabilities is not None and answer.probabilities is not None:
        probabilities = np.asarray(answer.probabilities, dtype=np.float64)
        if not same(expected.probabilities, probabilities):
            raise RejectedError(_difference(model, "probabilities", expected.probabilities, probabilities))


def same(expected: NDArray[Any], answered: NDArray[Any]) -> bool:
    """Whether two answers agree: floating-point numbers closely, everything else exactly.

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
    """Rows as a request carries them: plain Python values, None where one is missing, times as ISO 8601."""
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
        f"the gateway answers the input example of {model} with the {what} {_shown(answered)}, and the packaged model "
        f"says {_shown(expected)}: see that the gateway's environment has the versions that the model was trained with"
    )


def _shown(values: NDArray[Any]) -> str:
    text = ", ".join(str(value) for value in values.tolist()[:5])
    return f"[{text}{', ...' if len(values) > 5 else ''}]"
