"""Plain types, and one schema for batches that came with several.

Databases without declared types, CSV files and Python objects show their types only batch by batch: a column that is
empty in the first batch holds numbers in the next, and whole numbers are followed by fractions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow


def plain(batch: pyarrow.RecordBatch | pyarrow.Table) -> pyarrow.Table:
    """The same rows in types that every engine reads the same.

    Dictionaries become their values, decimals doubles, half floats floats, and times microseconds; large and view
    types become the common ones, and metadata go.
    """
    import pyarrow

    table = pyarrow.Table.from_batches([batch]) if isinstance(batch, pyarrow.RecordBatch) else batch
    fields = [pyarrow.field(field.name, plain_type(field.type)) for field in table.schema]
    return conform(table, pyarrow.schema(fields))


def plain_type(kind: pyarrow.DataType) -> pyarrow.DataType:
    """The plain type that values of `kind` are kept in."""
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


def wider(one: pyarrow.Schema, other: pyarrow.Schema) -> pyarrow.Schema:
    """A schema that holds the rows of both: the columns of `one`, then those that only `other` has.

    >>> import pyarrow
    >>> whole, text = pyarrow.schema({"a": "int64"}), pyarrow.schema({"a": "float64", "b": "string"})
    >>> wider(whole, text).field("a").type, wider(whole, text).names
    (DataType(double), ['a', 'b'])
    """
    import pyarrow

    fields = [
        pyarrow.field(field.name, wider_type(field.type, other.field(field.name).type))
        if field.name in other.names
        else field
        for field in one
    ]
    return pyarrow.schema([*fields, *(field for field in other if field.name not in one.names)])


def wider_type(one: pyarrow.DataType, other: pyarrow.DataType) -> pyarrow.DataType:
    """A type for the values of both; text where numbers, times or truth do not go together."""
    import pyarrow

    if one == other:
        return one
    types = pyarrow.types
    if types.is_null(one) or types.is_null(other):
        return other if types.is_null(one) else one
    numbers = [types.is_integer(kind) or types.is_floating(kind) for kind in (one, other)]
    if all(numbers) and (types.is_floating(one) or types.is_floating(other) or "uint64" in (str(one), str(other))):
        return pyarrow.float64()
    if types.is_binary(one) != types.is_binary(other):
        return pyarrow.string()
    try:
        schemas = [pyarrow.schema([("a", kind)]) for kind in (one, other)]
        found = pyarrow.unify_schemas(schemas, promote_options="permissive").field("a").type
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        return pyarrow.string()
    return plain_type(found)


def conform(table: pyarrow.Table, schema: pyarrow.Schema) -> pyarrow.Table:
    """The rows under a schema that is at least as wide; columns that are missing are empty."""
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
        return pyarrow.chunked_array([pyarrow.array([_written(value) for value in column.to_pylist()], type=kind)])
    # Not safe: microseconds in place of nanoseconds, and doubles in place of whole numbers beyond 2**53, are meant.
    return column.cast(kind, safe=False)


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return json.dumps(value, default=str)
