"""The Open Inference Protocol, version 2, in JSON and with its extension for binary tensors.

A request sends each column as a separate tensor of shape [rows] or [rows, 1], as MLServer's pandas codec encodes a
DataFrame. If all columns are numeric, it may instead send one tensor of shape [rows, columns], with the columns in the
order of the signature. A model whose signature is a tensor of other dimensions takes that tensor. `data` is flat or
nested. A request without rows gets outputs without rows.

The response has the output `predict` and, for classifiers with probabilities, `predict_proba` of shape [rows, classes],
whose parameters name the classes. Its `id` is the request's id, or the prediction id if the request has none. Its
parameters contain `prediction_id` and, for several rows, `prediction_ids` with one id per row.

A request may ask for binary outputs: `binary_data_output` for all of them, `binary_data` for one.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel, ModelResponse
from airflow_provider_mlops.serving.protocols import encoding, tensors
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.datatypes import NUMBERS, RAW_ONLY, check_range
from airflow_provider_mlops.serving.protocols.parsed_request import Encoded
from airflow_provider_mlops.serving.protocols.tensors import Tensor
from airflow_provider_mlops.serving.rows.input_schema import V2_DATATYPES, InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value
from airflow_provider_mlops.serving.rows.rows import Rows

EXTENSIONS = ["binary_tensor_data", "model_repository", "statistics"]
"""Extensions in the server's metadata, under the names that Triton gives them."""

OUTPUTS = {"predict": False, "predict_proba": False}


@dataclass(slots=True)
class InferRequest:
    """A request whose rows have been validated.

    Parameters
    ----------
    rows
        Rows to predict.
    id
        Id that the caller gave the request, if any.
    outputs
        Requested outputs; True for those to return in binary.
    names_outputs
        Whether the request names its outputs. Otherwise, it gets those that the model has.
    """

    rows: Rows
    id: str | None
    outputs: dict[str, bool]
    names_outputs: bool

    def check_outputs(self, model: LoadedModel) -> None:
        """Raise RequestError (400) if the request names an output that the model does not have."""
        if self.names_outputs:
            check_outputs(model, self.outputs)

    def encode(self, model: LoadedModel, response: ModelResponse, own_id: str) -> Encoded:
        """Return the requested outputs, with binary tensors after the JSON."""
        count = self.rows.count
        # An empty batch is not logged, so it has no prediction id.
        parameters: dict[str, Any] = {"prediction_id": own_id} if count else {}
        if count != 1:
            parameters["prediction_ids"] = prediction_id.of_rows(own_id, count)
        outputs: list[dict[str, Any]] = []
        parts: list[bytes] = []
        for name, datatype, shape, values in output_tensors(model, response, count, self.outputs):
            output: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
            if name == "predict_proba":
                output["parameters"] = {"classes": list(model.classes)}
            outputs.append(_add_values(output, values, self.outputs[name], parts))
        content = encoding.encode(
            {
                "model_name": model.version.name,
                "model_version": str(model.version.version),
                "id": own_id if self.id is None else self.id,
                "parameters": parameters,
                "outputs": outputs,
            }
        )
        if not parts:
            return Encoded(content)
        headers = (
            (b"content-type", b"application/octet-stream"),
            (b"inference-header-content-length", str(len(content)).encode()),
        )
        return Encoded(b"".join([content, *parts]), headers)


def parse(body: Body, schema: InputSchema) -> InferRequest:
    """Parse the body of an infer request. Raises RequestError: 400 for the format, 422 for the rows."""
    if body.is_csv:
        raise RequestError(415, "This protocol has no CSV. Send JSON, or send CSV to /invocations.", "Content-Type")
    content = encoding.decode(body.content if body.json_bytes is None else body.content[: body.json_bytes])
    if type(content) is not dict:
        raise RequestError(400, f"The body must be an object with inputs, not {format_value(content)}.")
    request_id = content.get("id")
    if request_id is not None and not _is_text(request_id):
        raise RequestError(400, "id must be text with at most 1,000 characters.", "id")
    outputs = _parse_outputs(content.get("outputs"), content.get("parameters"))
    names_outputs = bool(content.get("outputs"))
    inputs = content.get("inputs")
    if type(inputs) is not list or not inputs:
        raise RequestError(400, "inputs must be a non-empty list of tensors.", "inputs")
    if body.json_bytes is None and len(inputs) == len(schema.names):
        columns = _plain_columns(inputs, schema)
        if columns is not None:
            return InferRequest(signature_check.from_columns(schema, columns), request_id, outputs, names_outputs)
    parser = tensors.TensorParser(body.content, body.json_bytes)
    parsed = [parser.parse(tensor, position) for position, tensor in enumerate(inputs)]
    parser.check_end()
    return InferRequest(rows_of(parsed, schema), request_id, outputs, names_outputs)


