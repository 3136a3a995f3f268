"""The test rows as an evaluation sees them: the truth, the slice columns, and what each model says.

Rows are read and predicted a batch at a time, so that of a wide dataset only what is asked for stays in memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError, MlopsError, RejectedError
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput, Problem

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Scorable:
    """A fitted model and the columns that it takes, in their order."""

    estimator: Any
    features: tuple[str, ...]

    @property
    def classes(self) -> list[Any] | None:
        """The classes it knows, in the order of its probabilities; None for a regressor."""
        classes = getattr(self.estimator, "classes_", None)
        return None if classes is None else list(classes)

    def known(self, answers: Answers) -> NDArray[Any]:
        """The classes it knows; of a model that does not say, those that it predicts."""
        import numpy as np

        return answers.output if self.classes is None else np.asarray(self.classes, dtype=object)


@dataclass
class Answers:
    """What one model says of all rows, as it says it.

    :param output: of shape (rows,): class labels or numbers.
    :param probability: of shape (rows, classes of the model), or None.
    """

    output: NDArray[Any]
    probability: NDArray[np.float64] | None


@dataclass
class TestRows:
    """The rows, in the order of the dataset.

    :param truth: the target, of shape (rows,): class labels as they are, or float64.
    :param columns: the columns that were asked for.
    :param answers: by model.
    :param errors: why a model has no answers.
    """

    truth: NDArray[Any]
    columns: pd.DataFrame
    answers: dict[str, Answers]
    errors: dict[str, str] = field(default_factory=dict)


def read_rows(
    dataset: Dataset, target: str, problem: Problem, columns: tuple[str, ...], models: dict[str, Scorable]
) -> TestRows:
    """Read the dataset and let each model predict it.

    :param columns: columns to keep beside the target: those of slices and sensitive groups.
    :param models: the model under evaluation as `model`, and others. One of the others that cannot answer is left out
        of the answers, and `errors` says why; an error of `model` is raised.

    Raises InvalidSpecError for a dataset without rows or a target that does not suit the problem, RejectedError if
    target values are missing.
    """
    import pandas as pd
    import pyarrow

    from airflow_provider_mlops.registry.rows import feature_rows, target_values

    needed = {target, *columns, *(name for model in models.values() for name in model.features)}
    truths: list[pyarrow.Table] = []
    kept: list[pd.DataFrame] = []
    parts: dict[str, list[Answers]] = {name: [] for name in models}
    errors: dict[str, str] = {}
    done, started, reported = 0, time.monotonic(), time.monotonic()
    for batch in batches(dataset, sorted(needed)):
        table = pyarrow.Table.from_batches([batch])
        truths.append(table.select([target]))
        kept.append(table.select(list(columns)).to_pandas())
        for name, model in models.items():
            if name in errors:
                continue
            try:
                parts[name].append(answer(model, feature_rows(table, model.features)))
            except Exception as error:
                if name == "model":
                    raise _cannot_predict(dataset, table.select(list(model.features)), error) from error
                errors[name] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        done += table.num_rows
        if time.monotonic() - reported > 10:
            reported = time.monotonic()
            log.info("Predicted %s of %s rows in %.0f s", f"{done:,}", f"{dataset.rows:,}", reported - started)
    if not done:
        raise InvalidSpecError("dataset", dataset.uri, "it has no rows: evaluate on a test set that has some")
    answers = {name: _joined(parts[name]) for name in models if name not in errors}
    log.info("Predicted %s rows with %s in %.1f s", f"{done:,}", " and ".join(answers), time.monotonic() - started)
    truth = target_values(pyarrow.concat_tables(truths, promote_options="permissive"), target, problem)
    return TestRows(truth, pd.concat(kept, ignore_index=True), answers, errors)


def batches(dataset: Dataset, columns: list[str]) -> Iterator[pyarrow.RecordBatch]:
    """The dataset's rows in the order of its files, some columns, a bounded number at a time."""
    from airflow_provider_mlops.data import parquet_read

    for uri in dataset.files():
        for batch in parquet_read.batches(uri, _BATCH_ROWS, columns):
            if batch.num_rows:
                yield batch


