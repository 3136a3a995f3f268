"""Read test rows and predict them: the truth, the slice columns, and the predictions of each model.

Rows are read and predicted in batches, so that only the columns that are needed stay in memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.names import list_names, pluralize
from airflow_provider_mlops.errors import InvalidSpecError, MlopsError, RejectedError, describe_error
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput, Problem

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_BATCH_ROWS = 65_536
_SECONDS_BETWEEN_REPORTS = 10


@dataclass(frozen=True)
class ScorableModel:
    """A fitted model and the columns that it takes, in order."""

    estimator: Any
    features: tuple[str, ...]

    @property
    def classes(self) -> list[Any] | None:
        """Return the classes that the model knows, in the order of its probabilities; None for a regressor."""
        classes = getattr(self.estimator, "classes_", None)
        return None if classes is None else list(classes)

    def known_classes(self, predicted: RawPredictions) -> NDArray[Any]:
        """Return the classes that the model knows or, if it does not declare them, the classes that it predicted."""
        import numpy as np

        return predicted.output if self.classes is None else np.asarray(self.classes, dtype=object)


@dataclass
class RawPredictions:
    """The predictions of one model for all rows, in the model's own form.

    Parameters
    ----------
    output
        Shape (rows,): class labels or numbers.
    probability
        Shape (rows, classes of the model), or None if the model gives no probabilities.
    """

    output: NDArray[Any]
    probability: NDArray[np.float64] | None


@dataclass
class TestRows:
    """Test rows in the order of the dataset.

    Parameters
    ----------
    truth
        Target, of shape (rows,): class labels as the data has them, or float64 for regression.
    columns
        Additional columns that were requested.
    predictions
        Predictions by the name of the model.
    errors
        Reasons why models have no predictions, by the name of the model.
    """

    truth: NDArray[Any]
    columns: pd.DataFrame
    predictions: dict[str, RawPredictions]
    errors: dict[str, str] = field(default_factory=dict)


def read_and_predict(
    dataset: Dataset, target: str, problem: Problem, columns: tuple[str, ...], models: dict[str, ScorableModel]
) -> TestRows:
    """Read a dataset and predict its rows with each model.

    Parameters
    ----------
    columns
        Columns to keep besides the target, for slices and sensitive groups.
    models
        The model under evaluation as `model`, and any others. If another model fails, it is left out of the
        predictions and `errors` has the reason; an error of `model` is raised.

    Raises
    ------
    InvalidSpecError
        If the dataset has no rows or the target does not suit the problem.
    RejectedError
        If target values are missing or predictions are not finite.
    """
    import pandas as pd
    import pyarrow

    from airflow_provider_mlops.registry.rows import feature_rows, target_values

    needed = {target, *columns, *(name for model in models.values() for name in model.features)}
    truths: list[pyarrow.Table] = []
    kept: list[pd.DataFrame] = []
    parts: dict[str, list[RawPredictions]] = {name: [] for name in models}
    errors: dict[str, str] = {}
    count, started, reported = 0, time.monotonic(), time.monotonic()
    for batch in read_batches(dataset, sorted(needed)):
        table = pyarrow.Table.from_batches([batch])
        truths.append(table.select([target]))
        kept.append(table.select(list(columns)).to_pandas())
        for name, model in models.items():
            if name in errors:
                continue
            try:
                parts[name].append(predict_rows(model, feature_rows(table, model.features)))
            except Exception as error:
                if name == "model":
                    raise _explain(dataset, table.select(list(model.features)), error) from error
                errors[name] = describe_error(error).splitlines()[0][:300]
        count += table.num_rows
        if time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            log.info("Predicted %s of %s rows in %.0f s", f"{count:,}", f"{dataset.rows:,}", reported - started)
    if not count:
        raise InvalidSpecError("dataset", dataset.uri, "the dataset has no rows. Use a test set with at least one row")
    predictions = {name: _concatenate(parts[name]) for name in models if name not in errors}
    log.info(
        "Predicted %s with %s in %.1f s",
        pluralize(count, "row"),
        " and ".join(predictions),
        time.monotonic() - started,
    )
    truth = target_values(pyarrow.concat_tables(truths, promote_options="permissive"), target, problem)
    return TestRows(truth, pd.concat(kept, ignore_index=True), predictions, errors)


def read_batches(dataset: Dataset, columns: list[str]) -> Iterator[pyarrow.RecordBatch]:
    """Yield some columns of the dataset's rows in bounded batches, in the order of its files."""
    from airflow_provider_mlops.data import parquet_read

    for uri in dataset.files():
        for batch in parquet_read.batches(uri, _BATCH_ROWS, columns):
            if batch.num_rows:
                yield batch