def check_outputs(model: LoadedModel, names: Collection[str]) -> None:
    """Raise RequestError (400) if the model does not have one of the outputs."""
    available = [name for name in OUTPUTS if name != "predict_proba" or model.classes]
    for name in names:
        if name not in available:
            reason = "it predicts no probabilities" if name in OUTPUTS else "there is no such output"
            raise RequestError(
                400,
                f"{model.version} does not have the output {format_value(name)}, because {reason}. Available outputs: "
                f"{', '.join(available)}.",
                "outputs",
            )


def output_tensors(
    model: LoadedModel, response: ModelResponse, count: int, requested: Container[str]
) -> Iterator[tuple[str, str, list[int], list[Any]]]:
    """Yield name, datatype, shape and flat values of each requested output that the model has."""
    if "predict" in requested:
        values, shape = response.output, [count]
        if model.output == "doubles":
            shape = [count, *model.targets]
            values = [value for row in values for value in row]
        yield "predict", model.v2_output, shape, values
    if "predict_proba" in requested and response.probabilities is not None:
        probabilities = response.probabilities
        yield "predict_proba", "FP64", list(probabilities.shape), probabilities.ravel().tolist()


def _plain_columns(inputs: list[Any], schema: InputSchema) -> dict[str, list[Any]] | None:
    """Return the values of tensors that are one flat column each; None if anything else needs a look.

    `TensorParser` accepts the same tensors and gives the same values, but takes longer for 30 of them than most models
    take to predict.
    """
    columns: dict[str, list[Any]] = {}
    by_name = schema.by_name
    for tensor in inputs:
        if type(tensor) is not dict:
            return None
        try:
            name, datatype, shape, data = tensor["name"], tensor["datatype"], tensor["shape"], tensor["data"]
            expected = V2_DATATYPES[by_name[name].kind]
        except (KeyError, TypeError):
            return None
        if type(datatype) is not str or type(data) is not list or type(shape) is not list or not data:
            return None
        if datatype != expected and (datatype not in NUMBERS or expected not in NUMBERS):
            return None
        if datatype == RAW_ONLY:
            return None
        if type(data[0]) is list or shape[0:1] != [len(data)] or type(shape[0]) is not int:
            return None
        if len(shape) > 1 and (len(shape) > 2 or type(shape[1]) is not int or shape[1] != 1):
            return None
        if "parameters" in tensor:
            parameters = tensor["parameters"]
            if type(parameters) is dict and "binary_data_size" in parameters:
                return None
        if datatype != expected and datatype in NUMBERS:
            # Otherwise, the type of the column has the same limits.
            check_range(name, datatype, data)
        columns[name] = data
    return columns if len(columns) == len(inputs) else None


def rows_of(inputs: list[Tensor], schema: InputSchema) -> Rows:
    """Return the rows of a request's tensors. Raises RequestError."""
    first = inputs[0]
    if schema.row_shape is not None:
        return _from_tensor(inputs, schema, schema.row_shape)
    if len(inputs) == 1 and len(first.shape) == 2 and (first.shape[1] != 1 or first.name not in schema.by_name):
        return _from_matrix(first, schema)
    columns: dict[str, Any] = {}
    for tensor in inputs:
        if tensor.name in columns:
            raise RequestError(422, f"Column {format_value(tensor.name)} appears more than once.", tensor.name)
        if len(tensor.shape) > 2 or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
            raise RequestError(
                422,
                f"Tensor {format_value(tensor.name)} must have the shape [rows] or [rows, 1], because it is one column "
                f"of a table, not {format_value(tensor.shape)}.",
                tensor.name,
            )
        feature = schema.by_name.get(tensor.name)
        if feature is not None:
            _check_datatype(tensor, feature.kind)
        columns[tensor.name] = _column(tensor, None if feature is None else feature.kind)
    return signature_check.from_columns(schema, columns)


