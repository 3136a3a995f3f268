"""What a dataset's content hashes to.

The fingerprint depends on the schema and on the rows as a bag: neither the order in which a
database happened to return them nor the size of the batches in which they came changes it.

It tells different content apart; it is no defence against somebody who wants two to look alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    import pyarrow

_ROWS_AT_ONCE = 16_384
_TEXT_BYTES_AT_ONCE = 4_000_000
_MISSING = 0x9E3779B97F4A7C15
_SEEDS = (0x243F6A8885A308D3, 0x13198A2E03707344)
_LANE_STEP = 0xD1342543DE82EF95


class Fingerprint:
    """The running fingerprint of batches of rows.

    Every value is hashed to 64 bits, the values of a row are combined under two sets of odd multipliers (lanes), one
    multiplier per column, and each lane's row hashes are mixed and added modulo 2**64. Adding is what makes the
    order of rows irrelevant while repeated rows still count.

    >>> import pyarrow
    >>> rows = pyarrow.table({"a": [1, 2, 3], "b": ["x", "y", None]})
    >>> whole, parts = Fingerprint(), Fingerprint()
    >>> whole.update(rows)
    >>> parts.update(rows.slice(2)); parts.update(rows.slice(0, 2))
    >>> whole.hexdigest() == parts.hexdigest()
    True
    """

    def __init__(self) -> None:
        self._sums = [0, 0]
        self._rows = 0
        self._schema: pyarrow.Schema | None = None

    def update(self, batch: pyarrow.RecordBatch | pyarrow.Table) -> None:
        """Take in a batch. Every batch has the columns of the first one."""
        import numpy

        self._schema = batch.schema
        self._rows += batch.num_rows
        for part in _parts(batch):
            lanes = [numpy.full(part.num_rows, seed, dtype="uint64") for seed in _SEEDS]
            for index, column in enumerate(part.columns):
                hashes = hash_values(column)
                for lane, total in enumerate(lanes):
                    total += hashes * numpy.uint64(_multiplier(index, lane))
            for lane, total in enumerate(lanes):
                mixed = int(_mix(total).sum(dtype="uint64"))
                self._sums[lane] = (self._sums[lane] + mixed) % 2**64

    def add(self, other: Fingerprint) -> None:
        """Take in all rows that another fingerprint has seen."""
        self._schema = other._schema or self._schema
        self._rows += other._rows
        self._sums = [(one + two) % 2**64 for one, two in zip(self._sums, other._sums, strict=True)]

    def hexdigest(self) -> str:
        """32 hexadecimal digits."""
        fields = [] if self._schema is None else [f"{field.name}:{field.type}" for field in self._schema]
        text = "\n".join([*fields, str(self._rows), *(f"{total:016x}" for total in self._sums)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def hash_values(column: pyarrow.Array) -> numpy.ndarray:
    """64 bits for each value. A missing value hashes the same in every type; so do all NaNs, and 0.0 and -0.0."""
    import numpy
    import pyarrow
    import pyarrow.compute

    kind = column.type
    types = pyarrow.types
    if types.is_null(kind):
        return numpy.full(len(column), _MISSING, dtype="uint64")
    if types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if types.is_floating(kind):
        doubles = pyarrow.compute.fill_null(column.cast("float64"), 0.0).to_numpy(zero_copy_only=False) + 0.0
        doubles[numpy.isnan(doubles)] = numpy.nan
        hashes = _mix(doubles.view("uint64").copy())
    elif types.is_boolean(kind):
        hashes = _mix(pyarrow.compute.fill_null(column, False).to_numpy(zero_copy_only=False).astype("uint64"))
    elif types.is_integer(kind) or (types.is_temporal(kind) and not types.is_interval(kind)):
        if types.is_temporal(kind):
            column = column.view("int32" if kind.bit_width == 32 else "int64")
        whole = pyarrow.compute.fill_null(column, 0).to_numpy(zero_copy_only=False)
        hashes = _mix(whole.astype("int64" if whole.dtype.kind == "i" else "uint64").view("uint64").copy())
    else:
        hashes = _hash_text(_as_bytes(column))
    if column.null_count:
        hashes[column.is_null().to_numpy(zero_copy_only=False)] = _MISSING
    return hashes


def _parts(batch: pyarrow.RecordBatch | pyarrow.Table) -> Iterator[pyarrow.RecordBatch]:
    """The batch in pieces that stay in the processor's cache."""
    import pyarrow

    batches = [batch] if isinstance(batch, pyarrow.RecordBatch) else batch.to_batches()
    for one in batches:
        for start in range(0, one.num_rows, _ROWS_AT_ONCE):
            yield one.slice(start, _ROWS_AT_ONCE)


