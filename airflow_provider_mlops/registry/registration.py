"""Logs fitted models and registers them as versions. Several tries of a task leave one version."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.registry import packaging, type_approval
from airflow_provider_mlops.registry import tags as tag
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.models import aliases_of, check_name
from airflow_provider_mlops.registry.run import identity_hash
from airflow_provider_mlops.registry.trusted import TRUSTED_TYPES

if TYPE_CHECKING:
    import pandas
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion

    from airflow_provider_mlops.data.task_identity import TaskIdentity
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
    """Log a fitted scikit-learn model to a run, with signature and input example, and return its id in MLflow.

    Models that an earlier try logged to the run without registering them are deleted.

    Parameters
    ----------
    run
        Run to log to.
    model
        Fitted model.
    features
        Training rows as `registry.rows.feature_rows` returns them. The signature and the example are made from them.
    trusted_types
        Types, in addition to scikit-learn's own, that may be constructed when the model is loaded.
    pip_requirements
        Requirements of the model; by default derived from the model and the installed packages.
    metadata
        JSON values to store with the model.
    name
        Name of the logged model.

    Raises
    ------
    InvalidSpecError
        The model contains types that are not trusted.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    client = run.registry.client
    _remove_unregistered(run)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlops-model-") as temporary:
        directory = os.path.join(temporary, "model")
        # The check for types comes first, so that a model that is rejected leaves nothing in MLflow.
        mlflow_model = Model(run_id=run.id, metadata=metadata)
        contained = packaging.save(
            model,
            directory,
            mlflow_model,
            features,
            trusted_types=trusted_types,
            pip_requirements=pip_requirements,
            metadata=metadata,
        )
        extra = set(contained).difference(TRUSTED_TYPES)
        if extra:
            path = packaging.model_file(directory, mlflow_model.flavors["sklearn"])
            type_approval.approve(run.registry.storage_uri, path, extra, run.id)
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
    log.info(
        "Saved the model with skops in %.1f s: %s bytes, logged model %s",
        time.monotonic() - start,
        f"{size:,}",
        logged.model_id,
    )
    return str(logged.model_id)


def register(
    run: Run, name: str, model_id: str, task: TaskIdentity, *, tags: Mapping[str, str] | None = None, work: str = ""
) -> ModelVersion:
    """Register a logged model as the newest version of a registered model, and return the version.

    A version that an earlier try of the same task registered is deleted, unless an alias points at it, since it is then
    in use. So several tries leave one version.

    Parameters
    ----------
    run
        Run that the model was logged to.
    name
        Name of the registered model, which is created if it does not exist.
    model_id
        Id of the logged model.
    task
        Task that registers.
    tags
        Tags of the version. The version has them from the start.
    work
        Hash of everything that determines the model; see `registered_by`.
    """
    check_name(name)
    registry = run.registry
    client = registry.client
    all_tags = {
        **tag.task_tags(task),
        **(tags or {}),
        tag.IDENTITY: identity_hash(task, "model", name),
        tag.WORK: work,
        tag.MODEL_ID: model_id,
    }
    _ensure_registered_model(registry, name)
    versions = _versions_of(registry, name, all_tags[tag.IDENTITY])
    version = next((version for version in versions if version.tags.get(tag.MODEL_ID) == model_id), None)
    if version is None:
        limited = {key: str(value)[: tag.MAX_TAG_LENGTH] for key, value in all_tags.items()}
        version = client.create_model_version(
            name, _source(registry, model_id), run.id, tags=limited, model_id=model_id
        )
    for old in versions:
        if old.version == version.version:
            continue
        if aliases_of(registry, name, int(old.version)):
            log.warning("Kept version %s of %s from an earlier try, because an alias points at it", old.version, name)
        else:
            client.delete_model_version(name, str(old.version))
            log.info("Deleted version %s of %s, which an earlier try registered", old.version, name)
    registered = ModelVersion(name=name, version=int(version.version), run_id=run.id)
    # With this tag, the UI links the model of a run to its registered version.
    link = [{"name": name, "version": registered.version}]
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": json.dumps(link)})
    url = registry.model_url(name, registered.version)
    log.info("Registered %s%s", registered, f": {url}" if url else "")
    return registered


def registered_by(registry: Registry, name: str, task: TaskIdentity, work: str) -> ModelVersion | None:
    """Return the version that an earlier try of the task registered for the same work, or None."""
    from mlflow.exceptions import MlflowException

    try:
        versions = _versions_of(registry, name, identity_hash(task, "model", name))
    except MlflowException:
        return None
    same = [version for version in versions if version.tags.get(tag.WORK) == work and version.status == "READY"]
    if not same:
        return None
    newest = max(same, key=lambda version: int(version.version))
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
        except MlflowException as conflict:
            if conflict.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _source(registry: Registry, model_id: str) -> str:
    """Return the source of a version: the logged model if a server can resolve it, otherwise the URI of its files.

    A database needs the URI of the files: to resolve a logged model, MLflow would ask its global tracking URI.
    """
    if registry.registry_uri == registry.tracking_uri and registry.tracking_uri.startswith(("http://", "https://")):
        return f"models:/{model_id}"
    return str(registry.client.get_logged_model(model_id).artifact_location)


def _remove_unregistered(run: Run) -> None:
    """Delete the models of this run that no version refers to, which earlier tries left."""
    client = run.registry.client
    logged = client.search_logged_models([run.experiment_id], filter_string=f"source_run_id = '{run.id}'")
    if not logged:
        return
    versions = client.search_model_versions(f"run_id = '{run.id}'", max_results=1000)
    registered = {version.tags.get(tag.MODEL_ID) for version in versions}
    for model in logged:
        if model.model_id not in registered:
            client.delete_logged_model(model.model_id)
            log.info("Deleted logged model %s, which an earlier try did not register", model.model_id)
