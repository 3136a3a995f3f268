"""Waits for new files or for a new version of a dataset."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.manifest import MANIFEST
from airflow_provider_mlops.data.times import as_utc
from airflow_provider_mlops.triggers import moment
from airflow_provider_mlops.triggers.waiting import WaitingTrigger

NAMED_FILES = 50
"""How many of the files that were found are named; XCom is no place for thousands."""


class NewDataTrigger(WaitingTrigger):
    """Fires when files are newer than a moment, or when a dataset's content is another.

    :param paths: a path or glob of any fsspec scheme, or several of them.
    :param newer_than: an ISO 8601 time; files count that were modified after it. None: any file counts.
    :param dataset_uri: in place of `paths`, where a dataset lies.
    :param fingerprint: the dataset's content that is known already. None: any content counts.
    """

    def __init__(
        self,
        *,
        paths: str | list[str] | None = None,
        newer_than: str | None = None,
        dataset_uri: str | None = None,
        fingerprint: str | None = None,
        poke_interval: float = 60.0,
    ) -> None:
        super().__init__(poke_interval=poke_interval)
        self.paths = paths
        self.newer_than = newer_than
        self.dataset_uri = dataset_uri
        self.fingerprint = fingerprint

    def arguments(self) -> dict[str, Any]:
        """What the trigger knows, for the triggerer's database."""
        return {
            "paths": self.paths,
            "newer_than": self.newer_than,
            "dataset_uri": self.dataset_uri,
            "fingerprint": self.fingerprint,
        }

    def look(self) -> dict[str, Any] | None:
        """`{"paths", "count", "newest"}` of the new files, or the new Dataset as JSON."""
        return self._files() if self.dataset_uri is None else self._dataset(self.dataset_uri)

    def advance(self, found: dict[str, Any]) -> None:
        """Look for what is newer from now on."""
        self.newer_than = found.get("newest", self.newer_than)
        self.fingerprint = found.get("fingerprint", self.fingerprint)

    def _files(self) -> dict[str, Any] | None:
        since = moment.parse("newer_than", self.newer_than)
        found: dict[str, datetime] = {}
        for pattern in [self.paths] if isinstance(self.paths, str) else self.paths or []:
            fs, path = storage.locate(pattern)
            fs.invalidate_cache()
            for match in fs.glob(path):
                name = str(match)
                if fs.isdir(name):
                    continue
                try:
                    modified = as_utc(fs.modified(name))
                except FileNotFoundError:
                    continue
                if since is None or modified > since:
                    found[fs.unstrip_protocol(name) if "://" in pattern else name] = modified
        if not found:
            return None
        newest_first = sorted(found, key=lambda name: (found[name], name), reverse=True)
        return {
            "paths": newest_first[:NAMED_FILES],
            "count": len(found),
            "newest": max(found.values()).isoformat(),
        }

    def _dataset(self, uri: str) -> dict[str, Any] | None:
        if not storage.exists(storage.join(uri, MANIFEST)):
            return None
        dataset = Dataset.at(uri)
        return None if dataset.fingerprint == self.fingerprint else dataset.model_dump(mode="json")
