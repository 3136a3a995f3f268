"""Rows in CSV, as MLflow's `/invocations` accepts them: a header with the names of the columns, then one line per row.

Fields are separated by commas, and may be quoted. An empty field without quotes, and those that the extract step reads
as missing (`NA`, `NaN`, `null`, ...), are missing values; a quoted field is text.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.serving.log.schema import FeatureKind
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.rows.input_schema import NUMERIC, InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError
from airflow_provider_mlops.serving.rows.rows import Rows

_SEPARATORS = {b";": "semicolons", b"\t": "tabs", b"|": "vertical bars"}
_BOOLEANS = {"true": True, "false": False}


def parse(content: bytes, schema: InputSchema) -> Rows:
    """Return the rows of a CSV file. Raises RequestError: 400 for the format, 422 for the rows."""
    import pyarrow as pa
    from pyarrow import csv

    if not content.strip():
        raise RequestError(400, "The CSV is empty. Its first line must contain the names of the columns.")
    if content.count(b'"') % 2:
        raise RequestError(400, 'The CSV has a quote (") that is not closed.')
    _check_separator(content, schema)
    try:
        table = csv.read_csv(
            pa.BufferReader(content if content.endswith(b"\n") else content + b"\n"),
            read_options=csv.ReadOptions(use_threads=False, block_size=len(content) + 2),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(schema.names, pa.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise RequestError(400, f"The body is not valid CSV in UTF-8: {error}."[:300]) from None
    names: list[str] = table.column_names
    if "" in names and "" not in schema.by_name:
        message = "The CSV has a column without a name. If it is the index of a DataFrame, write it without an index."
        raise RequestError(422, message, "")
    columns = {
        name: _values(table.column(position).to_pylist(), schema.by_name[name].kind)
        for position, name in enumerate(names)
        if name in schema.by_name
    }
    if len(columns) < len(names):
        # An unknown column or one that is listed twice, which this check names.
        return signature_check.from_table(schema, names, [])
    return signature_check.from_columns(schema, columns)


def _check_separator(content: bytes, schema: InputSchema) -> None:
    header = content.lstrip(b"\r\n").partition(b"\n")[0]
    if b"," in header or len(schema.names) == 1:
        return
    for separator, words in _SEPARATORS.items():
        if separator in header:
            message = f"The columns in the header are separated by {words}. Separate columns by commas."
            raise RequestError(422, message)


def _values(texts: list[str | None], kind: FeatureKind) -> list[Any]:
    """Return the fields of a column as JSON would contain them; one that does not fit remains text."""
    if kind in NUMERIC:
        return [None if text is None else _number(text) for text in texts]
    if kind == "boolean":
        return [None if text is None else _BOOLEANS.get(text.strip().lower(), text) for text in texts]
    return texts


def _number(text: str) -> Any:
    try:
        # Python also accepts 1_000.
        return text if "_" in text else int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
