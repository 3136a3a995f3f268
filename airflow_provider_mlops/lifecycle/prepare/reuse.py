"""Finds again what an earlier run of the same task prepared from the same rows with the same spec.

One small file per combination, `{storage_uri}/prepared/{dag}/{task}/{fingerprint}-{digest}.json`, names the
datasets. Nothing is read, changed and written back, so runs at the same time cannot lose each other's entries.
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


class Prepared(BaseModel):
    """What one task prepared, and which one that was."""

    model_config = ConfigDict(frozen=True)

    train: Dataset
    validation: Dataset
    test: Dataset
    made_by: str


def entry_uri(workspace: Workspace, dataset: Dataset, spec: dict[str, object], codes: list[UserCode]) -> str | None:
    """Where the entry for this work lies, or None if it cannot be told what the work depends on.

    It depends on the rows, the spec, the text of the user's code and the version of this package; not on where the
    dataset lies or which run asks.
    """
    texts = [code.text_digest() for code in codes]
    if None in texts:
        return None
    depends_on = json.dumps([spec, texts, __version__], sort_keys=True)
    digest = hashlib.sha256(depends_on.encode()).hexdigest()[:32]
    task = workspace.task.model_copy(update={"run_id": "-"})
    directory = storage.join(workspace.storage_uri, "prepared", task.path.replace("/-/", "/", 1))
    return storage.join(directory, f"{dataset.fingerprint}-{digest}.json")


def find(uri: str | None) -> Prepared | None:
    """The entry at `uri`, if all it names is still there and unchanged."""
    if uri is None:
        return None
    try:
        prepared = Prepared.model_validate_json(storage.read_text(uri))
        for part in (prepared.train, prepared.validation, prepared.test):
            missing = [file for file in part.files() if not storage.exists(file)]
            if missing:
                log.info("%s was prepared before, but %s is gone: preparing it again", part.name, missing[0])
                return None
    except FileNotFoundError:
        return None
    except (InvalidSpecError, ValidationError) as error:
        log.info("What was prepared before cannot be used (%s): preparing it again", error)
        return None
    return prepared


def remember(uri: str | None, prepared: Prepared) -> None:
    """Write the entry, after all that it names."""
    if uri is not None:
        storage.write_text(uri, prepared.model_dump_json(indent=2))
