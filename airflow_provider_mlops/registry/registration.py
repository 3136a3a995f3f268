"""Logging a fitted model and registering it as a version, so that one try or many leave one version."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.registry import packaging
from airflow_provider_mlops.registry import tags as tag
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.models import TAG_LENGTH, aliases_of, check_name
from airflow_provider_mlops.registry.run import identity

if TYPE_CHECKING:
    import pandas
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion

    from airflow_provider_mlops.data.lineage import TaskIdentity
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.run import Run

log = logging.getLogger(__name__)


def log_model(
    run: Run,
    model: Any,
    features: pandas.DataFrame,
    *,
    trusted_types: Sequence[str] = (),
    pip_requirements: Sequence[str] | None = None,
    metadata: dict[str, Any] | None = None,
    name: str = "model",
) -> str:
    """Log a fitted scikit-learn model to a run, with signature and input example. Returns its id in MLflow.

    :param features: training rows in the form of `registry.rows.feature_rows`, from which signature and example come.
    :param trusted_types: types in the model, beside scikit-learn's own, that may be constructed when it is loaded.
    :param pip_requirements: what the model needs installed; by default computed from the model and what is installed.

    What an earlier try logged to the run and did not register is removed. Raises InvalidSpecError for types that are
    not trusted.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    client = run.registry.client
    _remove_unregistered(run)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlops-model-") as temporary:
        directory = os.path.join(temporary, "model")
        # The check for types comes first, so that a model that is refused leaves nothing in MLflow.
        mlflow_model = Model(run_id=run.id, metadata=metadata)
        packaging.save(
            model,
            directory,
            mlflow_model,
            features,
            trusted_types=trusted_types,
            pip_requirements=pip_requirements,
            metadata=metadata,
        )
        logged = client.create_logged_model(
            run.experiment_id, name=name, source_run_id=run.id, params=client.get_run(run.id).data.params
        )
        mlflow_model.model_id = logged.model_id
        mlflow_model.model_uuid = logged.model_id
        mlflow_model.artifact_path = logged.artifact_location
        mlflow_model.save(os.path.join(directory, "MLmodel"))
        size = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
        client.log_model_artifacts(logged.model_id, directory)
    client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    log.info("Saved the model with skops: %s bytes in %.1f s", f"{size:,}", time.monotonic() - start)
    return str(logged.model_id)


def register(
    run: Run, name: str, model_id: str, task: TaskIdentity, *, tags: Mapping[str, str] | None = None, work: str = ""
) -> ModelVersion:
    """Make a logged model the newest version of a registered model, with its tags from the start.

    A version that an earlier try of the same task registered is replaced: it is deleted, unless an
    alias points at it, because then it has been put to use. So one try or many leave one version.
    """
    check_name(name)
    registry = run.registry
    client = registry.client
    all_tags = {
        **task.tags(),
        **(tags or {}),
        tag.IDENTITY: identity(task, "model", name),
        tag.WORK: work,
        tag.MODEL_ID: model_id,
    }
    _ensure_registered_model(registry, name)
    found = _versions_of(registry, name, all_tags[tag.IDENTITY])
    version = next((one for one in found if one.tags.get(tag.MODEL_ID) == model_id), None)
    if version is None:
        limited = {key: str(value)[:TAG_LENGTH] for key, value in all_tags.items()}
        version = client.create_model_version(
            name, _source(registry, model_id), run.id, tags=limited, model_id=model_id
        )
    for old in found:
        if old.version == version.version:
            continue
        if aliases_of(registry, name, int(old.version)):
            log.warning("Version %s of %s from an earlier try stays, as an alias points at it", old.version, name)
        else:
            log.info("Deleting version %s of %s, which an earlier try registered", old.version, name)
            client.delete_model_version(name, str(old.version))
    registered = ModelVersion(name=name, version=int(version.version), run_id=run.id)
    # This is how the UI finds from the model of a run to its registered version.
    link = [{"name": name, "version": registered.version}]
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": json.dumps(link)})
    url = registry.model_url(name, registered.version)
    log.info("Registered %s%s", registered, f": {url}" if url else "")
    return registered


def registered_by(registry: Registry, name: str, task: TaskIdentity, work: str) -> ModelVersion | None:
    """The version that an earlier try of the task registered for the very same work; None if there is none."""
    from mlflow.exceptions import MlflowException

    try:
        found = _versions_of(registry, name, identity(task, "model", name))
    except MlflowException:
        return None
    same = [one for one in found if one.tags.get(tag.WORK) == work and one.status == "READY"]
    if not same:
        return None
    newest = max(same, key=lambda one: int(one.version))
    return ModelVersion(name=name, version=int(newest.version), run_id=newest.run_id or "")


def _versions_of(registry: Registry, name: str, identity_tag: str) -> list[MlflowModelVersion]:
    query = f"name = '{name}' and tag.`{tag.IDENTITY}` = '{identity_tag}'"
    return list(registry.client.search_model_versions(query, max_results=1000))


def _ensure_registered_model(registry: Registry, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        registry.client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        try:
            registry.client.create_registered_model(name)
        except MlflowException as created_meanwhile:
            if created_meanwhile.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _source(registry: Registry, model_id: str) -> str:
    """What a version's source is: the logged model where a server can resolve it, otherwise where its files lie.

    A database has to be given the files: to resolve a logged model, MLflow would ask its global tracking URI.
    """
    if registry.registry_uri == registry.tracking_uri and registry.tracking_uri.startswith(("http://", "https://")):
        return f"models:/{model_id}"
    return str(registry.client.get_logged_model(model_id).artifact_location)


def _remove_unregistered(run: Run) -> None:
    """Delete what earlier tries logged to this run and no version refers to."""
    client = run.registry.client
    logged = client.search_logged_models([run.experiment_id], filter_string=f"source_run_id = '{run.id}'")
    if not logged:
        return
    versions = client.search_model_versions(f"run_id = '{run.id}'", max_results=1000)
    referred = {version.tags.get(tag.MODEL_ID) for version in versions}
    for model in logged:
        if model.model_id not in referred:
            log.info("Removing model %s, which an earlier try logged and did not register", model.model_id)
            client.delete_logged_model(model.model_id)
