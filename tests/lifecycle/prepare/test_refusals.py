"""Errors of prepare: wrong fields, filters and features, and too few rows. Nothing is visible afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.preparation import METHODS, PARTS, rows, run, write


def no_table(table: Any) -> Any:
    return 3


def without_target(table: Any) -> Any:
    return table.drop("churned")


def unnamed(frame: Any) -> Any:
    return frame.rename(columns={"age": 1})


def requires_too_much(table: Any, everything: Any) -> Any:
    return table


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            no_table,
            r"features='.*no_table': the function must return an Ibis table, .*not int",
        ),
        (without_target, "target='churned': it must be a column .*Use one of 'id', 'age'"),
        (unnamed, r"features=\[1\]: .*must be strings"),
        (requires_too_much, r"features='.*requires_too_much': .*requires everything.* frame, table"),
        ("airflow_provider_mlops.nowhere:features", "features='.*nowhere:features': the module cannot be imported"),
        ("math:hypot", "features='math:hypot': .*Wrap it in a function"),
    ],
)
def test_wrong_features(workspace: Workspace, code: Any, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, write(workspace, rows(50)), features=code)


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("age >=", r"filters='age >=': it must be an SQL predicate"),
        ("agee > 3", "'agee' must be a column .*Did you mean 'age'"),
        ("age > 3; DROP TABLE rows", "it must be an SQL predicate"),
        ("1 = 1) OR (1 = 1", "it must be an SQL predicate"),
        ("age > 3 ORDER BY age", "it must be one condition|it must be an SQL predicate"),
        ("id IN (SELECT 1)", "without a subquery"),
        ("age > avg(age)", "a filter cannot use aggregate or window functions"),
        ("row_number() OVER () < 3", "a filter cannot use aggregate or window functions"),
        ("city > 3", "the engine cannot compute them .*Compare values of the same type"),
    ],
)
def test_wrong_filters(workspace: Workspace, predicate: str, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, write(workspace, rows(50)), filters=[predicate])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "churn"}, "target='churn': it must be a column .*Did you mean 'churned'"),
        ({"drop": ["att"]}, "drop='att': it must be a column .*Did you mean 'at'"),
        ({"drop": ["churned"]}, "drop='churned': the target must not be dropped"),
        ({"drop": []}, r"dataset='.*': the column 'at' has the type datetime64\[\w+\], .*Derive numbers from it"),
        ({"split": {"key": ["idd"]}}, r"split\.key='idd': it must be a column .*Did you mean 'id'"),
        ({"split": {"method": "group", "column": "person"}}, r"split\.column='person': it must be a column"),
        (
            {"split": {"method": "time", "column": "city"}},
            r"split\.column='city': it must be a column of times .*string",
        ),
        ({"split": {"method": "time"}}, r"split\.column=None: the method 'time' requires a column"),
        (
            {"split": {"method": "random", "column": "age"}},
            r"split\.column='age': the method 'random' does not use a column",
        ),
        (
            {"split": {"validation": 0.6, "test": 0.4}},
            r"split\.test=0\.4: validation and test must add up to less than 1",
        ),
        ({"split": {"method": "alphabetical"}}, r"split\.method='alphabetical': it must be 'random'"),
        (
            {"split": {"method": "group", "column": "income"}},
            r"split\.column='income': .*missing in .*rows?.*IS NOT NULL",
        ),
        (
            {"split": {"method": "stratified", "column": "id"}, "filters": ["id >= 0"]},
            "at most 1,000 values, not 1,100",
        ),
    ],
)
def test_wrong_fields(workspace: Workspace, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, write(workspace, rows(1100)), **fields)


def test_code_is_checked_before_rows_are_read(workspace: Workspace) -> None:
    # The filter would fail too, but only when the engine computes it.
    with pytest.raises(
        InvalidSpecError, match=r"preprocessing\.code='.*:requires_too_much': .*requires table, everything"
    ):
        run(workspace, write(workspace, rows(50)), filters=["age > 'old'"], preprocessing={"code": requires_too_much})


@pytest.mark.parametrize("name", ["mlops_part", "mlops_stratum", "mlops_first_cut"])
def test_column_names_that_the_split_uses_are_rejected(workspace: Workspace, name: str) -> None:
    table = rows(50).append_column(name, pyarrow.array(range(50)))
    with pytest.raises(InvalidSpecError, match=rf"dataset='.*': its columns '{name}' have names that are reserved"):
        run(workspace, write(workspace, table), split=METHODS["stratified"])


def test_a_part_without_rows_is_explained_by_the_method(workspace: Workspace) -> None:
    table = rows(60).set_column(4, "customer", pyarrow.array([1, 2] * 30))
    with pytest.raises(RejectedError, match=r"the test part is empty: .* 0 of \d+ rows, .* more values of 'customer'"):
        run(workspace, write(workspace, table), split=METHODS["group"])


def test_too_few_rows_are_rejected(workspace: Workspace) -> None:
    with pytest.raises(RejectedError, match=r"filters: 'age > 1000' keep none of the 50 rows.*Loosen"):
        run(workspace, write(workspace, rows(50)), filters=["age > 1000"])
    with pytest.raises(RejectedError, match=r"0 of 2 rows, although its share is \d+%\. Extract more rows"):
        run(workspace, write(workspace, rows(2)), split=METHODS["stratified"])
    with pytest.raises(RejectedError, match=r"the train part is empty: .* 0 of 0 rows"):
        run(workspace, write(workspace, rows(0)))


def test_half_written_and_changed_datasets(workspace: Workspace) -> None:
    dataset = write(workspace, rows(50))
    write(workspace, rows(50, seed=1))
    with pytest.raises(InvalidSpecError, match="content"):
        run(workspace, dataset)
    Path(dataset.uri, "manifest.json").unlink()
    with pytest.raises(InvalidSpecError, match="manifest"):
        run(workspace, dataset)


def test_nothing_is_visible_after_a_failure(workspace: Workspace) -> None:
    with pytest.raises(RejectedError):
        run(workspace, write(workspace, rows(2)), split=METHODS["stratified"])
    for part in PARTS:
        with pytest.raises(InvalidSpecError):
            Dataset.at(workspace.uri("datasets", f"rows_{part}"))