def predict_rows(model: ScorableModel, features: pd.DataFrame) -> RawPredictions:
    """Return the model's predictions and, if it gives them, its probabilities.

    Raises RejectedError if the model does not return one valid prediction for each row.
    """
    from airflow_provider_mlops.registry.model_output import ModelOutputError, predict

    try:
        output, probability = predict(model.estimator, features)
    except ModelOutputError as error:
        hint = (
            "Train it again, for example on rows without infinite or extreme values"
            if error.is_numeric
            else "Correct its predict or predict_proba"
        )
        raise RejectedError(f"Rejected model: {error}. {hint}.") from error
    if output.ndim != 1:
        raise RejectedError(f"Rejected model: it predicts {output.shape[1]} values per row, but must predict one.")
    return RawPredictions(output, probability)


def _explain(dataset: Dataset, features: pyarrow.Table, error: Exception) -> Exception:
    """Return the error to raise if the model refuses rows: an error that names the rows, unless it is one of ours."""
    import numpy as np
    import pyarrow

    if isinstance(error, MlopsError) or not isinstance(error, ValueError | TypeError):
        return error
    infinite = [
        name
        for name, column in zip(features.column_names, features.columns, strict=True)
        if pyarrow.types.is_floating(column.type) and np.isinf(column.to_numpy()).any()
    ]
    cause = f"infinite values in {list_names(infinite)}" if infinite else str(error).splitlines()[0][:300].rstrip(".")
    return InvalidSpecError(
        "dataset",
        dataset.uri,
        f"the model cannot predict these rows ({cause}). Use the test dataset of the prepare task that made the "
        "training rows",
    )


def class_names(
    model: ScorableModel, rows: TestRows, champion: ScorableModel | None, positive: str | None
) -> tuple[str, ...]:
    """Return the classes as text, in the order of their codes: those of the model, of the champion and of the truth.

    If there are two classes, the second is the positive one. Raises InvalidSpecError if `positive` is not one of two
    classes, if the model predicts numbers that are not classes, or if the model knows none of the true classes.
    """
    output = rows.predictions["model"].output
    if model.classes is None and output.dtype.kind == "f" and (fractions := output[output != output.round()]).size:
        raise InvalidSpecError(
            "problem", "classification", f"the model predicts numbers such as {fractions[0]:.6g}. Use 'regression'"
        )
    names = [label_text(value) for value in model.classes or sorted(set(output.tolist()), key=str)]
    known, true = set(names), {label_text(value) for value in set(rows.truth.tolist())}
    if not known & true:
        raise InvalidSpecError(
            "target",
            sorted(true)[:20],
            f"the model knows none of these classes, only {list_names(sorted(known), 20)}. Use test rows whose target "
            "has the same labels as the training rows",
        )
    additional = [label_text(value) for value in champion.classes or ()] if champion is not None else []
    names = list(dict.fromkeys([*names, *additional, *sorted(true)]))
    if positive is None:
        return tuple(names)
    if len(names) != 2:
        raise InvalidSpecError(
            "positive_class", positive, f"it requires exactly two classes, and there are {len(names)}. Remove the field"
        )
    if positive not in names:
        raise InvalidSpecError("positive_class", positive, f"it must be one of the two classes, {list_names(names)}")
    return tuple(sorted(names, key=lambda name: name == positive))


def encode_labels(values: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return class labels as codes. Raises KeyError for a label that is not one of the names."""
    import numpy as np
    import pandas as pd

    codes, unique = pd.factorize(values.astype(object))
    by_name = {name: code for code, name in enumerate(names)}
    lookup = np.array([by_name[label_text(value)] for value in unique], dtype=np.int64)
    encoded: NDArray[np.int64] = lookup[codes]
    return encoded


def encode_predictions(
    predicted: RawPredictions, model: ScorableModel, problem: Problem, names: tuple[str, ...]
) -> ModelOutput:
    """Return predictions with classes as codes, and a probability for every class: 0 for those the model lacks."""
    import numpy as np

    if problem == "regression":
        return ModelOutput(predicted.output.astype(np.float64))
    probability = None
    if predicted.probability is not None:
        probability = np.zeros((len(predicted.output), len(names)))
        probability[:, encode_labels(np.asarray(model.classes, dtype=object), names)] = predicted.probability
    return ModelOutput(encode_labels(predicted.output, names), probability)


def _concatenate(parts: list[RawPredictions]) -> RawPredictions:
    import numpy as np

    probabilities = [part.probability for part in parts if part.probability is not None]
    return RawPredictions(
        np.concatenate([part.output for part in parts]), np.concatenate(probabilities) if probabilities else None
    )


def label_text(value: object) -> str:
    """Return the name of a class or group, the same for 1.0 and 1.

    >>> label_text(1.0), label_text("yes")
    ('1', 'yes')
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
