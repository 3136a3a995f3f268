"""The tensors of an infer request, in JSON or in binary.

In binary, the values of a tensor follow the JSON of the request, in the order of the tensors that say so by the
parameter `binary_data_size`: little-endian numbers, a byte for BOOL, and for BYTES the length of each value in four
bytes before it.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.rows.request_error import RequestError, shown

NUMBERS = {
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""The datatypes of numbers, and what NumPy calls them."""

DATATYPES = frozenset(NUMBERS) | {"BOOL", "BYTES"}
_LENGTH = struct.Struct("<I")
_HEADER = "Inference-Header-Content-Length"
_NO_SIZE = 2**63


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of at most two dimensions. `data` is what the JSON holds, or an array or a list of bytes from binary."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | NDArray[Any]
    binary: bool = False

    def flat(self) -> list[Any] | NDArray[Any]:
        """The values one after another. Raises RequestError (400) if they do not fill the shape."""
        data = self.data
        if self.binary:
            return data
        size = self.shape[0] if len(self.shape) == 1 else self.shape[0] * self.shape[1]
        if len(data) and type(data[0]) is list:
            width = size // max(1, self.shape[0])
            for position, row in enumerate(data):
                if type(row) is not list or len(row) != width:
                    raise RequestError(
                        400, f"row {position} of tensor {shown(self.name)} is not {width} values", self.name
                    )
            data = [value for row in data for value in row]
        if len(data) != size:
            raise RequestError(
                400,
                f"tensor {shown(self.name)} of shape {self.shape} must hold {size} values, not {len(data)}",
                self.name,
            )
        return data


class Reader:
    """Reads the tensors of one request.

    :param content: the whole body.
    :param place: where in it the binary values begin; None if the request has none.
    """

    def __init__(self, content: bytes, place: int | None) -> None:
        self._content = content
        self._place = place

    def read(self, tensor: Any, position: int) -> Tensor:
        """The tensor at a position of the request's inputs. Raises RequestError."""
        where = f"inputs[{position}]"
        if type(tensor) is not dict:
            raise RequestError(400, f"{where} must be an object, not {shown(tensor)}", where)
        name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
        if type(name) is not str:
            raise RequestError(400, f"{where}.name must be text, not {shown(name)}", f"{where}.name")
        if type(datatype) is not str or datatype not in DATATYPES:
            raise RequestError(
                400, f"{where}.datatype must be one of {', '.join(sorted(DATATYPES))}, not {shown(datatype)}", name
            )
        if type(shape) is not list or not shape or not all(map(_is_size, shape)):
            raise RequestError(400, f"{where}.shape must be a list of whole numbers, not {shown(shape)}", name)
        if max(shape) >= _NO_SIZE:
            raise RequestError(422, f"tensor {shown(name)} cannot have the shape {shown(shape)}", name)
        size = self._size(tensor, where, name)
        data = tensor.get("data")
        if size is None and type(data) is not list:
            raise RequestError(400, f"{where}.data must be a list, not {shown(data)}", name)
        if len(shape) > 2:
            raise RequestError(
                422, f"tensor {shown(name)} has {len(shape)} dimensions, and a table has at most two", name
            )
        if size is None:
            assert type(data) is list
            return Tensor(name, datatype, shape, data)
        return Tensor(name, datatype, shape, self._values(name, datatype, shape, size), binary=True)

    def end(self) -> None:
        """Check that all was read. Raises RequestError (400)."""
        if self._place is not None and self._place != len(self._content):
            left = len(self._content) - self._place
            raise RequestError(400, f"{left} bytes after the JSON belong to no tensor: say binary_data_size", _HEADER)

    def _size(self, tensor: dict[str, Any], where: str, name: str) -> int | None:
        parameters = tensor.get("parameters")
        if type(parameters) is not dict or "binary_data_size" not in parameters:
            return None
        size = parameters["binary_data_size"]
        if type(size) is not int or size < 0:
            raise RequestError(400, f"{where}: binary_data_size must be a number of bytes, not {shown(size)}", name)
        if self._place is None:
            raise RequestError(400, f"{where} is binary, but the header {_HEADER} is missing", name)
        if "data" in tensor:
            raise RequestError(400, f"{where} has both data and binary_data_size: send one of them", name)
        return size

    def _values(self, name: str, datatype: str, shape: list[int], size: int) -> list[Any] | NDArray[Any]:
        assert self._place is not None
        begin, end = self._place, self._place + size
        if end > len(self._content):
            left = len(self._content) - begin
            raise RequestError(400, f"tensor {shown(name)}: {size} bytes are announced, and {left} are there", name)
        self._place = end
        count = math.prod(shape)
        if datatype == "BYTES":
            return _texts(self._content[begin:end], count, name)
        dtype = np.dtype("<u1" if datatype == "BOOL" else NUMBERS[datatype])
        if size != count * dtype.itemsize:
            due = count * dtype.itemsize
            raise RequestError(400, f"tensor {shown(name)} of shape {shape} takes {due} bytes, not {size}", name)
        array = np.frombuffer(self._content, dtype, count, begin)
        if datatype == "BOOL":
            if count and int(array.max()) > 1:
                raise RequestError(422, f"tensor {shown(name)} holds other bytes than 0 and 1", name)
            return array.astype(bool)
        return array


def binary_values(datatype: str, values: Any) -> bytes:
    """The values of an output in binary.

    >>> binary_values("BYTES", ["yes", "é"])
    b'\\x03\\x00\\x00\\x00yes\\x02\\x00\\x00\\x00\\xc3\\xa9'
    """
    if datatype == "BYTES":
        encoded = [value.encode() for value in values]
        return b"".join(part for value in encoded for part in (_LENGTH.pack(len(value)), value))
    return np.asarray(values, dtype="<u1" if datatype == "BOOL" else NUMBERS[datatype]).tobytes()


def _is_size(size: Any) -> bool:
    # The parser makes a number with a fraction of a whole one beyond 64 bits.
    return (type(size) is int and size >= 0) or (type(size) is float and size >= _NO_SIZE)


def _texts(content: bytes, count: int, name: str) -> list[bytes]:
    values: list[bytes] = []
    place = 0
    while place < len(content):
        length = _LENGTH.unpack_from(content, place)[0] if place + 4 <= len(content) else len(content)
        if place + 4 + length > len(content):
            raise RequestError(400, f"value {len(values)} of tensor {shown(name)} is cut off", name)
        values.append(content[place + 4 : place + 4 + length])
        place += 4 + length
    if len(values) != count:
        raise RequestError(400, f"tensor {shown(name)} must hold {count} values, not {len(values)}", name)
    return values
