"""Waits for new files or for a new version of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.sensors.rendered import moment
from airflow_provider_mlops.sensors.waiting import WaitingSensor
from airflow_provider_mlops.triggers.new_data import NewDataTrigger


class NewDataSensor(WaitingSensor):
    """Waits until files are newer than a moment, or until a dataset has another content.

    Returns `{"paths", "count", "newest"}` of the files, or the new Dataset, which the next task can take
    as `dataset=sensor.output`.

    :param paths: a path or glob of any fsspec scheme, or several. Give either this or `dataset_uri`.
    :param newer_than: files count that were modified after this time (a datetime or ISO 8601).
        By default any file counts; `"{{ data_interval_start }}"` waits for what came in the interval or later.
    :param dataset_uri: where a dataset lies or will lie.
    :param fingerprint: the dataset's content that is known already. By default any content counts.
    :param deferrable: wait in the triggerer, which holds no worker slot. By default what
        `[operators] default_deferrable` says.
    """

    template_fields: Sequence[str] = ("paths", "newer_than", "dataset_uri", "fingerprint")
    template_fields_renderers: ClassVar[dict[str, str]] = {"paths": "json"}
    ui_color = "#e3f1e5"

    def __init__(
        self,
        *,
        paths: str | Sequence[str] | None = None,
        newer_than: str | datetime | None = None,
        dataset_uri: str | None = None,
        fingerprint: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (paths is None) == (dataset_uri is None):
            raise InvalidSpecError("paths", paths, "give either paths or dataset_uri")
        self.paths = paths
        self.newer_than = newer_than
        self.dataset_uri = dataset_uri
        self.fingerprint = fingerprint

    def trigger(self) -> NewDataTrigger:
        """Looks for the files or the dataset."""
        return NewDataTrigger(
            paths=self.paths if self.paths is None or isinstance(self.paths, str) else list(self.paths),
            newer_than=moment(self.newer_than),
            dataset_uri=self.dataset_uri,
            fingerprint=self.fingerprint,
            poke_interval=self.poke_interval,
        )
