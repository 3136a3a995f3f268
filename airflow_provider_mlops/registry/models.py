"""Registered models: finding versions and what is known of them, and loading them without pickle."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.registry import packaging
from airflow_provider_mlops.registry.model_version import ModelVersion

if TYPE_CHECKING:
    import pandas
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion
    from mlflow.models import Model, ModelSignature

    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)

_FORBIDDEN = "/:.%\"'`\\"
TAG_LENGTH = 5000
"""How long the value of a tag may be; longer ones are cut."""


def check_name(name: str) -> None:
    """Raise InvalidSpecError for a model name that MLflow or a URL could not carry."""
    bad = sorted({character for character in name if character in _FORBIDDEN or not character.isprintable()})
    if not name.strip() or bad or len(name) > 200:
        raise InvalidSpecError(
            "model_name",
            name,
            f"use letters, digits, spaces, - and _, at most 200; not {' '.join(bad) or 'an empty name'}",
        )


def get(registry: Registry, name: str, version: int | str) -> ModelVersion:
    """A version by its number, or by the alias that points at it. Raises InvalidSpecError if there is none."""
    found = _fetch(registry, name, version)
    return ModelVersion(name=name, version=int(found.version), run_id=found.run_id or "")


def find(registry: Registry, name: str, version: int | str) -> ModelVersion | None:
    """Like `get`, but None if there is none."""
    try:
        return get(registry, name, version)
    except InvalidSpecError:
        return None


def aliases(registry: Registry, name: str) -> dict[str, int]:
    """The aliases of a registered model and the versions they point at; empty if there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        model = registry.client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: int(version) for alias, version in model.aliases.items()}


def aliases_of(registry: Registry, name: str, version: int) -> list[str]:
    """The aliases that point at a version."""
    return sorted(alias for alias, target in aliases(registry, name).items() if target == version)


def tags(registry: Registry, model: ModelVersion) -> dict[str, str]:
    """The tags of a version. Raises InvalidSpecError if it is not there."""
    return dict(_fetch(registry, model.name, model.version).tags)


def set_tags(registry: Registry, model: ModelVersion, values: Mapping[str, Any]) -> None:
    """Set tags of a version, over those that are there."""
    for key, value in values.items():
        registry.client.set_model_version_tag(model.name, str(model.version), key, str(value)[:TAG_LENGTH])


def load(
    registry: Registry,
    model: ModelVersion,
    *,
    allow_pickle: bool = False,
    trusted_types: Sequence[str] | None = None,
) -> Any:
    """The fitted scikit-learn Pipeline of a version; one that classifies has `predict_proba` and `classes_` too.

    Raises InvalidSpecError if there is no such version, or if it is pickled and `allow_pickle` is not set. See
    `packaging.read` for what is trusted.
    """
    start = time.monotonic()
    with downloaded(registry, model) as directory:
        loaded = packaging.read(directory, allow_pickle=allow_pickle, trusted_types=trusted_types)
    log.info("Loaded %s in %.1f s", model, time.monotonic() - start)
    return loaded


def signature(registry: Registry, model: ModelVersion) -> ModelSignature:
    """What the version takes and gives. Raises InvalidSpecError if it was saved without a signature."""
    found: ModelSignature | None = _mlmodel(registry, model).signature
    if found is None:
        raise InvalidSpecError("model", model.uri, "it was saved without a signature: train it with this package")
    return found


def metadata(registry: Registry, model: ModelVersion) -> dict[str, Any]:
    """What training wrote beside the model: `problem`, `target` and `classes`, in the order of `predict_proba`."""
    return dict(_mlmodel(registry, model).metadata or {})


def input_example(registry: Registry, model: ModelVersion) -> pandas.DataFrame:
    """A few training rows in the form the model takes. Raises InvalidSpecError if the version was saved without."""
    import pandas
    from mlflow.models import Model

    from airflow_provider_mlops.registry.rows import conform

    with downloaded(registry, model) as directory:
        mlflow_model = Model.load(str(directory))
        rows = mlflow_model.load_input_example(str(directory)) if mlflow_model.saved_input_example_info else None
    if not isinstance(rows, pandas.DataFrame) or mlflow_model.signature is None:
        raise InvalidSpecError("model", model.uri, "it was saved without an input example: train it with this package")
    return conform(rows, mlflow_model.signature)


@contextmanager
def downloaded(registry: Registry, model: ModelVersion) -> Iterator[Path]:
    """The version's files in a local directory inside the `with` block: where they lie, or a copy for the time."""
    location = artifact_uri(registry, model)
    if storage.is_local(location):
        path = Path(storage.local_path(location))
        if not path.exists():
            raise InvalidSpecError("model", model.uri, f"its files are gone from {path}: train it again")
        yield path
        return
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(prefix="mlops-model-") as directory:
        with registry.guard():
            path = Path(
                download_artifacts(artifact_uri=location, dst_path=directory, tracking_uri=registry.tracking_uri)
            )
        yield path


def artifact_uri(registry: Registry, model: ModelVersion) -> str:
    """Where the version's files lie."""
    source = str(_fetch(registry, model.name, model.version).source)
    if source.startswith("models:/") and "/" not in source.removeprefix("models:/"):
        return str(registry.client.get_logged_model(source.removeprefix("models:/")).artifact_location)
    if source.startswith("runs:/"):
        run_id, _, path = source.removeprefix("runs:/").partition("/")
        return storage.join(registry.client.get_run(run_id).info.artifact_uri, path)
    return str(registry.client.get_model_version_download_uri(model.name, str(model.version)))


def _mlmodel(registry: Registry, model: ModelVersion) -> Model:
    """The file that describes the version, without the model itself, which may be large."""
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    location = storage.join(artifact_uri(registry, model), "MLmodel")
    if storage.is_local(location):
        path = storage.local_path(location)
        if not os.path.exists(path):
            raise InvalidSpecError("model", model.uri, f"its files are gone from {path}: train it again")
        return Model.load(path)
    with tempfile.TemporaryDirectory(prefix="mlops-model-") as directory:
        with registry.guard():
            path = download_artifacts(artifact_uri=location, dst_path=directory, tracking_uri=registry.tracking_uri)
        return Model.load(path)


def _fetch(registry: Registry, name: str, version: int | str) -> MlflowModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        if isinstance(version, int):
            return registry.client.get_model_version(name, str(version))
        return registry.client.get_model_version_by_alias(name, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"):
            raise
        hint = f"{name} has no version {version}: see its page in MLflow for those it has"
        if not isinstance(version, int):
            hint = f"no version of {name} has the alias {version}: approve or deploy one first"
        raise InvalidSpecError("model", f"{name}/{version}", hint) from error
