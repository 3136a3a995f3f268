"""Rollout stores for the tests of this folder: in SQLite and in PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.helpers.postgresql_cluster import Cluster, programs


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is missing: pip install 'psycopg[binary]'")
    if programs() is None:
        pytest.skip("PostgreSQL's server is missing: apt-get install postgresql")
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return default_url(str(tmp_path / "mlops"))
    cluster: Cluster = request.getfixturevalue("cluster")
    name = f"rollouts_{os.urandom(4).hex()}"
    cluster.execute(f"CREATE DATABASE {name}", database="postgres")
    return cluster.url(database=name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RolloutStore]:
    store = RolloutStore(default_url(str(tmp_path / "store")))
    yield store
    store.close()
