"""Provenance of a model: the commit of the code, and a hash of everything that determines the trained model."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.train.spec import TrainSpec
    from airflow_provider_mlops.lifecycle.user_code import UserCode

GIT_COMMIT_VARIABLE = "AIRFLOW_PROVIDER_MLOPS_GIT_COMMIT"
"""Environment variable that names the commit if the code is not in a checkout, for example in a container image."""

_PACKAGES = (
    "airflow-provider-mlops",
    "mlflow",
    "numpy",
    "optuna",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
)


def git_commit(code: UserCode | None) -> str | None:
    """Return the commit of the user's code, or else of the DAGs, or else of the working directory.

    Returns None if none of them is in a checkout.
    """
    configured = os.environ.get(GIT_COMMIT_VARIABLE)
    if configured:
        return configured
    for directory in (_directory_of(code), os.environ.get("AIRFLOW__CORE__DAGS_FOLDER"), os.getcwd()):
        commit = _head(directory) if directory and os.path.isdir(directory) else None
        if commit:
            return commit
    return None


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of those packages that training depends on and that are installed."""
    installed = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def work_digest(spec: TrainSpec, parameters: Mapping[str, Any], commit: str | None) -> str:
    """Return a hash of the spec, the data, the parameters, the source of user code, the commit and package versions.

    Two tries with the same hash train the same model. If the source of user code cannot be read, the hash is random,
    so that the model is always trained again.
    """
    codes = [spec.code, spec.preprocessing.code if spec.preprocessing is not None else None]
    texts = [code.text_digest() or secrets.token_hex(16) for code in codes if code is not None]
    fields = spec.model_dump(mode="json", exclude={"phase", "worker", "trials"})
    content = json.dumps([fields, dict(parameters), texts, commit, package_versions()], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _directory_of(code: UserCode | None) -> str | None:
    if code is None or code.import_path is None:
        return None
    module = sys.modules.get(code.resolve().__module__)
    file = getattr(module, "__file__", None)
    return os.path.dirname(file) if file else None


def _head(directory: str) -> str | None:
    try:
        process = subprocess.run(
            ["git", "-C", directory, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None if process.returncode == 0 else None