def _multiplier(index: int, lane: int) -> int:
    """An odd number for a column and a lane, by SplitMix64."""
    value = (_SEEDS[lane] + (index + 1) * _LANE_STEP) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return (value ^ (value >> 31)) | 1


def _mix(values: numpy.ndarray) -> numpy.ndarray:
    """SplitMix64's finalizer (Steele, Lea and Flood 2014), in place: every bit of the input moves every bit."""
    import numpy

    values += numpy.uint64(_MISSING)
    values ^= values >> numpy.uint64(30)
    values *= numpy.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> numpy.uint64(27)
    values *= numpy.uint64(0x94D049BB133111EB)
    values ^= values >> numpy.uint64(31)
    return values


def _as_bytes(column: pyarrow.Array) -> pyarrow.Array:
    """Whatever is neither a number nor a time as binary: text in UTF-8, nested values as JSON."""
    import pyarrow

    types = pyarrow.types
    if types.is_large_string(column.type) or types.is_large_binary(column.type):
        return column.cast("large_binary")
    if types.is_string(column.type) or types.is_binary(column.type):
        return column.cast("binary")
    if types.is_decimal(column.type):
        return column.cast("string").cast("binary")
    return pyarrow.array([None if v is None else _canonical(v) for v in column.to_pylist()], type="binary")


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=repr).encode()


def _hash_text(column: pyarrow.Array) -> numpy.ndarray:
    """The bytes of each value weighted by a random number for their place, summed and mixed with the length."""
    import numpy

    offset_type = "int64" if "large" in str(column.type) else "int32"
    offsets = numpy.frombuffer(column.buffers()[1], dtype=offset_type)[column.offset : column.offset + len(column) + 1]
    offsets = offsets.astype("int64")
    content = column.buffers()[2]
    data = numpy.frombuffer(content, dtype="uint8") if content is not None else numpy.zeros(0, dtype="uint8")
    lengths = numpy.diff(offsets)
    sums = numpy.zeros(len(column), dtype="uint64")
    start = 0
    while start < len(column):
        # At least one value, and as many as stay small: each byte becomes a number of eight.
        end = int(numpy.searchsorted(offsets, offsets[start] + _TEXT_BYTES_AT_ONCE, side="right")) - 1
        end = min(max(end, start + 1), len(column))
        sums[start:end] = _weighted(data[offsets[start] : offsets[end]], lengths[start:end])
        start = end
    return _mix(sums + lengths.astype("uint64") * numpy.uint64(_LANE_STEP))


def _weighted(data: numpy.ndarray, lengths: numpy.ndarray) -> numpy.ndarray:
    import numpy

    sums = numpy.zeros(len(lengths), dtype="uint64")
    filled = lengths > 0
    if not len(data):
        return sums
    starts = numpy.cumsum(lengths) - lengths
    places = numpy.arange(len(data), dtype="int64") - numpy.repeat(starts, lengths)
    weights = _mix(numpy.arange(int(lengths.max()), dtype="uint64"))
    weighted = weights[places] * (data.astype("uint64") + numpy.uint64(1))
    # Values without bytes have no segment of their own for reduceat.
    sums[filled] = numpy.add.reduceat(weighted, starts[filled])
    return sums
