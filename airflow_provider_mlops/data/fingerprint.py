"""Fingerprints: hashes of the content of datasets.

A fingerprint depends on the schema and on the rows as a bag: neither the order in which a database returned them nor
the size of the batches changes it.

It detects that content differs by accident; it does not protect against content that was crafted to collide.
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
    """The fingerprint of batches of rows, updated batch by batch.

    Every value is hashed to 64 bits, the values of a row are combined under two sets of odd multipliers (lanes), one
    multiplier per column, and each lane's row hashes are mixed and added modulo 2**64. Adding is what makes the
    order of rows irrelevant while repeated rows still count.

    >>> import pyarrow
    >>> rows = pyarrow.table({"a": [1, 2, 3], "b": ["x", "y", None]})
    >>> at_once, in_parts = Fingerprint(), Fingerprint()
    >>> at_once.update(rows)
    >>> in_parts.update(rows.slice(2)); in_parts.update(rows.slice(0, 2))
    >>> at_once.hexdigest() == in_parts.hexdigest()
    True
    """

    def __init__(self) -> None:
        self._sums = [0, 0]
        self._rows = 0
        self._schema: pyarrow.Schema | None = None

    def update(self, batch: pyarrow.RecordBatch | pyarrow.Table) -> None:
        """Add a batch. Every batch must have the columns of the first one."""
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
        """Add all rows of another fingerprint."""
        self._schema = other._schema or self._schema
        self._rows += other._rows
        self._sums = [(own + added) % 2**64 for own, added in zip(self._sums, other._sums, strict=True)]

    def hexdigest(self) -> str:
        """Return the fingerprint as 32 hexadecimal digits."""
        fields = [] if self._schema is None else [f"{field.name}:{field.type}" for field in self._schema]
        text = "\n".join([*fields, str(self._rows), *(f"{total:016x}" for total in self._sums)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def hash_values(column: pyarrow.Array) -> numpy.ndarray:
    """Return a 64-bit hash of each value.

    Missing values have the same hash in every type. All NaNs have the same hash, and so do 0.0 and -0.0.
    """
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
    """Yield the batch in parts that fit into the processor's cache."""
    import pyarrow

    batches = [batch] if isinstance(batch, pyarrow.RecordBatch) else batch.to_batches()
    for record_batch in batches:
        for start in range(0, record_batch.num_rows, _ROWS_AT_ONCE):
            yield record_batch.slice(start, _ROWS_AT_ONCE)


def _multiplier(index: int, lane: int) -> int:
    """Return an odd number for a column and a lane, by SplitMix64."""
    value = (_SEEDS[lane] + (index + 1) * _LANE_STEP) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return (value ^ (value >> 31)) | 1


def _mix(values: numpy.ndarray) -> numpy.ndarray:
    """Apply SplitMix64's finalizer (Steele, Lea and Flood 2014) in place: each input bit affects every output bit."""
    import numpy

    values += numpy.uint64(_MISSING)
    values ^= values >> numpy.uint64(30)
    values *= numpy.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> numpy.uint64(27)
    values *= numpy.uint64(0x94D049BB133111EB)
    values ^= values >> numpy.uint64(31)
    return values


def _as_bytes(column: pyarrow.Array) -> pyarrow.Array:
    """Return text, decimals and nested values as bytes: text in UTF-8, nested values as JSON."""
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
    """Sum the bytes of each value, weighted by a random number for their position, and mix in the length."""
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
        # At least one value, but no more than fit into the limit: each byte becomes a number of eight bytes.
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
    positions = numpy.arange(len(data), dtype="int64") - numpy.repeat(starts, lengths)
    weights = _mix(numpy.arange(int(lengths.max()), dtype="uint64"))
    weighted = weights[positions] * (data.astype("uint64") + numpy.uint64(1))
    # Values without bytes have no segment of their own for reduceat.
    sums[filled] = numpy.add.reduceat(weighted, starts[filled])
    return sums
