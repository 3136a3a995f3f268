"""One registry of models for all tests, and one gateway for those that leave its state alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.postgresql_cluster import Cluster, programs
from tests.helpers.serving import served_registry
from tests.helpers.serving.live_gateway import LiveGateway


@pytest.fixture(scope="session")
def served_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage directory with the models; copy it with the fixture `storage`."""
    directory = tmp_path_factory.mktemp("served-models")
    served_registry.build(directory)
    return directory


@pytest.fixture
def storage(served_models: Path, tmp_path: Path) -> Path:
    """A storage directory of the test's own, with the models in its MLflow."""
    served_registry.copy_to(served_models, tmp_path / "mlops")
    return tmp_path / "mlops"


@pytest.fixture(scope="module")
def gateway(served_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """A gateway that serves the champions of all models, for all tests of a module."""
    directory = tmp_path_factory.mktemp("gateway")
    served_registry.copy_to(served_models, directory)
    process = LiveGateway.launch(directory, "--max-body-bytes", "300000")
    try:
        yield process.wait_until_ready()
    finally:
        process.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server of the module's own."""
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is missing: pip install 'psycopg[binary]'")
    if programs() is None:
        pytest.skip("PostgreSQL's server is missing: apt-get install postgresql")
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.remove()