def _from_tensor(inputs: list[Tensor], schema: InputSchema, row_shape: tuple[int, ...]) -> Rows:
    tensor = inputs[0]
    if len(inputs) > 1:
        raise RequestError(422, f"The model takes one tensor, and the request has {len(inputs)}.", inputs[1].name)
    if tensor.datatype not in NUMBERS:
        raise RequestError(
            422, f"Tensor {format_value(tensor.name)} must contain numbers, not {tensor.datatype}.", tensor.name
        )
    if tuple(tensor.shape[1:]) != row_shape:
        raise RequestError(
            422,
            f"Tensor {format_value(tensor.name)} must have the shape {[-1, *row_shape]} (-1 is the number of rows), "
            f"not {format_value(tensor.shape)}.",
            tensor.name,
        )
    data = tensor.flat()
    if isinstance(data, np.ndarray):
        return signature_check.from_matrix(schema, data.reshape(tensor.shape[0], len(schema.names)))
    return signature_check.from_flat(schema, data, tensor.shape[0])


def _from_matrix(tensor: Tensor, schema: InputSchema) -> Rows:
    if not schema.numeric:
        feature = next(feature for feature in schema.features if feature.kind not in _NUMERIC_KINDS)
        raise RequestError(
            422,
            f"Column {format_value(feature.name)} is not numeric. Send each column as a separate tensor.",
            feature.name,
        )
    if tensor.datatype not in NUMBERS:
        raise RequestError(
            422, f"Tensor {format_value(tensor.name)} must contain numbers, not {tensor.datatype}.", tensor.name
        )
    rows, width = tensor.shape
    if width != len(schema.names):
        raise RequestError(
            422,
            f"Tensor {format_value(tensor.name)} has {pluralize(width, 'column')}, but the model takes "
            f"{len(schema.names)}.",
            tensor.name,
        )
    data = tensor.flat()
    if isinstance(data, np.ndarray):
        return signature_check.from_matrix(schema, data.reshape(rows, width))
    return signature_check.from_flat(schema, data, rows)


_NUMERIC_KINDS = frozenset(kind for kind, datatype in V2_DATATYPES.items() if datatype in NUMBERS)


def _check_datatype(tensor: Tensor, kind: str) -> None:
    expected = V2_DATATYPES[kind]
    if not tensor.binary and all(value is None for value in tensor.data):
        # A client cannot infer a type from missing values.
        return
    is_number = tensor.datatype in NUMBERS
    if (expected in NUMBERS) != is_number or (not is_number and expected != tensor.datatype):
        raise RequestError(
            422, f"Column {format_value(tensor.name)} must be {expected}, not {tensor.datatype}.", tensor.name
        )


def _column(tensor: Tensor, kind: str | None) -> Any:
    values = tensor.flat()
    if not tensor.binary or tensor.datatype != "BYTES" or kind == "binary":
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise RequestError(
            422, f"Column {format_value(tensor.name)} must contain UTF-8 text: {error}.", tensor.name
        ) from None


def _parse_outputs(outputs: Any, parameters: Any) -> dict[str, bool]:
    all_binary = _flag(parameters, "binary_data_output", False, "parameters")
    if outputs is None:
        return dict.fromkeys(OUTPUTS, True) if all_binary else OUTPUTS
    if type(outputs) is not list:
        raise RequestError(400, "outputs must be a list.", "outputs")
    requested: dict[str, bool] = {}
    for output in outputs:
        name = output.get("name") if type(output) is dict else output
        if type(name) is not str:
            raise RequestError(400, f"The name of an output must be text, not {format_value(name)}.", "outputs")
        own = output.get("parameters") if type(output) is dict else None
        requested[name] = _flag(own, "binary_data", all_binary, "outputs")
    return requested or dict.fromkeys(OUTPUTS, all_binary)


def _flag(parameters: Any, name: str, default: bool, field: str) -> bool:
    value = parameters.get(name, default) if type(parameters) is dict else default
    if type(value) is not bool:
        raise RequestError(400, f"{name} must be a boolean, not {format_value(value)}.", field)
    return value


def _add_values(output: dict[str, Any], values: list[Any], binary: bool, parts: list[bytes]) -> dict[str, Any]:
    """Add the values to an output's JSON or, as bytes, to the binary parts. Returns the output."""
    if binary:
        parts.append(tensors.binary_values(output["datatype"], values))
        output["parameters"] = {**output.get("parameters", {}), "binary_data_size": len(parts[-1])}
    else:
        output["data"] = values
    return output


def _is_text(value: Any) -> bool:
    if type(value) is not str or len(value) > 1000:
        return False
    # A lone surrogate is valid JSON, but cannot be encoded in a response.
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
