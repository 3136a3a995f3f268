"""MLflow's scoring protocol: `/invocations` with one of four JSON forms, or with CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel, ModelResponse
from airflow_provider_mlops.serving.protocols import csv_rows, encoding, protocol_v2
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.headers import JSON_LENGTH_HEADER
from airflow_provider_mlops.serving.protocols.parsed_request import Encoded
from airflow_provider_mlops.serving.protocols.tensors import Tensor
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value
from airflow_provider_mlops.serving.rows.rows import Rows

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_KEYS = {*_FORMS, "params", "signature_name"}
_SPLIT_ALONE = {"dataframe_split"}
_SPLIT_KEYS = {"columns", "data", "index"}


@dataclass(slots=True)
class Invocation:
    """A request whose rows have been validated."""

    rows: Rows

    def check_outputs(self, model: LoadedModel) -> None:
        """Do nothing: this protocol has one output, which every model has."""

    def encode(self, model: LoadedModel, response: ModelResponse, own_id: str) -> Encoded:
        """Return MLflow's `predictions`, and the ids under which they were logged."""
        names = prediction_id.of_rows(own_id, self.rows.count)
        return Encoded(encoding.encode({"predictions": response.output, "prediction_ids": names}))


def parse(body: Body, schema: InputSchema) -> Invocation:
    """Parse the body of a request. Raises RequestError: 400 for the format, 422 for the rows."""
    if body.json_bytes is not None:
        raise RequestError(400, "This protocol does not support binary tensors. Send JSON.", JSON_LENGTH_HEADER)
    if body.is_csv:
        if schema.row_shape is not None:
            raise _takes_a_tensor("CSV", schema, None)
        return Invocation(csv_rows.parse(body.content, schema))
    return Invocation(parse_rows(encoding.decode(body.content), schema))


def parse_rows(content: Any, schema: InputSchema) -> Rows:
    """Return the rows of a decoded body. Raises RequestError: 400 for the format, 422 for the rows.

    - `dataframe_split`: `{"columns": [...], "data": [[...], ...]}`; an `index` is ignored.
    - `dataframe_records`: `[{column: value, ...}, ...]`.
    - `instances`: rows, as objects or, if all columns are numeric, as lists in the order of the signature.
    - `inputs`: columns, `{column: [...], ...}`; one row, `{column: value, ...}`; or rows as in `instances`.

    If the model has only one column, a row may be a single value. If it takes a tensor that is not a table, `instances`
    and `inputs` are that tensor.
    """
    if type(content) is not dict:
        raise RequestError(
            400, f"The body must be an object with one of {', '.join(_FORMS)}, not {format_value(content)}."
        )
    if content.keys() == _SPLIT_ALONE and schema.row_shape is None:
        return _split(content["dataframe_split"], schema)
    forms = [form for form in _FORMS if form in content]
    unknown = sorted(content.keys() - _KEYS)
    if unknown:
        raise RequestError(
            400, f"Unknown field {format_value(unknown[0])}. Send one of {', '.join(_FORMS)}.", unknown[0]
        )
    if content.get("params") not in (None, {}):
        raise RequestError(400, "Parameters are not supported. Omit params.", "params")
    if content.get("signature_name") is not None:
        raise RequestError(
            400,
            "signature_name is not supported. Omit it; to receive probabilities, request the output predict_proba at "
            "/v2/models/NAME/infer.",
            "signature_name",
        )
    if len(forms) != 1:
        raise RequestError(
            400, f"The body must have exactly one of {', '.join(_FORMS)}; it has {', '.join(forms) or 'none'}."
        )
    form = forms[0]
    value = content[form]
    if schema.row_shape is not None:
        return _tensor(form, value, schema)
    if form == "dataframe_split":
        return _split(value, schema)
    if form == "inputs" and type(value) is dict:
        return _columns(value, schema)
    if form == "inputs" and type(value) is not list and len(schema.names) == 1:
        value = [value]
    if type(value) is not list:
        # A single value is a request of the right form; only this model has several columns.
        status = 422 if form == "inputs" else 400
        raise RequestError(status, f"{form} must be a list of rows, not {format_value(value)}.", form)
    if form != "dataframe_records" and value:
        if type(value[0]) is list:
            if not schema.numeric:
                raise RequestError(
                    422,
                    f"The rows of {form} must be objects with column names, because not all columns are numeric.",
                    form,
                )
            return signature_check.from_table(schema, None, value)
        if type(value[0]) is not dict and len(schema.names) == 1:
            return signature_check.from_columns(schema, {schema.names[0]: value})
    return signature_check.from_records(schema, value)


def _columns(value: dict[str, Any], schema: InputSchema) -> Rows:
    """Return the rows of `inputs`: lists by column, or one value per column for a single row."""
    single = [name for name, column in value.items() if type(column) is not list]
    if single and len(single) == len(value):
        return signature_check.from_columns(schema, {name: [cell] for name, cell in value.items()})
    if single:
        raise RequestError(
            400,
            f"Column {format_value(single[0])} of inputs must be a list like the other columns, not "
            f"{format_value(value[single[0]])}.",
            single[0],
        )
    return signature_check.from_columns(schema, {name: _flatten(column) for name, column in value.items()})


def _tensor(form: str, value: Any, schema: InputSchema) -> Rows:
    """Return the rows of a model that takes a tensor: nested lists, with or without the tensor's name."""
    if form.startswith("dataframe"):
        raise _takes_a_tensor(form, schema, form)
    if form == "inputs" and type(value) is dict and len(value) == 1:
        value = next(iter(value.values()))
    if type(value) is not list:
        raise _takes_a_tensor(format_value(value), schema, form)
    if form == "instances" and value and all(type(row) is dict and len(row) == 1 for row in value):
        value = [next(iter(row.values())) for row in value]
    shape = [len(value), *(schema.row_shape or ())]
    return protocol_v2.rows_of([Tensor(form, "FP64", shape, value)], schema)


def _takes_a_tensor(received: str, schema: InputSchema, field: str | None) -> RequestError:
    shape = [-1, *(schema.row_shape or ())]
    message = f"The model takes a tensor of shape {shape}, not {received}. Send nested lists as inputs or instances."
    return RequestError(422, message, field)


def _split(value: Any, schema: InputSchema) -> Rows:
    if type(value) is not dict:
        raise RequestError(400, f"dataframe_split must be an object, not {format_value(value)}.", "dataframe_split")
    if not value.keys() <= _SPLIT_KEYS:
        unknown = min(value.keys() - _SPLIT_KEYS)
        raise RequestError(
            400,
            f"dataframe_split has the unknown field {format_value(unknown)}. Allowed fields: columns, data, index.",
            unknown,
        )
    columns, data = value.get("columns"), value.get("data")
    if columns == schema.name_list and type(data) is list:
        return signature_check.from_table(schema, None, data)
    if type(columns) is not list:
        raise RequestError(400, "dataframe_split.columns must be a list of column names.", "columns")
    for name in columns:
        if type(name) not in (str, int):
            raise RequestError(
                422, f"A column name must be text or a 64-bit integer, not {format_value(name)}.", "columns"
            )
    if type(data) is not list:
        raise RequestError(400, f"dataframe_split.data must be a list of rows, not {format_value(data)}.", "data")
    return signature_check.from_table(schema, [str(name) for name in columns], data)


def _flatten(column: list[Any]) -> list[Any]:
    """Return a column of shape (rows, 1), as tensor clients send it, with the shape (rows,)."""
    if column and all(type(value) is list and len(value) == 1 for value in column):
        return [value[0] for value in column]
    return column
