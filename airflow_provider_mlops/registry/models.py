"""Registered models: finds versions and their metadata, and loads them without pickle."""

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
from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.registry import packaging
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.tags import MAX_TAG_LENGTH

if TYPE_CHECKING:
    import pandas
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion
    from mlflow.models import Model, ModelSignature

    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)

_FORBIDDEN = "/:.%\"'`\\"
_MAX_NAME_LENGTH = 200


def check_name(name: str) -> None:
    """Raise InvalidSpecError for a model name that MLflow or a URL does not allow."""
    bad = sorted({character for character in name if character in _FORBIDDEN or not character.isprintable()})
    if not name.strip():
        raise InvalidSpecError("model_name", name, "it must not be blank. Use letters, digits, spaces, - and _")
    if bad:
        raise InvalidSpecError(
            "model_name", name, f"it must not contain {list_names(bad)}. Use letters, digits, spaces, - and _"
        )
    if len(name) > _MAX_NAME_LENGTH:
        raise InvalidSpecError(
            "model_name", name, f"it must have at most {_MAX_NAME_LENGTH} characters, not {len(name):,}. Shorten it"
        )


def get(registry: Registry, name: str, version: int | str) -> ModelVersion:
    """Return a version by its number, or by an alias that points at it. Raises InvalidSpecError if there is none."""
    fetched = _fetch(registry, name, version)
    return ModelVersion(name=name, version=int(fetched.version), run_id=fetched.run_id or "")


def find(registry: Registry, name: str, version: int | str) -> ModelVersion | None:
    """Return a version like `get`, or None if there is none."""
    try:
        return get(registry, name, version)
    except InvalidSpecError:
        return None


def aliases(registry: Registry, name: str) -> dict[str, int]:
    """Return the aliases of a registered model and their versions; empty if there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        model = registry.client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: int(version) for alias, version in model.aliases.items()}


def aliases_of(registry: Registry, name: str, version: int) -> list[str]:
    """Return the aliases that point at a version."""
    return sorted(alias for alias, target in aliases(registry, name).items() if target == version)


def tags(registry: Registry, model: ModelVersion) -> dict[str, str]:
    """Return the tags of a version. Raises InvalidSpecError if the version does not exist."""
    return dict(_fetch(registry, model.name, model.version).tags)


def set_tags(registry: Registry, model: ModelVersion, values: Mapping[str, Any]) -> None:
    """Set tags of a version. Existing tags of the same names are overwritten."""
    for key, value in values.items():
        registry.client.set_model_version_tag(model.name, str(model.version), key, str(value)[:MAX_TAG_LENGTH])


def load(
    registry: Registry,
    model: ModelVersion,
    *,
    allow_pickle: bool = False,
    trusted_types: Sequence[str] = (),
) -> Any:
    """Return the fitted scikit-learn Pipeline of a version.

    Trusts scikit-learn's own types, those that were approved when the version was saved, those of the registry's
    settings, and `trusted_types`. Raises InvalidSpecError if there is no such version, if it contains other types, or
    if it is pickled and `allow_pickle` is not set.
    """
    start = time.monotonic()
    with downloaded(registry, model) as directory:
        loaded = read(registry, directory, allow_pickle=allow_pickle, trusted_types=trusted_types)
    log.info("Loaded %s in %.1f s", model, time.monotonic() - start)
    return loaded


def read(registry: Registry, directory: Path, *, allow_pickle: bool = False, trusted_types: Sequence[str] = ()) -> Any:
    """Return the model in a directory that `downloaded` yields, as `load` does."""
    return packaging.read(
        directory,
        allow_pickle=allow_pickle,
        trusted_types=(*registry.trusted_types, *trusted_types),
        storage_uri=registry.storage_uri,
    )


def signature(registry: Registry, model: ModelVersion) -> ModelSignature:
    """Return the types of the version's inputs and outputs. Raises InvalidSpecError if it has no signature."""
    saved: ModelSignature | None = _mlmodel(registry, model).signature
    if saved is None:
        raise InvalidSpecError(
            "model", model.uri, "the version was saved without a signature. Train the model with this package"
        )
    return saved


def metadata(registry: Registry, model: ModelVersion) -> dict[str, Any]:
    """Return the metadata of training: `problem`, `target` and `classes`, in the order of `predict_proba`."""
    return dict(_mlmodel(registry, model).metadata or {})


def input_example(registry: Registry, model: ModelVersion) -> pandas.DataFrame:
    """Return a few training rows that the model accepts. Raises InvalidSpecError if the version has none."""
    import pandas
    from mlflow.models import Model

    from airflow_provider_mlops.registry.rows import conform

    with downloaded(registry, model) as directory:
        mlflow_model = Model.load(str(directory))
        rows = mlflow_model.load_input_example(str(directory)) if mlflow_model.saved_input_example_info else None
    if not isinstance(rows, pandas.DataFrame) or mlflow_model.signature is None:
        raise InvalidSpecError(
            "model", model.uri, "the version was saved without an input example. Train the model with this package"
        )
    return conform(rows, mlflow_model.signature)


@contextmanager
def downloaded(registry: Registry, model: ModelVersion) -> Iterator[Path]:
    """Provide the version's files in a local directory: the original one, or a copy inside the `with` block."""
    location = artifact_uri(registry, model)
    if storage.is_local(location):
        path = Path(storage.local_path(location))
        if not path.exists():
            raise InvalidSpecError("model", model.uri, f"its files are missing from {path}. Train the model again")
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
    """Return the URI of the version's files."""
    source = str(_fetch(registry, model.name, model.version).source)
    if source.startswith("models:/") and "/" not in source.removeprefix("models:/"):
        return str(registry.client.get_logged_model(source.removeprefix("models:/")).artifact_location)
    if source.startswith("runs:/"):
        run_id, _, path = source.removeprefix("runs:/").partition("/")
        return storage.join(registry.client.get_run(run_id).info.artifact_uri, path)
    return str(registry.client.get_model_version_download_uri(model.name, str(model.version)))


def _mlmodel(registry: Registry, model: ModelVersion) -> Model:
    """Read the description of the version, without the model itself, which may be large."""
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    location = storage.join(artifact_uri(registry, model), "MLmodel")
    if storage.is_local(location):
        path = storage.local_path(location)
        if not os.path.exists(path):
            raise InvalidSpecError("model", model.uri, f"its files are missing from {path}. Train the model again")
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
        hint = f"{name} has no version {version}. Check its versions in MLflow"
        if not isinstance(version, int):
            hint = f"no version of {name} has the alias {version}. Validate or deploy a version first"
        raise InvalidSpecError("model", f"{name}/{version}", hint) from error
