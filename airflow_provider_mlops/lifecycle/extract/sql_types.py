"""The Arrow types of a database's values, from the types that its cursors declare or from the values themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

# PostgreSQL's cursors declare types as object identifiers, which never change.
_POSTGRESQL_TYPES = {
    16: "bool",
    20: "int64",
    21: "int64",
    23: "int64",
    26: "int64",
    700: "float64",
    701: "float64",
    1700: "float64",
    18: "string",
    19: "string",
    25: "string",
    1042: "string",
    1043: "string",
    2950: "string",
    142: "string",
    790: "string",
    869: "string",
    650: "string",
    1560: "string",
    1562: "string",
    114: "json",
    3802: "json",
    1082: "date32",
    1083: "time64[us]",
    1114: "timestamp[us]",
    1184: "timestamp[us, tz=UTC]",
    17: "binary",
    # Arrow's times of day have no zone, so a time of day with a zone becomes text.
    1266: "string",
    1186: "duration[us]",
}
# Arrays of built-in types; each value becomes JSON.
_POSTGRESQL_ARRAYS = {
    143,
    199,
    651,
    791,
    1000,
    1001,
    1002,
    1003,
    1005,
    1007,
    1009,
    1014,
    1015,
    1016,
    1021,
    1022,
    1028,
    1041,
    1115,
    1182,
    1183,
    1185,
    1187,
    1231,
    1270,
    1561,
    1563,
    2951,
    3807,
}
# From this identifier on, types are user-defined: enumerations, and the types of extensions.
_POSTGRESQL_OWN = 16384

# Type numbers of the protocol of MySQL and MariaDB. Text and bytes have the same number; the values decide.
_MYSQL_TYPES = {
    0: "float64",
    1: "int64",
    2: "int64",
    3: "int64",
    4: "float64",
    5: "float64",
    7: "timestamp[us]",
    8: "int64",
    9: "int64",
    10: "date32",
    11: "duration[us]",
    12: "timestamp[us]",
    13: "int64",
    245: "string",
    246: "float64",
    247: "string",
    248: "string",
}


def declared_types(dialect: str, description: Sequence[Sequence[Any]] | None, columns: int) -> list[str | None]:
    """Return the types that a cursor declares for its columns; None where only the values can tell.

    Parameters
    ----------
    dialect
        SQLAlchemy's name of the database.
    description
        The cursor's description as defined by PEP 249.
    columns
        Number of columns.
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
    """Convert rows of Python values to an Arrow table. The values decide on types that are not declared."""
    import pyarrow

    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pyarrow.table(
        [_array(values, kind) for values, kind in zip(columns, declared, strict=True)], names=list(names)
    )


def _array(values: Sequence[Any], declared: str | None) -> pyarrow.Array:
    import pyarrow

    if declared == "json":
        # Drivers have parsed it already. Whether a column is JSON must not depend on the first value of a batch.
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
    # Values of several types, or of a type that Arrow does not know, such as UUID.
    return pyarrow.array([None if value is None else str(value) for value in values], type="string")


def _arrow_type(declared: str | None) -> pyarrow.DataType | None:
    import pyarrow

    if declared is None:
        return None
    if declared.startswith("timestamp"):
        return pyarrow.timestamp("us", tz="UTC" if "UTC" in declared else None)
    return pyarrow.string() if declared == "json" else pyarrow.type_for_alias(declared)
