"""Store a study as numbered files under the storage URI, which every worker can reach.

Optuna keeps a study as a journal of small records. Here record n is the file n, created exclusively. So workers need no
lock, a killed worker leaves no lock behind, and an object store works as well as a disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from airflow_provider_mlops.data import storage


class StorageJournal:
    """A journal for `optuna.storages.JournalStorage` at a URI of any fsspec scheme.

    It has the methods of `optuna.storages.journal.BaseJournalBackend` but does not derive from it, so that this module
    can be imported without Optuna.

    >>> first, second = StorageJournal("memory://doc/journal"), StorageJournal("memory://doc/journal")
    >>> first.append_logs([{"op": 1}]); second.append_logs([{"op": 2}])
    >>> list(first.read_logs(0))
    [{'op': 1}, {'op': 2}]
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._end = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the records from a number on, in order."""
        number = log_number_from
        while True:
            try:
                content = storage.read_bytes(self._record(number))
            except FileNotFoundError:
                return
            number += 1
            self._end = max(self._end, number)
            yield json.loads(content)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records after the last one, no matter which worker wrote it."""
        for record in logs:
            content = json.dumps(record).encode()
            while True:
                try:
                    storage.create(self._record(self._end), content)
                except FileExistsError:
                    self._end += 1
                else:
                    self._end += 1
                    break

    def _record(self, number: int) -> str:
        return storage.join(self._uri, f"{number:08d}.json")
