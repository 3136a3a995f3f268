"""Where a model comes from: the commit of the code, and a hash of all that decides what training makes."""

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
"""Where to say the commit when the code is not in a checkout, as in an image that was built from one."""

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
    """The commit of the user's code, or else of the DAGs, or else of the working directory; None outside a checkout."""
    told = os.environ.get(GIT_COMMIT_VARIABLE)
    if told:
        return told
    for directory in (_directory_of(code), os.environ.get("AIRFLOW__CORE__DAGS_FOLDER"), os.getcwd()):
        commit = _head(directory) if directory and os.path.isdir(directory) else None
        if commit:
            return commit
    return None


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that training depends on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def work(spec: TrainSpec, parameters: Mapping[str, Any], commit: str | None) -> str:
    """A hash of the spec, the data, the parameters, the text of user code, the commit and the package versions.

    Two tries with the same hash train the same model. Code whose text cannot be had gives a hash that never comes
    again.
    """
    codes = [spec.code, spec.preprocessing.code if spec.preprocessing is not None else None]
    texts = [code.text_digest() or secrets.token_hex(16) for code in codes if code is not None]
    fields = spec.model_dump(mode="json", exclude={"phase", "worker", "trials"})
    content = json.dumps([fields, dict(parameters), texts, commit, versions()], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _directory_of(code: UserCode | None) -> str | None:
    if code is None or code.import_path is None:
        return None
    module = sys.modules.get(code.resolve().__module__)
    file = getattr(module, "__file__", None)
    return os.path.dirname(file) if file else None


def _head(directory: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", directory, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
