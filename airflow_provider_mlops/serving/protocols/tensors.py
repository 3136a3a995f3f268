"""The tensors of an infer request, in JSON or in binary.

The values of binary tensors follow the JSON of the request, in the order of the tensors with the parameter
`binary_data_size`. Numbers are little-endian, a BOOL takes one byte, and each BYTES value follows its length in four
bytes. gRPC sends binary tensors in the same format.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.protocols.datatypes import DATATYPES, NUMBERS, RAW_ONLY, check_range
from airflow_provider_mlops.serving.protocols.headers import JSON_LENGTH_HEADER
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value

_LENGTH = struct.Struct("<I")
_TOO_LARGE = 2**63
_MAX_DIMENSIONS = 32
"""As many as NumPy supported for long."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor.

    Parameters
    ----------
    name
        Name of the tensor, which is that of its column.
    datatype
        One of `DATATYPES`.
    shape
        Size of each dimension.
    data
        Values from the JSON, flat or nested; of a binary tensor, an array or a list of bytes.
    binary
        Whether the values were sent in binary.
    """

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | NDArray[Any]
    binary: bool = False

    def flat(self) -> list[Any] | NDArray[Any]:
        """Return the values as a flat sequence. Raises RequestError (400) if they do not match the shape."""
        data = self.data
        if self.binary or isinstance(data, np.ndarray):
            return data
        shape = self.shape
        if len(data) and type(data[0]) is list:
            data = self._unnested(data)
        check_count(self.name, shape, len(data))
        if self.datatype in NUMBERS:
            check_range(self.name, self.datatype, data)
        return data

    def _unnested(self, data: list[Any]) -> list[Any]:
        """Return nested values as a flat list. One level at a time, because the shape says how deep they may be."""
        lists = self.shape[0]
        for depth, width in enumerate(self.shape[1:], 1):
            if not data or type(data[0]) is not list:
                break
            if len(data) != lists:
                raise self._wrongly_nested(depth, lists, len(data))
            for position, row in enumerate(data):
                if type(row) is not list or len(row) != width:
                    if depth == 1:
                        raise RequestError(
                            400,
                            f"Row {position} of tensor {format_value(self.name)} must have "
                            f"{pluralize(width, 'value')}.",
                            self.name,
                        )
                    raise self._wrongly_nested(depth + 1, width, len(row) if type(row) is list else 0)
            data = [value for row in data for value in row]
            lists *= width
        return data

    def _wrongly_nested(self, depth: int, expected: int, found: int) -> RequestError:
        return RequestError(
            400,
            f"Tensor {format_value(self.name)} of shape {format_value(self.shape)} must have "
            f"{pluralize(expected, 'element')} in each list at depth {depth}, not {found:,}.",
            self.name,
        )


def check_shape(shape: Any, where: str, name: str) -> list[int]:
    """Return a shape if it is a list of sizes. Raises RequestError; `where` is the tensor's place in the request."""
    if type(shape) is not list or not shape or not all(map(_is_size, shape)):
        raise RequestError(
            400, f"{where}.shape must be a list of non-negative integers, not {format_value(shape)}.", name
        )
    if len(shape) > _MAX_DIMENSIONS:
        raise RequestError(
            422,
            f"Tensor {format_value(name)} has {len(shape):,} dimensions. At most {_MAX_DIMENSIONS} are supported.",
            name,
        )
    if max(shape) >= _TOO_LARGE:
        raise RequestError(422, f"The shape {format_value(shape)} of tensor {format_value(name)} is too large.", name)
    return shape


def check_count(name: str, shape: list[int], count: int) -> None:
    """Check that a tensor has as many values as its shape says. Raises RequestError (400)."""
    size = math.prod(shape)
    if count != size:
        raise RequestError(
            400,
            f"Tensor {format_value(name)} of shape {format_value(shape)} must have {pluralize(size, 'value')}, not "
            f"{count:,}.",
            name,
        )


