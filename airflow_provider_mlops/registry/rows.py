"""Rows as models see them: one form for training, evaluation and serving.

An integer column that has no null in training may have one tomorrow, and then pandas and MLflow
call it floating point. So numbers are floating point from the start, for the model and in its
signature, and a whole number in a request is converted without loss up to 2**53.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy
import pandas
import pyarrow
import pyarrow.compute

from airflow_provider_mlops.errors import InvalidSpecError, RejectedError

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def feature_rows(table: pyarrow.Table, columns: Sequence[str] | None = None) -> pandas.DataFrame:
    """The columns of an Arrow table as a model is trained on them and evaluated with.

    - Integers, decimals and floats become `float64`, nulls NaN.
    - Booleans stay `bool`; with nulls they become `float64`: 0, 1 and NaN.
    - Strings and dictionaries of strings become `object`, nulls NaN.
    - Dates, times and nested values stay what Arrow makes of them.

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


def target_values(table: pyarrow.Table, target: str, problem: str) -> numpy.ndarray[Any, Any]:
    """The target column as estimators take it: `float64` for regression; for classification the labels as they are.

    Labels stay native: strings are strings, booleans booleans, and whole numbers `int64`, also where
    a column with nulls made them floating point. What a model predicts is what the data calls it.

    Raises InvalidSpecError if there is no such column or its type does not suit the problem, RejectedError if
    values are missing or not finite.
    """
    if target not in table.column_names:
        raise InvalidSpecError("target", target, f"name one of the columns: {', '.join(table.column_names[:50])}")
    column = table.column(target)
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_floating(column.type):
        missing = int(pyarrow.compute.sum(column.is_null(nan_is_null=True)).as_py() or 0)
    else:
        missing = column.null_count
    if missing:
        raise RejectedError(
            f"target={target!r}: {missing} of {len(column)} rows have no value in it: leave them out, "
            f"e.g. with prepare's filters=('\"{target}\" is not null',)"
        )
    if problem == "regression":
        if not (_is_number(column.type) or pyarrow.types.is_boolean(column.type)):
            raise InvalidSpecError(
                "target",
                target,
                f"regression needs numbers, and the column is {column.type}: set problem='classification'",
            )
        values = column.cast(pyarrow.float64(), safe=False).to_numpy()
        infinite = int((~numpy.isfinite(values)).sum())
        if infinite:
            raise RejectedError(
                f"target={target!r}: {infinite} of {len(values)} values are infinite: leave these rows out in prepare"
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
                f"classes must be whole numbers, strings or booleans, and {values[~whole][0]} is none: "
                "set problem='regression', or make classes of it in prepare",
            )
        if pyarrow.types.is_integer(kind):
            return numpy.asarray(column.cast(pyarrow.int64()).to_numpy())
        return values.astype(numpy.int64)
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_string_view(kind):
        return numpy.array(column.to_pylist(), dtype=object)
    raise InvalidSpecError("target", target, f"classes must be whole numbers, strings or booleans, not {kind}")


def infer_problem(table: pyarrow.Table, target: str) -> str:
    """`classification` or `regression`, from the target's values.

    Strings and booleans are classes, and so are whole numbers with at most 20 distinct values; all other numbers are a
    quantity.
    """
    if target not in table.column_names:
        raise InvalidSpecError("target", target, f"name one of the columns: {', '.join(table.column_names[:50])}")
    column = table.column(target).drop_null()
    if not _is_number(column.type):
        return "classification"
    distinct = column.unique().cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    finite = distinct[numpy.isfinite(distinct)]
    few_and_whole = len(finite) <= 20 and bool((finite == numpy.floor(finite)).all())
    return "classification" if few_and_whole else "regression"


def conform(rows: pandas.DataFrame, signature: ModelSignature) -> pandas.DataFrame:
    """Rows that came from outside, in the model's form: its columns, in its order, with its types.

    Columns that the model does not know are left out. Raises InvalidSpecError that names a missing column, or
    the column and the type of a value that cannot be converted.
    """
    converted: dict[str, Any] = {}
    for spec in signature.inputs.inputs:
        if spec.name not in rows.columns:
            raise InvalidSpecError("rows", list(rows.columns)[:50], f"the model needs the column {spec.name!r}")
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
            present = column.dropna()
            if not present.map(lambda value: isinstance(value, str)).all():
                raise ValueError(
                    f"{present[present.map(lambda value: not isinstance(value, str))].iloc[0]!r} is no string"
                )
            return column.astype(object).where(column.notna(), numpy.nan)
        if kind == "datetime":
            return pandas.to_datetime(column)
        return column.astype({"long": numpy.int64, "integer": numpy.int32}.get(kind, object))
    except (ValueError, TypeError) as error:
        raise InvalidSpecError("rows", name, f"the model needs a {kind} in this column: {error}") from error


def _is_number(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_decimal(kind))
