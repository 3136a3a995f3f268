"""Sensor that waits for new files or for a new version of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Unpack

from airflow.sdk import XComArg
from typing_extensions import override

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.sensors.rendered import Text, Time, to_iso_time, to_text
from airflow_provider_mlops.sensors.waiting import SensorArguments, WaitingSensor
from airflow_provider_mlops.triggers.events import NewDatasetEvent, NewFilesEvent
from airflow_provider_mlops.triggers.new_data import NewDataTrigger


class NewDataSensor(WaitingSensor[NewFilesEvent | NewDatasetEvent]):
    """Waits until there are files newer than a time, or until the content of a dataset changes.

    Returns `{"paths", "count", "newest"}` of the files, or the new Dataset, which the next task can take
    as `dataset=sensor.output`.

    :param paths: One or more paths or glob patterns, of any fsspec scheme. Use either `paths` or `dataset_uri`.
    :param newer_than: Only files that were modified after this time count, for example
        `"{{ data_interval_start }}"`: a datetime or ISO 8601. By default, any file counts.
    :param dataset_uri: URI of a dataset, which may not exist yet.
    :param fingerprint: Fingerprint of the content that you already know. By default, any content counts.
    :param deferrable: Wait in the triggerer, which needs no worker slot. Defaults to
        `[operators] default_deferrable`.
    """

    template_fields: Sequence[str] = ("paths", "newer_than", "dataset_uri", "fingerprint")
    template_fields_renderers: ClassVar[dict[str, str]] = {"paths": "json"}
    ui_color = "#e3f1e5"

    def __init__(
        self,
        *,
        paths: Text | Sequence[str] | None = None,
        newer_than: Time | None = None,
        dataset_uri: Text | None = None,
        fingerprint: Text | None = None,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if (paths is None) == (dataset_uri is None):
            raise InvalidSpecError("paths", paths, "exactly one of paths and dataset_uri is required")
        self.paths = paths
        self.newer_than = newer_than
        self.dataset_uri = dataset_uri
        self.fingerprint = fingerprint

    @override
    def trigger(self) -> NewDataTrigger:
        paths = self.paths
        return NewDataTrigger(
            paths=to_text(paths) if paths is None or isinstance(paths, str | XComArg) else list(paths),
            newer_than=to_iso_time(self.newer_than),
            dataset_uri=to_text(self.dataset_uri),
            fingerprint=to_text(self.fingerprint),
            poke_interval=self.poke_interval,
        )
