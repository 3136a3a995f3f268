"""Trigger that waits for new files or for a new version of a dataset."""

from __future__ import annotations

from datetime import datetime
from typing import Unpack

from typing_extensions import override

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.manifest import MANIFEST
from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.data.times import as_utc
from airflow_provider_mlops.triggers.events import NewDatasetEvent, NewFilesEvent
from airflow_provider_mlops.triggers.times import parse_time
from airflow_provider_mlops.triggers.waiting import Observation, WaitingArguments, WaitingTrigger

NAMED_FILES = 50
"""How many of the new files are named in the event; thousands would not fit into an XCom."""


class NewDataTrigger(WaitingTrigger[NewFilesEvent | NewDatasetEvent]):
    """Fires when there are files newer than a time, or when the content of a dataset changes.

    :param paths: one or more paths or glob patterns, of any fsspec scheme.
    :param newer_than: ISO 8601 time; only files modified after it count. None for any file.
    :param dataset_uri: URI of a dataset, instead of `paths`.
    :param fingerprint: fingerprint of the content that you already know; None for any content.
    """

    def __init__(
        self,
        *,
        paths: str | list[str] | None = None,
        newer_than: str | None = None,
        dataset_uri: str | None = None,
        fingerprint: str | None = None,
        **waiting: Unpack[WaitingArguments],
    ) -> None:
        super().__init__(**waiting)
        self.paths = paths
        self.newer_than = newer_than
        self.dataset_uri = dataset_uri
        self.fingerprint = fingerprint

    @override
    def waiting_for(self) -> str:
        if self.dataset_uri is not None:
            known = f" with a fingerprint other than {self.fingerprint}" if self.fingerprint else ""
            return f"the dataset {self.dataset_uri}{known}"
        newer = f" newer than {self.newer_than}" if self.newer_than else ""
        return f"files{newer} at {', '.join(self._patterns())}"

    @override
    def observe(self) -> Observation[NewFilesEvent | NewDatasetEvent]:
        return self._observe_files() if self.dataset_uri is None else self._observe_dataset(self.dataset_uri)

    @override
    def advance(self, event: NewFilesEvent | NewDatasetEvent) -> None:
        if "newest" in event:
            self.newer_than = event["newest"]
        else:
            self.fingerprint = event["fingerprint"]

    def _patterns(self) -> list[str]:
        return [self.paths] if isinstance(self.paths, str) else self.paths or []

    def _observe_files(self) -> Observation[NewFilesEvent | NewDatasetEvent]:
        newer_than = parse_time("newer_than", self.newer_than)
        modified: dict[str, datetime] = {}
        old_files = 0
        for pattern in self._patterns():
            fs, path = storage.locate(pattern)
            fs.invalidate_cache()
            for match in fs.glob(path):
                name = str(match)
                if fs.isdir(name):
                    continue
                try:
                    time = as_utc(fs.modified(name))
                except FileNotFoundError:
                    continue
                if newer_than is None or time > newer_than:
                    modified[fs.unstrip_protocol(name) if "://" in pattern else name] = time
                else:
                    old_files += 1
        if not modified:
            return Observation(f"none; files that are older: {old_files}" if old_files else "none")
        newest_first = sorted(modified, key=lambda name: (modified[name], name), reverse=True)
        event = NewFilesEvent(
            paths=newest_first[:NAMED_FILES], count=len(modified), newest=max(modified.values()).isoformat()
        )
        return Observation(f"{len(modified):,} found, the newest is {newest_first[0]}", event)

    def _observe_dataset(self, uri: str) -> Observation[NewFilesEvent | NewDatasetEvent]:
        if not storage.exists(storage.join(uri, MANIFEST)):
            return Observation("it does not exist")
        dataset = Dataset.at(uri)
        seen = f"it has {pluralize(dataset.rows, 'row')} and the fingerprint {dataset.fingerprint}"
        if dataset.fingerprint == self.fingerprint:
            return Observation(seen)
        event = NewDatasetEvent(uri=dataset.uri, name=dataset.name, rows=dataset.rows, fingerprint=dataset.fingerprint)
        return Observation(seen, event)
