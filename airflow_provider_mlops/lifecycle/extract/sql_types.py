"""What a database's values become in Arrow: by the types that its cursors declare, or by the values themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

# PostgreSQL's cursors say what type a column has, by object identifiers that never change.
_POSTGRESQL_TYPES = {
    16: "bool", 20: "int64", 21: "int64", 23: "int64", 26: "int64", 700: "float64", 701: "float64", 1700: "float64",
    18: "string", 19: "string", 25: "string", 1042: "string", 1043: "string", 2950: "string", 142: "string",
    790: "string", 869: "string", 650: "string", 1560: "string", 1562: "string", 114: "json", 3802: "json",
    1082: "date32", 1083: "time64[us]", 1114: "timestamp[us]", 1184: "timestamp[us, tz=UTC]", 17: "binary",
    # Arrow's times of day have no zone, so those that have one are kept as text.
    1266: "string", 1186: "duration[us]",
}  # fmt: skip
# Arrays of PostgreSQL's own types; each value is kept as JSON.
_POSTGRESQL_ARRAYS = {
    143, 199, 651, 791, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1028, 1041, 1115, 1182,
    1183, 1185, 1187, 1231, 1270, 1561, 1563, 2951, 3807,
}  # fmt: skip
# From this identifier on, types are the users' own: enumerations, and those of extensions.
_POSTGRESQL_OWN = 16384

# MySQL's and MariaDB's protocol numbers its types. Text and bytes share theirs, and are told apart by the values.
_MYSQL_TYPES = {
    0: "float64", 1: "int64", 2: "int64", 3: "int64", 4: "float64", 5: "float64", 7: "timestamp[us]", 8: "int64",
    9: "int64", 10: "date32", 11: "duration[us]", 12: "timestamp[us]", 13: "int64", 245: "string", 246: "float64",
    247: "string", 248: "string",
}  # fmt: skip


def declared_types(dialect: str, description: Sequence[Sequence[Any]] | None, columns: int) -> list[str | None]:
    """What a cursor declares its columns to be; None for each that only its values can tell.

    :param dialect: SQLAlchemy's name of the database.
    :param description: of the cursor, as PEP 249 has it.
    :param columns: how many there are.
    """
    if description is None:
        return [None] * columns
    codes = [column[1] for column in description]
    if dialect == "postgresql":
        return [_postgresql_type(code) for code in codes]
    if dialect in ("mysql", "mariadb"):
        return [_MYSQL_TYPES.get(code) for code in codes]
    return [None] * columns


def _postgresql_type(code: int) -> str | None:
    if code in _POSTGRESQL_ARRAYS:
        return "json"
    return "string" if code >= _POSTGRESQL_OWN else _POSTGRESQL_TYPES.get(code)


def to_arrow(names: Sequence[str], rows: Sequence[Sequence[Any]], declared: Sequence[str | None]) -> pyarrow.Table:
    """Rows of Python values as an Arrow table; a type that is not declared follows from the values."""
    import pyarrow

    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pyarrow.table(
        [_array(values, kind) for values, kind in zip(columns, declared, strict=True)], names=list(names)
    )


def _array(values: Sequence[Any], declared: str | None) -> pyarrow.Array:
    import pyarrow

    if declared == "json":
        # Drivers have read it already; whether a column is JSON must not depend on what stands first in a batch.
        values = [None if value is None else json.dumps(value, default=str) for value in values]
    first = next((value for value in values if value is not None), None)
    if isinstance(first, dict | list | tuple):
        values = [None if value is None else json.dumps(value, default=str) for value in values]
    elif isinstance(first, memoryview):
        values = [None if value is None else bytes(value) for value in values]
    try:
        return pyarrow.array(values, type=_arrow_type(declared))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError, OverflowError):
        pass
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        return pyarrow.array([None if value is None else float(value) for value in values], type="float64")
    if declared == "float64":
        return pyarrow.array([None if value is None else float(value) for value in values], type="float64")
    # Values of several kinds, or of one that Arrow does not know, such as UUIDs.
    return pyarrow.array([None if value is None else str(value) for value in values], type="string")


def _arrow_type(declared: str | None) -> pyarrow.DataType | None:
    import pyarrow

    if declared is None:
        return None
    if declared.startswith("timestamp"):
        return pyarrow.timestamp("us", tz="UTC" if "UTC" in declared else None)
    return pyarrow.string() if declared == "json" else pyarrow.type_for_alias(declared)
