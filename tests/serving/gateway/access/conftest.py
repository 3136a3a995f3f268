"""Fixtures of the doors' tests: a key file with clients of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from airflow_provider_mlops.serving.gateway.access import key_file


class Keys(NamedTuple):
    """A key file, and a key of each client in it."""

    path: str
    predict: str
    churn: str
    feedback: str
    monitoring: str
    administration: str


def write_keys(directory: Path) -> Keys:
    """Write a key file."""
    path = str(directory / "keys.json")
    file = key_file.KeyFile()
    file, predict = file.with_key("web", ("prediction",))
    file, churn = file.with_key("churn-only", ("prediction", "administration"), ("churn",))
    file, feedback = file.with_key("labels", ("feedback",))
    file, monitoring = file.with_key("prometheus", ("monitoring",))
    file, administration = file.with_key("airflow", ("prediction", "administration"))
    with key_file.changing(path) as versions:
        versions.append(file)
    return Keys(path, predict, churn, feedback, monitoring, administration)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return write_keys(tmp_path)


def bearer(key: str) -> dict[str, str]:
    """Return the header with a key."""
    return {"Authorization": f"Bearer {key}"}