def answer(model: Scorable, features: pd.DataFrame) -> Answers:
    """The model's outputs for the rows and, if it gives them, its probabilities.

    Raises RejectedError if an output is no finite number where it should be, or has more than one column.
    """
    import numpy as np

    output = np.asarray(model.estimator.predict(features))
    if output.ndim == 2 and output.shape[1] == 1:
        output = output[:, 0]
    if output.ndim != 1:
        raise RejectedError(f"the model gives {output.shape[1]} outputs a row; models of one target can be evaluated")
    probability = None
    if hasattr(model.estimator, "predict_proba") and model.classes is not None:
        probability = np.asarray(model.estimator.predict_proba(features), dtype=np.float64)
    for values, what in ((output, "predictions"), (probability, "probabilities")):
        if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
            raise RejectedError(
                f"{bad} of {len(values)} {what} of the model are not finite: train it again on clean data"
            )
    return Answers(output, probability)


def _cannot_predict(dataset: Dataset, features: pyarrow.Table, error: Exception) -> Exception:
    """What to raise when the model refuses rows: an error of ours as it is, and otherwise one that names the rows."""
    import numpy as np
    import pyarrow

    if isinstance(error, MlopsError) or not isinstance(error, ValueError | TypeError):
        return error
    infinite = [
        name
        for name, column in zip(features.column_names, features.columns, strict=True)
        if pyarrow.types.is_floating(column.type) and np.isinf(column.to_numpy()).any()
    ]
    cause = f"the columns {infinite[:20]} have infinite values" if infinite else str(error).splitlines()[0][:300]
    return InvalidSpecError(
        "dataset",
        dataset.uri,
        f"the model cannot predict its rows: {cause}. Evaluate on the test part of the prepare task that made the rows "
        "for training",
    )


def class_names(model: Scorable, rows: TestRows, champion: Scorable | None, positive: str | None) -> tuple[str, ...]:
    """The classes as text, by code: those of the model in its order, then what only the champion or the truth knows.

    With two classes the second is the positive one. Raises InvalidSpecError if `positive` is none of two classes, if
    the model predicts numbers that are no classes, or if the truth has no class that the model knows.
    """
    output = rows.answers["model"].output
    if model.classes is None and output.dtype.kind == "f" and (output != output.round()).any():
        raise InvalidSpecError(
            "problem", "classification", f"the model predicts numbers such as {output[0]:.6g}: write 'regression'"
        )
    names = [as_text(value) for value in model.classes or sorted(set(output.tolist()), key=str)]
    known, true = set(names), {as_text(value) for value in set(rows.truth.tolist())}
    if not known & true:
        raise InvalidSpecError(
            "target",
            sorted(true)[:20],
            f"none of these is a class of the model, which knows {sorted(known)[:20]}: evaluate on rows whose target "
            "is written as it was in training",
        )
    further = [as_text(value) for value in champion.classes or ()] if champion is not None else []
    further += sorted(true)
    names = list(dict.fromkeys([*names, *further]))
    if positive is None:
        return tuple(names)
    if len(names) != 2 or positive not in names:
        raise InvalidSpecError(
            "positive_class",
            positive,
            f"it chooses between two classes, and here are {', '.join(map(repr, names[:20]))}",
        )
    return tuple(sorted(names, key=lambda name: name == positive))


def encode(values: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Class labels as codes. A label that is none of the names gets a KeyError."""
    import numpy as np
    import pandas as pd

    codes, unique = pd.factorize(values.astype(object))
    by_name = {name: code for code, name in enumerate(names)}
    lookup = np.array([by_name[as_text(value)] for value in unique], dtype=np.int64)
    encoded: NDArray[np.int64] = lookup[codes]
    return encoded


def as_predictions(answers: Answers, model: Scorable, problem: Problem, names: tuple[str, ...]) -> ModelOutput:
    """A model's answers with its classes as codes, and a probability for every class: 0 for those it does not know."""
    import numpy as np

    if problem == "regression":
        return ModelOutput(answers.output.astype(np.float64))
    probability = None
    if answers.probability is not None:
        probability = np.zeros((len(answers.output), len(names)))
        probability[:, encode(np.asarray(model.classes, dtype=object), names)] = answers.probability
    return ModelOutput(encode(answers.output, names), probability)


def _joined(parts: list[Answers]) -> Answers:
    import numpy as np

    probabilities = [part.probability for part in parts if part.probability is not None]
    return Answers(
        np.concatenate([part.output for part in parts]), np.concatenate(probabilities) if probabilities else None
    )


def as_text(value: object) -> str:
    """A value as it is called: 1.0 and 1 are the same class or group."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
