"""Reuse: work is skipped only if the rows, the fields and the code are unchanged."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.preparation import (
    METHODS,
    another_run,
    double_income,
    double_income_in_pandas,
    rows,
    run,
    write,
)


def test_the_same_work_is_skipped(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    first = run(workspace, write(workspace, rows()), features=double_income)
    later = another_run(workspace)
    # Another run, the same rows in another place and another order.
    shuffled = write(later, rows().take(list(range(999, -1, -1))))
    with caplog.at_level(logging.INFO):
        second = run(later, shuffled, features=double_income)
    assert not first.skipped
    assert second.skipped
    assert second.model_copy(update={"skipped": False}) == first
    assert "Reused the datasets of" in caplog.text
    assert workspace.task.key in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"filters": ["age > 20"]},
        {"drop": ["at", "city"]},
        {"features": double_income_in_pandas},
        {"split": METHODS["group"]},
        {"preprocessing": {"numeric_scale": None}},
        {"reuse": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_different_work_is_not_skipped(workspace: Workspace, change: dict[str, Any]) -> None:
    dataset = write(workspace, rows(200))
    fields: dict[str, Any] = {"features": double_income}
    run(workspace, dataset, **fields)
    assert not run(another_run(workspace), dataset, **{**fields, **change}).skipped


def test_other_rows_or_another_task_are_not_skipped(workspace: Workspace) -> None:
    dataset = write(workspace, rows(200))
    run(workspace, dataset)
    assert not run(another_run(workspace), write(another_run(workspace), rows(200, seed=1))).skipped
    assert not run(another_run(workspace, task_id="other"), dataset).skipped
    assert not run(another_run(workspace, map_index=2), dataset).skipped
    assert run(another_run(workspace), dataset).skipped


def test_missing_datasets_are_prepared_again(workspace: Workspace) -> None:
    dataset = write(workspace, rows(200))
    first = run(workspace, dataset)
    Path(first.test.files()[0]).unlink()
    second = run(another_run(workspace), dataset)
    assert not second.skipped
    assert second.test.arrow().num_rows == first.test.rows
    entry = next(Path(workspace.storage_uri, "prepared").rglob("*.json"))
    entry.write_text("{")
    assert not run(another_run(workspace), dataset).skipped


def test_a_changed_function_is_not_skipped(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib
    import linecache
    import sys

    monkeypatch.syspath_prepend(str(tmp_path))
    dataset = write(workspace, rows(200))
    skipped = []
    for factor in (2, 2, 3):
        (tmp_path / "changing_features.py").write_text(
            f"def build(table):\n    return table.mutate(b=table.age * {factor})\n"
        )
        sys.modules.pop("changing_features", None)
        importlib.invalidate_caches()
        linecache.checkcache()
        skipped.append(run(another_run(workspace), dataset, features="changing_features:build").skipped)
    sys.modules.pop("changing_features", None)
    assert skipped == [False, True, False]


def test_a_retry_replaces(workspace: Workspace) -> None:
    dataset = write(workspace, rows(200))
    first = run(workspace, dataset, reuse=False)
    second = run(workspace, dataset, reuse=False)
    assert first == second
    assert len(list(Path(second.train.uri).glob("*.parquet"))) == 1
