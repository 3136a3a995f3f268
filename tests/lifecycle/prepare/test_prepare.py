"""Preparation: filters, features, and the types of columns."""

from __future__ import annotations

import datetime
import logging
from decimal import Decimal
from itertools import chain
from typing import Any

import numpy
import pyarrow
import pytest

from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.preparation import double_income, double_income_in_pandas, parts, rows, run, write


def double_income_in_arrow(table: Any) -> Any:
    import pyarrow.compute

    arrow = table.to_pyarrow()
    return arrow.append_column("double", pyarrow.compute.multiply(arrow["income"], 2))


@pytest.mark.parametrize("code", [double_income, double_income_in_pandas, double_income_in_arrow])
def test_features(workspace: Workspace, code: Any) -> None:
    result = run(workspace, write(workspace, rows()), features=code, drop=["at", "city"])
    table = result.train.arrow()
    assert table.column_names == ["id", "age", "income", "customer", "churned", "double"]
    numpy.testing.assert_allclose(table["double"].to_numpy(), table["income"].to_numpy() * 2)
    # Where a row goes does not depend on how features are computed, nor on whether there are any.
    assert parts(result) == parts(run(workspace, write(workspace, rows())))


def broken(table: Any) -> Any:
    raise ZeroDivisionError("mine")


def test_a_mistake_in_features_keeps_its_type(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError, match="mine"):
        run(workspace, write(workspace, rows(50)), features=broken)


def test_filters(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    table = rows()
    filters = ["age >= 30", "income IS NOT NULL AND city IN ('Ulm', 'Bonn')", "at > '2026-01-10' OR \"customer\" = 3"]
    with caplog.at_level(logging.INFO):
        result = run(workspace, write(workspace, table), filters=filters)
    frame = table.to_pandas()
    kept = frame[
        (frame.age >= 30)
        & frame.income.notna()
        & frame.city.isin(["Ulm", "Bonn"])
        & ((frame["at"] > "2026-01-10") | (frame.customer == 3))
    ]
    assert sorted(chain(*parts(result))) == sorted(kept.id)
    assert f"Kept {len(kept)} of 1,000 rows" in caplog.text


def test_decimals_become_floating_point(workspace: Workspace) -> None:
    table = rows(50).append_column("price", pyarrow.array([Decimal("1.50")] * 50))
    result = run(workspace, write(workspace, table))
    assert result.train.arrow()["price"].type == pyarrow.float64()
    assert result.train.arrow()["price"].to_pylist()[0] == 1.5


def test_times_with_zones_and_missing_values_keep_their_types(workspace: Workspace) -> None:
    table = pyarrow.table(
        {
            "id": list(range(50)),
            "small": pyarrow.array([1, None] * 25, pyarrow.int16()),
            "flag": pyarrow.array([True, None] * 25),
            "text": pyarrow.array(["a", None] * 25).dictionary_encode(),
            "at": pyarrow.array(
                [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)] * 50, pyarrow.timestamp("us", tz="UTC")
            ),
            "churned": ["yes", "no"] * 25,
        }
    )
    result = run(
        workspace, write(workspace, table), preprocessing={"code": "sklearn.preprocessing:StandardScaler"}, drop=[]
    )
    types = {field.name: str(field.type) for field in result.train.arrow().schema}
    assert types["small"] == "int16"
    assert types["flag"] == "bool"
    assert types["text"] == "string"
    assert types["at"] == "timestamp[us, tz=UTC]"
