"""What a dataset's content hashes to.

The fingerprint depends on the schema and on the rows as a bag: neither the order in which a
database happened to return them nor the size of the batches in which they came changes it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow


class Fingerprint:
    """The running fingerprint of batches of rows.

    Every row is hashed twice to 64 bits under different keys; the hashes are added modulo 2**64,
    which is what makes the order of rows irrelevant while repeated rows still count.

    >>> import pyarrow
    >>> rows = pyarrow.table({"a": [1, 2, 3], "b": ["x", "y", None]})
    >>> whole, parts = Fingerprint(), Fingerprint()
    >>> whole.update(rows)
    >>> parts.update(rows.slice(2)); parts.update(rows.slice(0, 2))
    >>> whole.hexdigest() == parts.hexdigest()
    True
    """

    _KEYS = ("mlops-row-hash-1", "mlops-row-hash-2")

    def __init__(self) -> None:
        self._sums = [0, 0]
        self._rows = 0
        self._schema: pyarrow.Schema | None = None

    def update(self, batch: pyarrow.RecordBatch | pyarrow.Table) -> None:
        """Take in a batch. Every batch has the schema of the first one."""
        from pandas.util import hash_pandas_object

        if self._schema is None:
            self._schema = batch.schema
        frame = batch.to_pandas()
        self._rows += len(frame)
        for position, key in enumerate(self._KEYS):
            hashes = hash_pandas_object(frame, index=False, hash_key=key, categorize=True)
            total = int(hashes.to_numpy().sum(dtype="uint64")) if len(frame) else 0
            self._sums[position] = (self._sums[position] + total) % 2**64

    def hexdigest(self) -> str:
        """32 hexadecimal digits."""
        fields = [] if self._schema is None else [f"{field.name}:{field.type}" for field in self._schema]
        text = "\n".join([*fields, str(self._rows), *(f"{total:016x}" for total in self._sums)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]
