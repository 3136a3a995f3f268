"""Read the rows of a dataset to train or measure a model on, and check that they can be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.names import list_names, suggest
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.scoring.metrics import Problem

if TYPE_CHECKING:
    import numpy
    import pandas


@dataclass(frozen=True)
class Rows:
    """Feature rows in the form of `registry.rows`, and their targets.

    Parameters
    ----------
    features
        One column for each feature.
    target
        Shape (rows,): class labels as the data has them, or float64 for regression.
    """

    features: pandas.DataFrame
    target: numpy.ndarray[Any, Any]

    def take(self, positions: numpy.ndarray[Any, Any]) -> Rows:
        """Return the rows at the given positions."""
        return Rows(self.features.iloc[positions], self.target[positions])


def read_rows(
    dataset: Dataset, target: str, problem: Problem, field: str = "dataset", training: Rows | None = None
) -> Rows:
    """Read the rows of a dataset.

    Parameters
    ----------
    field
        Name of the spec's field that holds the dataset, for error messages.
    training
        Training rows. If given, the same columns are read, and they must hold the same kind of values.

    Raises
    ------
    InvalidSpecError
        If a column is missing or holds another kind of values than in the training rows.
    RejectedError
        If there are no rows, or if targets are missing, infinite or all of one class.
    """
    from airflow_provider_mlops.registry.rows import feature_rows, target_values

    manifest = dataset.manifest
    columns = [column.name for column in manifest.columns]
    if target not in columns:
        raise InvalidSpecError(
            "target", target, f"it must be a column of the dataset {dataset.name}. {suggest(target, columns)}"
        )
    if not manifest.rows:
        raise RejectedError(
            f"Rejected {field} {dataset.uri}: it has no rows, but at least 1 is required. Extract more rows "
            "or relax the filters of the prepare task."
        )
    features = [name for name in columns if name != target] if training is None else list(training.features.columns)
    missing = [name for name in features if name not in columns]
    if missing:
        raise InvalidSpecError(
            field,
            dataset.uri,
            f"the dataset lacks the training columns {list_names(missing)}. Use the output of the same prepare task",
        )
    if not features:
        raise InvalidSpecError(
            field, dataset.uri, f"the dataset must have at least one feature column besides the target {target!r}"
        )
    table = dataset.arrow([*features, target])
    rows = Rows(feature_rows(table, features), target_values(table, target, problem))
    if training is not None:
        _check_kinds(field, dataset, rows, training)
    elif problem == "classification":
        _check_classes(rows.target, target)
    return rows


def _check_kinds(field: str, dataset: Dataset, rows: Rows, training: Rows) -> None:
    for name in training.features.columns:
        trained, given = training.features[name], rows.features[name]
        if trained.isna().all() or given.isna().all():
            continue
        if (trained.dtype.kind == "O") != (given.dtype.kind == "O"):
            raise InvalidSpecError(
                field,
                dataset.uri,
                f"the column {name!r} holds {_describe_kind(given)}, but in the training rows it holds "
                f"{_describe_kind(trained)}. Use the output of the same prepare task",
            )


def _describe_kind(column: pandas.Series[Any]) -> str:
    from pandas.api.types import infer_dtype

    return f"{infer_dtype(column, skipna=True)} values" if column.dtype.kind == "O" else "numbers"


def _check_classes(target: numpy.ndarray[Any, Any], name: str) -> None:
    classes = set(target.tolist())
    if len(classes) < 2:
        raise RejectedError(
            f"Rejected target {name!r}: all rows ({len(target):,}) are of the class {next(iter(classes))!r}, but a "
            "classifier needs at least 2 classes. Extract rows of other classes too."
        )
