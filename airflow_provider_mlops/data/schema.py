"""Plain types, and one schema for batches with different schemas.

Databases without declared types, CSV files and Python objects reveal their types batch by batch: a column that is empty
in the first batch has numbers in the next, and integers are followed by fractions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow


def plain(batch: pyarrow.RecordBatch | pyarrow.Table) -> pyarrow.Table:
    """Return the rows in types that every engine reads the same way.

    Dictionaries become their values, decimals doubles, half floats floats, and times microseconds. Large and view types
    become the usual ones, and metadata is dropped.
    """
    import pyarrow

    table = pyarrow.Table.from_batches([batch]) if isinstance(batch, pyarrow.RecordBatch) else batch
    fields = [pyarrow.field(field.name, plain_type(field.type)) for field in table.schema]
    return conform(table, pyarrow.schema(fields))


def plain_type(kind: pyarrow.DataType) -> pyarrow.DataType:
    """Return the plain type in which values of type `kind` are stored."""
    import pyarrow

    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        return plain_type(kind.storage_type)
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_decimal(kind):
        return pyarrow.float64()
    if types.is_float16(kind):
        return pyarrow.float32()
    if types.is_large_string(kind) or str(kind) == "string_view":
        return pyarrow.string()
    if types.is_large_binary(kind) or types.is_fixed_size_binary(kind) or str(kind) == "binary_view":
        return pyarrow.binary()
    if types.is_timestamp(kind):
        return pyarrow.timestamp("us", tz=kind.tz)
    if types.is_date64(kind):
        return pyarrow.date32()
    if types.is_time(kind):
        return pyarrow.time64("us")
    if types.is_duration(kind):
        return pyarrow.duration("us")
    return kind


def wider(first: pyarrow.Schema, second: pyarrow.Schema) -> pyarrow.Schema:
    """Return a schema that holds the rows of both: the columns of `first`, then those that only `second` has.

    >>> import pyarrow
    >>> integers, floats = pyarrow.schema({"a": "int64"}), pyarrow.schema({"a": "float64", "b": "string"})
    >>> wider(integers, floats).field("a").type, wider(integers, floats).names
    (DataType(double), ['a', 'b'])
    """
    import pyarrow

    fields = [
        pyarrow.field(field.name, wider_type(field.type, second.field(field.name).type))
        if field.name in second.names
        else field
        for field in first
    ]
    return pyarrow.schema([*fields, *(field for field in second if field.name not in first.names)])


def wider_type(first: pyarrow.DataType, second: pyarrow.DataType) -> pyarrow.DataType:
    """Return a type that holds the values of both types; text if they have no other type in common."""
    import pyarrow

    if first == second:
        return first
    types = pyarrow.types
    if types.is_null(first) or types.is_null(second):
        return second if types.is_null(first) else first
    both = (first, second)
    if all(types.is_integer(kind) or types.is_floating(kind) for kind in both) and (
        any(types.is_floating(kind) or str(kind) == "uint64" for kind in both)
    ):
        return pyarrow.float64()
    if types.is_binary(first) != types.is_binary(second):
        return pyarrow.string()
    try:
        schemas = [pyarrow.schema([("a", kind)]) for kind in both]
        unified = pyarrow.unify_schemas(schemas, promote_options="permissive").field("a").type
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        return pyarrow.string()
    return plain_type(unified)


def conform(table: pyarrow.Table, schema: pyarrow.Schema) -> pyarrow.Table:
    """Return the rows in a schema that is at least as wide. Missing columns are filled with nulls."""
    import pyarrow

    if table.schema.equals(schema, check_metadata=True):
        return table
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(_cast(table[field.name], field.type))
        else:
            columns.append(pyarrow.chunked_array([pyarrow.nulls(table.num_rows, field.type)]))
    return pyarrow.table(columns, schema=schema)


def _cast(column: pyarrow.ChunkedArray, kind: pyarrow.DataType) -> pyarrow.ChunkedArray:
    import pyarrow

    if column.type == kind:
        return column
    if isinstance(column.type, pyarrow.BaseExtensionType):
        column = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], type=column.type.storage_type)
    if pyarrow.types.is_string(kind) and (pyarrow.types.is_nested(column.type) or pyarrow.types.is_binary(column.type)):
        return pyarrow.chunked_array([pyarrow.array([_to_text(value) for value in column.to_pylist()], type=kind)])
    # Unsafe on purpose: nanoseconds become microseconds, and integers beyond 2**53 become doubles.
    return column.cast(kind, safe=False)


def _to_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return json.dumps(value, default=str)
