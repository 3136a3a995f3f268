"""Prediction requests in gRPC: tensors in and out, as typed contents or as raw bytes.

Rows, outputs and prediction ids are those of the HTTP protocol (`protocol_v2`). Outputs are raw if the inputs are, or
if the parameter `binary_data_output` says so.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel, ModelResponse
from airflow_provider_mlops.serving.protocols import protocol_v2, tensors
from airflow_provider_mlops.serving.protocols.datatypes import DATATYPES, RAW_ONLY
from airflow_provider_mlops.serving.protocols.grpc.open_inference import ModelInferRequest, ModelInferResponse
from airflow_provider_mlops.serving.protocols.parsed_request import Encoded
from airflow_provider_mlops.serving.protocols.tensors import Tensor, binary_values, raw_values
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value
from airflow_provider_mlops.serving.rows.rows import Rows

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Field with the values of each datatype. The others can only be sent as raw bytes."""

_ARRAYS = {"FP32": "<f4", "FP64": "<f8"}
"""Types of the contents that become arrays, because their values need no further check."""

_MAX_ID_LENGTH = 1000


@dataclass(slots=True)
class GrpcInferRequest:
    """A request whose rows have been validated.

    Parameters
    ----------
    rows
        Rows to predict.
    id
        Id that the caller gave the request; empty if there is none.
    outputs
        Requested outputs.
    raw
        Whether to return them as raw bytes.
    names_outputs
        Whether the request names its outputs. Otherwise, it gets those that the model has.
    """

    rows: Rows
    id: str
    outputs: Collection[str]
    raw: bool
    names_outputs: bool

    def check_outputs(self, model: LoadedModel) -> None:
        """Raise RequestError (400) if the request names an output that the model does not have."""
        if self.names_outputs:
            protocol_v2.check_outputs(model, self.outputs)

    def encode(self, model: LoadedModel, response: ModelResponse, own_id: str) -> Encoded:
        """Return the serialized `ModelInferResponse`."""
        count = self.rows.count
        message = ModelInferResponse(
            model_name=model.version.name, model_version=str(model.version.version), id=self.id or own_id
        )
        if count:
            message.parameters["prediction_id"].string_param = own_id
        if count != 1:
            message.parameters["prediction_ids"].string_param = ",".join(prediction_id.of_rows(own_id, count))
        for name, datatype, shape, values in protocol_v2.output_tensors(model, response, count, self.outputs):
            output = message.outputs.add(name=name, datatype=datatype, shape=shape)
            if name == "predict_proba":
                output.parameters["classes"].string_param = json.dumps(model.classes)
            if self.raw:
                message.raw_output_contents.append(binary_values(datatype, values))
            else:
                field = getattr(output.contents, _CONTENTS[datatype])
                field.extend([value.encode() for value in values] if datatype == "BYTES" else values)
        return Encoded(message.SerializeToString(), ())


def parse(message: ModelInferRequest, schema: InputSchema) -> GrpcInferRequest:
    """Return a request whose rows match the schema. Raises RequestError: 400 for the format, 422 for the rows."""
    if len(message.id) > _MAX_ID_LENGTH:
        raise RequestError(400, f"id must have at most {_MAX_ID_LENGTH:,} characters.", "id")
    outputs = dict.fromkeys(output.name for output in message.outputs)
    inputs = message.inputs
    if not inputs:
        raise RequestError(400, "inputs must have at least one tensor.", "inputs")
    raw = len(message.raw_input_contents) > 0
    if raw and len(message.raw_input_contents) != len(inputs):
        raise RequestError(
            400,
            f"raw_input_contents must have one element per input, so {len(inputs)}, not "
            f"{len(message.raw_input_contents)}.",
            "raw_input_contents",
        )
    parsed = [
        _raw_tensor(tensor, message.raw_input_contents[place], place) if raw else _typed_tensor(tensor, place)
        for place, tensor in enumerate(inputs)
    ]
    return GrpcInferRequest(
        protocol_v2.rows_of(parsed, schema),
        message.id,
        outputs or protocol_v2.OUTPUTS,
        _is_raw(message, raw),
        bool(outputs),
    )


def _is_raw(message: ModelInferRequest, default: bool) -> bool:
    if "binary_data_output" not in message.parameters:
        return default
    parameter = message.parameters["binary_data_output"]
    if parameter.WhichOneof("parameter_choice") != "bool_param":
        raise RequestError(400, "binary_data_output must be a boolean.", "binary_data_output")
    return bool(parameter.bool_param)


def _described(tensor: ModelInferRequest.InferInputTensor, place: int) -> tuple[str, str, list[int]]:
    """Return name, datatype and shape of a tensor. Raises RequestError."""
    name, datatype, shape = tensor.name, tensor.datatype, list(tensor.shape)
    if datatype not in DATATYPES:
        raise RequestError(
            400,
            f"inputs[{place}].datatype must be one of {', '.join(sorted(DATATYPES))}, not {format_value(datatype)}.",
            name,
        )
    tensors.check_shape(shape, f"inputs[{place}]", name)
    return name, datatype, shape


def _raw_tensor(tensor: ModelInferRequest.InferInputTensor, content: bytes, place: int) -> Tensor:
    name, datatype, shape = _described(tensor, place)
    if tensor.HasField("contents") and any(tensor.contents.ListFields()):
        raise RequestError(
            400,
            f"Tensor {format_value(name)} has contents, but the request has raw_input_contents. Send all tensors in "
            "one of the two ways.",
            name,
        )
    what = "The number of bytes of tensor {} in raw_input_contents"
    return Tensor(name, datatype, shape, raw_values(name, datatype, shape, content, 0, len(content), what), binary=True)


def _typed_tensor(tensor: ModelInferRequest.InferInputTensor, place: int) -> Tensor:
    name, datatype, shape = _described(tensor, place)
    expected = _CONTENTS.get(datatype)
    if expected is None:
        extra = "" if datatype == RAW_ONLY else " in gRPC"
        raise RequestError(
            422,
            f"Tensor {format_value(name)} is {datatype}, which has no contents{extra}. Send raw_input_contents.",
            name,
        )
    others = sorted(field.name for field, _ in tensor.contents.ListFields() if field.name != expected)
    if others:
        raise RequestError(
            400,
            f"Tensor {format_value(name)} is {datatype}, so its values must be in {expected}, not {others[0]}.",
            name,
        )
    values: Any = getattr(tensor.contents, expected)
    if datatype in _ARRAYS:
        array = np.fromiter(values, _ARRAYS[datatype], len(values))
        tensors.check_count(name, shape, len(array))
        return Tensor(name, datatype, shape, array, binary=True)
    # BYTES are bytes here, as in a raw tensor.
    found = Tensor(name, datatype, shape, list(values), binary=datatype == "BYTES")
    if datatype == "BYTES":
        tensors.check_count(name, shape, len(values))
    return found


def parameters_of(parameters: Any) -> dict[str, Any]:
    """Return the parameters of a message by name.

    Raises RequestError (400) if one has no value.
    """
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        chosen = parameter.WhichOneof("parameter_choice")
        if chosen is None:
            raise RequestError(400, f"The parameter {format_value(name)} has no value.", "parameters")
        found[name] = getattr(parameter, chosen)
    return found
