"""MLflow's scoring protocol: `/invocations` with `dataframe_split`, `dataframe_records`, `instances` or `inputs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.models.loaded_model import Answer, LoadedModel
from airflow_provider_mlops.serving.protocols import encoding
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.request import Encoded
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError, shown
from airflow_provider_mlops.serving.rows.rows import Rows

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_KEYS = {*_FORMS, "params", "signature_name"}
_SPLIT_ALONE = {"dataframe_split"}
_SPLIT_KEYS = {"columns", "data", "index"}


@dataclass(slots=True)
class Invocation:
    """A request whose rows have been checked."""

    rows: Rows

    def answer(self, model: LoadedModel, answer: Answer, own_id: str) -> Encoded:
        """MLflow's `predictions`, and beside them the ids under which they were logged."""
        names = prediction_id.of_rows(own_id, self.rows.count)
        return Encoded(encoding.encode({"predictions": answer.output, "prediction_ids": names}))


def read(body: Body, schema: InputSchema) -> Invocation:
    """Read the body of a request. Raises RequestError: 400 for the protocol, 422 for the rows."""
    if body.json_bytes is not None:
        raise RequestError(400, "this protocol knows no binary tensors: send JSON", "Inference-Header-Content-Length")
    return Invocation(parse(encoding.parse(body.content), schema))


def parse(content: Any, schema: InputSchema) -> Rows:
    """Read the body of a request. Raises RequestError: 400 for the protocol, 422 for the rows.

    - `dataframe_split`: `{"columns": [...], "data": [[...], ...]}`; an `index` is ignored.
    - `dataframe_records`: `[{column: value, ...}, ...]`.
    - `instances`: rows, as objects or, for a model of numbers only, as lists in the order of the signature.
    - `inputs`: columns, `{column: [...], ...}`; or rows as in `instances`.
    """
    if type(content) is not dict:
        raise RequestError(400, f"the body must be an object with one of {', '.join(_FORMS)}, not {shown(content)}")
    if content.keys() == _SPLIT_ALONE:
        return _split(content["dataframe_split"], schema)
    forms = [form for form in _FORMS if form in content]
    unknown = sorted(content.keys() - _KEYS)
    if unknown:
        raise RequestError(400, f"{shown(unknown[0])} is not known: send one of {', '.join(_FORMS)}", unknown[0])
    if content.get("params") not in (None, {}):
        raise RequestError(400, "the model takes no params: leave them out", "params")
    if len(forms) != 1:
        raise RequestError(400, f"send exactly one of {', '.join(_FORMS)}, not {', '.join(forms) or 'none'}")
    form = forms[0]
    value = content[form]
    if form == "dataframe_split":
        return _split(value, schema)
    if form == "inputs" and type(value) is dict:
        for name, column in value.items():
            if type(column) is not list:
                raise RequestError(400, f"inputs: column {shown(name)} must be a list, not {shown(column)}", name)
        return signature_check.from_columns(schema, {name: _unnested(column) for name, column in value.items()})
    if type(value) is not list:
        raise RequestError(400, f"{form} must be a list of rows, not {shown(value)}", form)
    if form != "dataframe_records" and value and type(value[0]) is list:
        if not schema.numeric:
            raise RequestError(
                422, f"{form}: not all columns are numbers, so that rows must be objects with their names", form
            )
        return signature_check.from_table(schema, None, value)
    return signature_check.from_records(schema, value)


def _split(value: Any, schema: InputSchema) -> Rows:
    if type(value) is not dict:
        raise RequestError(400, f"dataframe_split must be an object, not {shown(value)}", "dataframe_split")
    if not value.keys() <= _SPLIT_KEYS:
        unknown = min(value.keys() - _SPLIT_KEYS)
        raise RequestError(400, f"dataframe_split has columns, data and index, and no {shown(unknown)}", unknown)
    columns, data = value.get("columns"), value.get("data")
    if columns == schema.name_list and type(data) is list:
        return signature_check.from_table(schema, None, data)
    if type(columns) is not list:
        raise RequestError(400, "dataframe_split.columns must be a list of names", "columns")
    for name in columns:
        if type(name) not in (str, int):
            raise RequestError(422, f"a name must be text or a whole number of 64 bits, not {shown(name)}", "columns")
    if type(data) is not list:
        raise RequestError(400, f"dataframe_split.data must be a list of rows, not {shown(data)}", "data")
    return signature_check.from_table(schema, [str(name) for name in columns], data)


def _unnested(column: list[Any]) -> list[Any]:
    """A column of shape (rows, 1), as clients of tensors write it, as one of shape (rows,)."""
    if column and all(type(value) is list and len(value) == 1 for value in column):
        return [value[0] for value in column]
    return column