class TensorParser:
    """A parser for the tensors of one request.

    Parameters
    ----------
    content
        Whole body.
    offset
        Offset at which the binary values begin; None if the body has none.
    """

    def __init__(self, content: bytes, offset: int | None) -> None:
        self._content = content
        self._offset = offset

    def parse(self, tensor: Any, position: int) -> Tensor:
        """Return the next tensor; `position` is its place in the inputs. Raises RequestError."""
        where = f"inputs[{position}]"
        if type(tensor) is not dict:
            raise RequestError(400, f"{where} must be an object, not {format_value(tensor)}.", where)
        name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
        if type(name) is not str:
            raise RequestError(400, f"{where}.name must be text, not {format_value(name)}.", f"{where}.name")
        if type(datatype) is not str or datatype not in DATATYPES:
            raise RequestError(
                400,
                f"{where}.datatype must be one of {', '.join(sorted(DATATYPES))}, not {format_value(datatype)}.",
                name,
            )
        shape = check_shape(shape, where, name)
        size = self._size(tensor, where, name)
        data = tensor.get("data")
        if size is None and type(data) is not list:
            raise RequestError(400, f"{where}.data must be a list, not {format_value(data)}.", name)
        if size is None:
            assert type(data) is list
            if datatype == RAW_ONLY:
                raise RequestError(
                    422, f"Tensor {format_value(name)} must be sent in binary, because JSON has no {datatype}.", name
                )
            return Tensor(name, datatype, shape, data)
        return Tensor(name, datatype, shape, self._values(name, datatype, shape, size), binary=True)

    def check_end(self) -> None:
        """Check that the tensors used all binary data. Raises RequestError (400)."""
        if self._offset is not None and self._offset != len(self._content):
            left = len(self._content) - self._offset
            raise RequestError(
                400,
                f"The last {left} bytes do not belong to any tensor. Set binary_data_size on each binary tensor.",
                JSON_LENGTH_HEADER,
            )

    def _size(self, tensor: dict[str, Any], where: str, name: str) -> int | None:
        parameters = tensor.get("parameters")
        if type(parameters) is not dict or "binary_data_size" not in parameters:
            return None
        size = parameters["binary_data_size"]
        if type(size) is not int or size < 0:
            raise RequestError(
                400, f"{where}: binary_data_size must be a number of bytes, not {format_value(size)}.", name
            )
        if self._offset is None:
            raise RequestError(
                400, f"{where} has binary_data_size, but the header {JSON_LENGTH_HEADER} is missing.", name
            )
        if "data" in tensor:
            raise RequestError(400, f"{where} must have either data or binary_data_size, not both.", name)
        return size

    def _values(self, name: str, datatype: str, shape: list[int], size: int) -> list[Any] | NDArray[Any]:
        assert self._offset is not None
        begin, end = self._offset, self._offset + size
        if end > len(self._content):
            left = len(self._content) - begin
            raise RequestError(
                400,
                f"binary_data_size of tensor {format_value(name)} is {size}, but only {left} bytes remain in the body.",
                name,
            )
        self._offset = end
        return raw_values(name, datatype, shape, self._content, begin, size, "binary_data_size of tensor {}")


def raw_values(
    name: str, datatype: str, shape: list[int], content: bytes, begin: int, size: int, what: str
) -> list[Any] | NDArray[Any]:
    """Return the values of a binary tensor: an array, or a list of bytes. Raises RequestError.

    Parameters
    ----------
    name, datatype, shape
        The tensor.
    content
        Bytes in which its values begin at `begin` and take `size` bytes.
    what
        What `size` is, for messages; `{}` stands for the name.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        return _texts(content[begin : begin + size], count, name)
    dtype = np.dtype("<u1" if datatype == "BOOL" else NUMBERS[datatype])
    if size != count * dtype.itemsize:
        expected = count * dtype.itemsize
        raise RequestError(
            400,
            f"{what.format(format_value(name))} must be {format_value(expected)} for shape {format_value(shape)}, not "
            f"{size}.",
            name,
        )
    array = np.frombuffer(content, dtype, count, begin) if count else np.empty(0, dtype)
    if datatype == "BOOL":
        if count and int(array.max()) > 1:
            raise RequestError(422, f"The BOOL tensor {format_value(name)} must contain only the bytes 0 and 1.", name)
        return array.astype(bool)
    if datatype == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array


def binary_values(datatype: str, values: Any) -> bytes:
    """Return the values of an output as bytes.

    Examples
    --------
    >>> binary_values("BYTES", ["yes", "é"])
    b'\\x03\\x00\\x00\\x00yes\\x02\\x00\\x00\\x00\\xc3\\xa9'
    """
    if datatype == "BYTES":
        encoded = [value.encode() for value in values]
        return b"".join(part for value in encoded for part in (_LENGTH.pack(len(value)), value))
    return np.asarray(values, dtype="<u1" if datatype == "BOOL" else NUMBERS[datatype]).tobytes()


def _is_size(size: Any) -> bool:
    # The parser turns integers beyond 64 bits into floats.
    return (type(size) is int and size >= 0) or (type(size) is float and size >= _TOO_LARGE)


def _texts(content: bytes, count: int, name: str) -> list[bytes]:
    values: list[bytes] = []
    place = 0
    while place < len(content):
        length = _LENGTH.unpack_from(content, place)[0] if place + 4 <= len(content) else len(content)
        if place + 4 + length > len(content):
            raise RequestError(
                400,
                f"Value {len(values) + 1} of tensor {format_value(name)} is incomplete. Send each BYTES value as its "
                "length (4 bytes, little-endian) followed by its bytes.",
                name,
            )
        values.append(content[place + 4 : place + 4 + length])
        place += 4 + length
    if len(values) != count:
        raise RequestError(
            400, f"Tensor {format_value(name)} must have {pluralize(count, 'value')}, not {len(values):,}.", name
        )
    return values
