"""Reuse of the datasets that an earlier run of the same task prepared from the same rows with the same spec.

Each combination has a small file, `{storage_uri}/prepared/{dag}/{task}/{fingerprint}-{digest}.json`, that names the
datasets. No file is read, changed and written back, so concurrent runs cannot lose each other's entries.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_provider_mlops import __version__
from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.user_code import UserCode
    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)


class ReuseEntry(BaseModel):
    """The datasets that a task prepared, and the key of that task."""

    model_config = ConfigDict(frozen=True)

    train: Dataset
    validation: Dataset
    test: Dataset
    made_by: str


def entry_uri(workspace: Workspace, dataset: Dataset, spec: dict[str, object], codes: list[UserCode]) -> str | None:
    """Return the URI of the entry for this work, or None if the text of the user code cannot be read.

    The URI depends on the rows, the spec, the text of the user code and the version of this package, but not on the
    place of the dataset or on the run.
    """
    texts = [code.text_digest() for code in codes]
    if None in texts:
        return None
    depends_on = json.dumps([spec, texts, __version__], sort_keys=True)
    digest = hashlib.sha256(depends_on.encode()).hexdigest()[:32]
    task = workspace.task.model_copy(update={"run_id": "-"})
    directory = storage.join(workspace.storage_uri, "prepared", task.path.replace("/-/", "/", 1))
    return storage.join(directory, f"{dataset.fingerprint}-{digest}.json")


def find_entry(uri: str | None) -> ReuseEntry | None:
    """Return the entry at `uri` if the datasets that it names still exist and are unchanged."""
    if uri is None:
        return None
    try:
        entry = ReuseEntry.model_validate_json(storage.read_text(uri))
        for part in (entry.train, entry.validation, entry.test):
            missing = [file for file in part.files() if not storage.exists(file)]
            if missing:
                log.info("Preparing %s again: its file %s is missing", part.name, missing[0])
                return None
    except FileNotFoundError:
        return None
    except (InvalidSpecError, ValidationError) as error:
        log.info("Preparing the rows again: the earlier datasets cannot be used (%s)", error)
        return None
    return entry


def write_entry(uri: str | None, entry: ReuseEntry) -> None:
    """Write the entry. Call this after the datasets that it names have been written."""
    if uri is not None:
        storage.write_text(uri, entry.model_dump_json(indent=2))
