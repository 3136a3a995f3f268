"""The Open Inference Protocol, version 2, in JSON.

A request names each column as a tensor of its own, of shape [rows] or [rows, 1], as MLServer's
codec for pandas writes a DataFrame; or, where all columns are numbers, it may send one tensor of
shape [rows, columns] with the columns in the order of the signature. `data` is flat or nested.

The answer has the outputs `predict` and, for classifiers that know probabilities, `predict_proba`
of shape [rows, classes] with the classes' names in its parameters. Its `id` is the request's if it
has one, and the prediction id otherwise. The parameters always say `prediction_id`, and
`prediction_ids` with one for each row where there are several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_mlops.serving import prediction_id, signature_check
from airflow_provider_mlops.serving.input_schema import V2_DATATYPES, InputSchema
from airflow_provider_mlops.serving.loaded_model import Answer, LoadedModel
from airflow_provider_mlops.serving.refusal import Refusal, shown
from airflow_provider_mlops.serving.rows import Rows

_NUMBERS = frozenset(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64"))
_DATATYPES = _NUMBERS | {"BOOL", "BYTES"}
_OUTPUTS = ("predict", "predict_proba")


@dataclass(frozen=True)
class InferRequest:
    """A request whose rows have been checked."""

    rows: Rows
    id: str | None
    outputs: tuple[str, ...]


def parse(content: Any, schema: InputSchema) -> InferRequest:
    """Read the body of an infer request. Raises Refusal: 400 for the protocol, 422 for the rows."""
    if type(content) is not dict:
        raise Refusal(400, f"the body must be an object with inputs, not {shown(content)}")
    request_id = content.get("id")
    if request_id is not None and (type(request_id) is not str or len(request_id) > 1000):
        raise Refusal(400, "id must be text of at most 1000 characters", "id")
    outputs = _wanted(content.get("outputs"))
    inputs = content.get("inputs")
    if type(inputs) is not list or not inputs:
        raise Refusal(400, "inputs must be a list of at least one tensor", "inputs")
    tensors = [_Tensor.parse(tensor, position) for position, tensor in enumerate(inputs)]
    return InferRequest(_rows(tensors, schema), request_id, outputs)


def answer(model: LoadedModel, request: InferRequest, answer: Answer, own_id: str) -> dict[str, Any]:
    """The body of the answer."""
    count = request.rows.count
    parameters: dict[str, Any] = {"prediction_id": own_id}
    if count > 1:
        parameters["prediction_ids"] = prediction_id.of_rows(own_id, count)
    outputs: list[dict[str, Any]] = []
    if "predict" in request.outputs:
        values, shape = answer.output, [count]
        if model.output == "doubles":
            shape = [count, len(values[0])]
            values = [value for row in values for value in row]
        outputs.append({"name": "predict", "shape": shape, "datatype": model.v2_output, "data": finite(values)})
    if "predict_proba" in request.outputs and answer.probabilities is not None:
        outputs.append(
            {
                "name": "predict_proba",
                "shape": list(answer.probabilities.shape),
                "datatype": "FP64",
                "parameters": {"classes": list(model.classes)},
                "data": finite(answer.probabilities.ravel().tolist()),
            }
        )
    return {
        "model_name": model.version.name,
        "model_version": str(model.version.version),
        "id": own_id if request.id is None else request.id,
        "parameters": parameters,
        "outputs": outputs,
    }


def metadata(name: str, versions: list[int], model: LoadedModel) -> dict[str, Any]:
    """What the protocol says of a model: `inputs` and `outputs`, and the versions that serve."""
    inputs = [
        {
            "name": feature.name,
            "datatype": V2_DATATYPES[feature.kind],
            "shape": [-1],
            "parameters": {"kind": feature.kind, "optional": feature.optional, "nullable": feature.nullable},
        }
        for feature in model.schema.features
    ]
    shape = [-1, -1] if model.output == "doubles" else [-1]
    outputs: list[dict[str, Any]] = [{"name": "predict", "datatype": model.v2_output, "shape": shape}]
    if model.classes:
        outputs.append(
            {
                "name": "predict_proba",
                "datatype": "FP64",
                "shape": [-1, len(model.classes)],
                "parameters": {"classes": list(model.classes)},
            }
        )
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": "scikit-learn",
        "inputs": inputs,
        "outputs": outputs,
    }


@dataclass(frozen=True)
class _Tensor:
    name: str
    datatype: str
    shape: list[int]
    data: list[Any]

    @classmethod
    def parse(cls, tensor: Any, position: int) -> _Tensor:
        where = f"inputs[{position}]"
        if type(tensor) is not dict:
            raise Refusal(400, f"{where} must be an object, not {shown(tensor)}", where)
        name, datatype, shape, data = (tensor.get(key) for key in ("name", "datatype", "shape", "data"))
        if type(name) is not str:
            raise Refusal(400, f"{where}.name must be text, not {shown(name)}", f"{where}.name")
        if type(datatype) is not str or datatype not in _DATATYPES:
            raise Refusal(
                400, f"{where}.datatype must be one of {', '.join(sorted(_DATATYPES))}, not {shown(datatype)}", name
            )
        if type(shape) is not list or not shape or not all(type(size) is int and size >= 0 for size in shape):
            raise Refusal(400, f"{where}.shape must be a list of whole numbers, not {shown(shape)}", name)
        if type(data) is not list:
            raise Refusal(400, f"{where}.data must be a list, not {shown(data)}", name)
        if len(shape) > 2:
            raise Refusal(422, f"tensor {shown(name)} has {len(shape)} dimensions, and a table has at most two", name)
        return cls(name, datatype, shape, data)

    def flat(self) -> list[Any]:
        """The values in one list. Raises Refusal (400) if they do not fill the shape."""
        size = self.shape[0] if len(self.shape) == 1 else self.shape[0] * self.shape[1]
        data = self.data
        if data and type(data[0]) is list:
            width = size // max(1, self.shape[0])
            for position, row in enumerate(data):
                if type(row) is not list or len(row) != width:
                    raise Refusal(400, f"row {position} of tensor {shown(self.name)} is not {width} values", self.name)
            data = [value for row in data for value in row]
        if len(data) != size:
            raise Refusal(
                400,
                f"tensor {shown(self.name)} of shape {self.shape} must hold {size} values, not {len(data)}",
                self.name,
            )
        return data


def _rows(tensors: list[_Tensor], schema: InputSchema) -> Rows:
    first = tensors[0]
    if len(tensors) == 1 and len(first.shape) == 2 and (first.shape[1] != 1 or first.name not in schema.by_name):
        return _from_matrix(first, schema)
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        if tensor.name in columns:
            raise Refusal(422, f"column {shown(tensor.name)} comes twice", tensor.name)
        if len(tensor.shape) == 2 and tensor.shape[1] != 1:
            raise Refusal(
                422,
                f"tensor {shown(tensor.name)} must have the shape [rows] or [rows, 1], as others beside it",
                tensor.name,
            )
        feature = schema.by_name.get(tensor.name)
        if feature is not None:
            _check_datatype(tensor, feature.kind)
        columns[tensor.name] = tensor.flat()
    return signature_check.from_columns(schema, columns)


def _from_matrix(tensor: _Tensor, schema: InputSchema) -> Rows:
    if not schema.numeric:
        feature = next(feature for feature in schema.features if feature.kind not in _NUMERIC_KINDS)
        raise Refusal(
            422, f"column {shown(feature.name)} is no number: send each column as a tensor of its own", feature.name
        )
    if tensor.datatype not in _NUMBERS:
        raise Refusal(422, f"tensor {shown(tensor.name)} must hold numbers, not {tensor.datatype}", tensor.name)
    rows, width = tensor.shape
    if width != len(schema.names):
        raise Refusal(
            422,
            f"tensor {shown(tensor.name)} has {width} columns, and the model takes {len(schema.names)}",
            tensor.name,
        )
    data = tensor.flat()
    return signature_check.from_table(schema, None, [data[row * width : (row + 1) * width] for row in range(rows)])


_NUMERIC_KINDS = frozenset(kind for kind, datatype in V2_DATATYPES.items() if datatype in _NUMBERS)


def _check_datatype(tensor: _Tensor, kind: str) -> None:
    due = V2_DATATYPES[kind]
    if all(value is None for value in tensor.data):
        # Whoever has no values cannot know their type.
        return
    if (due in _NUMBERS) != (tensor.datatype in _NUMBERS) or (due not in _NUMBERS and due != tensor.datatype):
        raise Refusal(422, f"column {shown(tensor.name)} must be {due}, not {tensor.datatype}", tensor.name)


def _wanted(outputs: Any) -> tuple[str, ...]:
    if outputs is None:
        return _OUTPUTS
    if type(outputs) is not list:
        raise Refusal(400, "outputs must be a list", "outputs")
    names = []
    for output in outputs:
        name = output.get("name") if type(output) is dict else output
        if type(name) is not str or name not in _OUTPUTS:
            raise Refusal(400, f"there is no output {shown(name)}: ask for {' or '.join(_OUTPUTS)}", "outputs")
        names.append(str(name))
    return tuple(names) or _OUTPUTS


def finite(values: list[Any]) -> list[Any]:
    """Values as JSON can carry them. JSON knows neither NaN nor infinity: null stands for both."""
    return [None if type(value) is float and value - value != 0 else value for value in values]
