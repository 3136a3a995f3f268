"""Rows in the form that models take, the same for training, evaluation and serving.

An integer column without nulls in training may have one tomorrow, and then pandas and MLflow treat it as floating
point. So all numbers are floating point from the start, for the model and in its signature. Integers in a request are
converted without loss up to 2**53.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy
import pandas
import pyarrow
import pyarrow.compute

from airflow_provider_mlops.data.names import must_be_a_column
from airflow_provider_mlops.data.profile import Problem
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def feature_rows(table: pyarrow.Table, columns: Sequence[str] | None = None) -> pandas.DataFrame:
    """Return columns of an Arrow table in the form in which models are trained and evaluated.

    - Integers, decimals and floats become `float64`, nulls NaN.
    - Booleans stay `bool`; with nulls they become `float64`: 0, 1 and NaN.
    - Strings and dictionaries of strings become `object`, nulls NaN.
    - Dates, times and nested values are converted as Arrow does it.

    >>> table = pyarrow.table({"age": [30, None], "town": ["Rome", None]})
    >>> feature_rows(table).to_dict(orient="list")
    {'age': [30.0, nan], 'town': ['Rome', nan]}
    """
    names = list(table.column_names if columns is None else columns)
    return pandas.DataFrame({name: _feature(table.column(name)) for name in names}, columns=names)


def _feature(column: pyarrow.ChunkedArray) -> Any:
    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pyarrow.types.is_boolean(kind) and not column.null_count:
        return column.to_numpy()
    if pyarrow.types.is_null(kind) or pyarrow.types.is_boolean(kind) or _is_number(kind):
        return column.cast(pyarrow.float64(), safe=False).to_numpy()
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_string_view(kind):
        values = numpy.array(column.to_pylist(), dtype=object)
        if column.null_count:
            values[column.is_null().to_numpy()] = numpy.nan
        return values
    return column.to_pandas().to_numpy()


def target_values(table: pyarrow.Table, target: str, problem: Problem) -> numpy.ndarray[Any, Any]:
    """Return the target column as estimators take it: `float64` for regression, labels for classification.

    Labels keep their type: strings are strings, booleans are booleans, and whole numbers are `int64`, even if nulls in
    the column made them floating point. So a model predicts the labels of the data.

    Raises
    ------
    InvalidSpecError
        There is no such column, or its type does not fit the problem.
    RejectedError
        Values are missing or not finite.
    """
    _require_column(table, target)
    column = table.column(target)
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_floating(column.type):
        missing = int(pyarrow.compute.sum(column.is_null(nan_is_null=True)).as_py() or 0)
    else:
        missing = column.null_count
    if missing:
        raise RejectedError(
            f"Rejected the target {target!r}: the value is missing in {missing:,} of {len(column):,} rows, "
            f"allowed 0. Drop these rows, for example with filters=('\"{target}\" is not null',) in the step prepare."
        )
    if problem == "regression":
        if not (_is_number(column.type) or pyarrow.types.is_boolean(column.type)):
            raise InvalidSpecError(
                "target",
                target,
                f"regression needs numbers, but the column has the type {column.type}. Set problem='classification'",
            )
        values = column.cast(pyarrow.float64(), safe=False).to_numpy()
        infinite = int((~numpy.isfinite(values)).sum())
        if infinite:
            raise RejectedError(
                f"Rejected the target {target!r}: the value is infinite in {infinite:,} of {len(values):,} rows, "
                "allowed 0. Drop these rows in the step prepare."
            )
        return numpy.ascontiguousarray(values)
    return _labels(column, target)


def _labels(column: pyarrow.ChunkedArray, target: str) -> numpy.ndarray[Any, Any]:
    kind = column.type
    if pyarrow.types.is_boolean(kind):
        return numpy.asarray(column.to_numpy(), dtype=bool)
    if _is_number(kind):
        values = numpy.asarray(column.cast(pyarrow.float64(), safe=False).to_numpy())
        whole = numpy.isfinite(values) & (values == numpy.floor(values))
        if not whole.all():
            raise InvalidSpecError(
                "target",
                target,
                f"classes must be whole numbers, strings or booleans, but a value is {values[~whole][0]}. "
                "Set problem='regression', or convert the values to classes in the step prepare",
            )
        if pyarrow.types.is_integer(kind):
            return numpy.asarray(column.cast(pyarrow.int64()).to_numpy())
        return values.astype(numpy.int64)
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_string_view(kind):
        return numpy.array(column.to_pylist(), dtype=object)
    raise InvalidSpecError(
        "target",
        target,
        f"classes must be whole numbers, strings or booleans, but the column has the type {kind}. "
        "Convert the column in the step prepare",
    )


def infer_problem(table: pyarrow.Table, target: str) -> Problem:
    """Return whether the target's values ask for a classification or a regression.

    Strings and booleans are classes, and so are whole numbers with at most 20 distinct values. All other numbers ask
    for a regression.
    """
    _require_column(table, target)
    column = table.column(target).drop_null()
    if not _is_number(column.type):
        return "classification"
    distinct = column.unique().cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    finite = distinct[numpy.isfinite(distinct)]
    few_and_whole = len(finite) <= 20 and bool((finite == numpy.floor(finite)).all())
    return "classification" if few_and_whole else "regression"


def conform(rows: pandas.DataFrame, signature: ModelSignature) -> pandas.DataFrame:
    """Return rows from outside with the columns of the model, in its order and with its types.

    Columns that the model does not know are dropped. Raises InvalidSpecError if a column is missing or a value cannot
    be converted.
    """
    converted: dict[str, Any] = {}
    for spec in signature.inputs.inputs:
        if spec.name not in rows.columns:
            raise InvalidSpecError(
                "rows", list(rows.columns)[:50], f"the column {spec.name!r} is missing. Add it to the rows"
            )
        converted[spec.name] = _conform(rows[spec.name], spec.name, spec.type.name)
    return pandas.DataFrame(converted, index=rows.index, columns=list(converted))


def _conform(column: pandas.Series[Any], name: str, kind: str) -> Any:
    try:
        if kind in ("double", "float"):
            return column.astype(object).where(column.notna(), numpy.nan).astype(numpy.float64)
        if kind == "boolean":
            if column.isna().any():
                raise ValueError("a value is missing")
            if not column.isin([True, False]).all():
                raise ValueError("a value is neither true nor false")
            return column.astype(bool)
        if kind == "string":
            others = [value for value in column.dropna() if not isinstance(value, str)]
            if others:
                raise ValueError(f"{others[0]!r} is not a string")
            return column.astype(object).where(column.notna(), numpy.nan)
        if kind == "datetime":
            return pandas.to_datetime(column)
        return column.astype({"long": numpy.int64, "integer": numpy.int32}.get(kind, object))
    except (ValueError, TypeError) as error:
        raise InvalidSpecError(
            "rows",
            name,
            f"the model requires values of type {kind} in the column {name!r} ({error}). Correct the values of the "
            "column",
        ) from error


def _require_column(table: pyarrow.Table, target: str) -> None:
    if target not in table.column_names:
        raise InvalidSpecError("target", target, must_be_a_column(target, table.column_names))


def _is_number(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_decimal(kind))
