"""Extract, profile, compare and split where the rows are: on PostgreSQL and on Spark, with DuckDB's results."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis
import pyarrow
import pytest

from airflow_provider_mlops.data import binning, engine, profiling
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.extract.step import STEP
from airflow_provider_mlops.lifecycle.prepare.split import ORDER, PART, Split, assign
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.postgresql_cluster import Cluster, programs

COUNT = 3000
ROWS = pyarrow.table(
    {
        "id": list(range(COUNT)),
        "amount": [None if i % 10 == 0 else (i * 37 % 101) / 8 for i in range(COUNT)],
        "plan": [None if i % 50 == 7 else ("free", "plus", "team")[i % 3] for i in range(COUNT)],
        "active": [None if i % 9 == 0 else i % 2 == 0 for i in range(COUNT)],
        "seen": pyarrow.array([1_700_000_000_000_000 + i * 1_000_000 for i in range(COUNT)], "timestamp[us]"),
        # None of the quantiles lies where 0 turns to 1: an estimate may fall on either side there.
        "churned": [int(i % 101 > 60) for i in range(COUNT)],
    }
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The rows as a dataset of two files."""
    with DatasetWriter(str(tmp_path_factory.mktemp("engines") / "rows"), "rows", rows_per_file=1000) as writer:
        writer.write(ROWS[:1000])
        writer.write(ROWS[1000:])
        return writer.commit()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL's driver is missing: pip install 'psycopg[binary]'")
    if programs() is None:
        pytest.skip("PostgreSQL's server is missing: apt-get install postgresql")
    cluster = Cluster()
    try:
        url = cluster.url("postgres")
        connection = engine.connect(url)
        connection.create_table("customers", ROWS)
        connection.disconnect()
        yield url
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory, written: Dataset) -> str:
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("Spark is missing: pip install 'pyspark>=4,<4.1' in an environment of its own, with Java 17")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java: apt-get install openjdk-17-jre-headless")
    return "pyspark://"


class Place:
    """A backend that has the rows as the table `customers`."""

    def __init__(self, url: str, files: list[str], directory: Path) -> None:
        self.url, self.files, self.directory = url, files, directory

    def connect(self) -> ibis.BaseBackend:
        if self.url.startswith("pyspark"):
            from pyspark.sql import SparkSession

            settings = {
                "spark.ui.enabled": "false",
                "spark.sql.shuffle.partitions": "2",
                "spark.sql.warehouse.dir": str(self.directory / "warehouse"),
            }
            SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
        return engine.connect(self.url)

    def table(self, connection: ibis.BaseBackend) -> ibis.Table:
        if self.url.startswith("pyspark"):
            return engine.read_parquet(connection, self.files)
        return connection.table("customers")


@pytest.fixture(params=["postgresql", "spark"])
def place(request: pytest.FixtureRequest, written: Dataset, tmp_path: Path) -> Place:
    return Place(request.getfixturevalue(request.param), written.files(), tmp_path)


def test_an_expression_is_extracted(place: Place, written: Dataset, tmp_path: Path, task: TaskIdentity) -> None:
    def rows(connection: Any) -> ibis.Table:
        table = place.table(connection)
        return table.filter(table.id >= 1000)

    place.connect()
    spec = {"dataset_name": "rows", "source": {"kind": "ibis", "expression": rows, "backend": place.url}}
    workspace = Workspace(storage_uri=str(tmp_path / "mlops"), task=task)
    result = STEP.run(STEP.parse({**spec, "batch_rows": 500}), workspace)
    with DatasetWriter(str(tmp_path / "expected"), "rows") as writer:
        writer.write(ROWS.slice(1000))
        assert result.fingerprint == writer.commit().fingerprint


@pytest.mark.parametrize("exact", [True, False])
def test_the_profile_is_duckdb_s(place: Place, written: Dataset, exact: bool) -> None:
    options: dict[str, Any] = {"target": "churned", "slices": ["plan"], "exact_cells": 10**9 if exact else 0}
    found = profiling.profile(place.table(place.connect()), **options)
    expected = profiling.profile(written.table(), **options)
    assert (found.rows, found.duplicate_rows, found.slices) == (expected.rows, expected.duplicate_rows, expected.slices)
    assert found.class_balance == expected.class_balance
    for one, other in zip(found.columns, expected.columns, strict=True):
        assert (one.name, one.kind, one.nulls) == (other.name, other.kind, other.nulls)
        assert (one.minimum, one.maximum, one.top_values) == (other.minimum, other.maximum, other.top_values)
        assert one.distinct == (other.distinct if exact else pytest.approx(other.distinct, rel=0.1))
        assert one.mean == pytest.approx(other.mean)
        assert one.std == pytest.approx(other.std)
        if one.histogram is not None:
            low, *_, high = one.histogram.edges
            assert one.quantiles == pytest.approx(other.quantiles, abs=(1e-9 if exact else 0.02) * (high - low))
        assert one.histogram == other.histogram


def test_rows_are_counted_in_a_reference_s_bins(place: Place, written: Dataset) -> None:
    """What drift is computed from."""
    columns = profiling.profile(written.table()).columns
    found = binning.bins_like(place.table(place.connect()), columns)
    assert found == binning.bins_like(written.table(), columns)


@pytest.mark.parametrize("method", ["random", "stratified", "group", "time"])
def test_spark_splits_rows_as_duckdb_does(spark: str, written: Dataset, tmp_path: Path, method: str) -> None:
    column = {"group": "plan", "time": "seen"}.get(method)
    split = Split.model_validate({"method": method, "column": column})
    place = Place(spark, written.files(), tmp_path)

    def parts(table: ibis.Table) -> list[dict[str, Any]]:
        table = table.filter(table.plan.notnull())
        placed = assign(table, split, "churned", 7, ["id", "plan"])
        return placed.select("id", PART, ORDER).order_by("id").to_pyarrow().to_pylist()

    assert parts(place.table(place.connect())) == parts(written.table())
