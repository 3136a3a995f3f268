"""What prepare refuses: wrong fields, filters and features, and rows that are too few, with nothing visible after."""

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


def greedy(table: Any, everything: Any) -> Any:
    return table


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (no_table, r"features='.*no_table returned int': return an Ibis table, a pandas DataFrame or an Arrow table"),
        (without_target, "target='churned': there is no such column: the columns are 'id', 'age'"),
        (unnamed, r"features=\[1\]: .*whose names are not strings"),
        (greedy, r"features='.*greedy': it requires everything; the function may only take the arguments frame, table"),
        ("airflow_provider_mlops.nowhere:features", "features='.*nowhere:features': the module cannot be imported"),
        ("math:hypot", "features='math:hypot': its arguments are not known: wrap it in a function"),
    ],
)
def test_wrong_features(workspace: Workspace, code: Any, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, write(workspace, rows(50)), features=code)


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("age >=", r"filters='age >=': it is no SQL predicate \("),
        ("agee > 3", "there is no column 'agee': did you mean 'age'"),
        ("age > 3; DROP TABLE rows", "it is no SQL predicate"),
        ("1 = 1) OR (1 = 1", "it is no SQL predicate"),
        ("age > 3 ORDER BY age", "write one condition over the row's own columns|it is no SQL predicate"),
        ("id IN (SELECT 1)", "without a sub-query"),
        ("age > avg(age)", "a filter sees one row at a time"),
        ("row_number() OVER () < 3", "a filter sees one row at a time"),
        ("city > 3", "the engine cannot compute them .*compare values of the same type"),
    ],
)
def test_wrong_filters(workspace: Workspace, predicate: str, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, write(workspace, rows(50)), filters=[predicate])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "churn"}, "target='churn': there is no such column: did you mean 'churned'"),
        ({"drop": ["att"]}, "drop='att': there is no such column: did you mean 'at'"),
        ({"drop": ["churned"]}, "drop='churned': it is the target"),
        ({"drop": []}, r"dataset='column at of type datetime64\[\w+\]': derive numbers from it"),
        ({"split": {"key": ["idd"]}}, r"split\.key='idd': there is no such column: did you mean 'id'"),
        ({"split": {"method": "group", "column": "person"}}, r"split\.column='person': name one of the columns"),
        (
            {"split": {"method": "time", "column": "city"}},
            r"split\.column='city': a column of type string has no order",
        ),
        ({"split": {"method": "time"}}, r"split\.column=None: the method time needs the column to split by"),
        ({"split": {"method": "random", "column": "age"}}, r"split\.column='age': the method random takes no column"),
        ({"split": {"validation": 0.6, "test": 0.4}}, r"split\.validation \+ split\.test=1\.0: leave a share"),
        ({"split": {"method": "alphabetical"}}, r"split\.method='alphabetical': input should be 'random'"),
        ({"split": {"method": "group", "column": "income"}}, r"split\.column='income': \d+ rows have no value there"),
        ({"split": {"method": "stratified", "column": "id"}, "filters": ["id >= 0"]}, "1100 values, too many strata"),
    ],
)
def test_wrong_fields(workspace: Workspace, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        run(workspace, write(workspace, rows(1100)), **fields)


def test_code_is_checked_before_rows_are_read(workspace: Workspace) -> None:
    # The filter would fail too, but only when the engine computes it.
    with pytest.raises(InvalidSpecError, match=r"^preprocessing\.code='.*:greedy': it requires table, everything"):
        run(workspace, write(workspace, rows(50)), filters=["age > 'old'"], preprocessing={"code": greedy})


@pytest.mark.parametrize("name", ["mlops_part", "mlops_stratum", "mlops_first_cut"])
def test_names_that_the_split_needs_are_refused(workspace: Workspace, name: str) -> None:
    table = rows(50).append_column(name, pyarrow.array(range(50)))
    with pytest.raises(InvalidSpecError, match=rf"dataset=\['{name}'\]: these column names are used by the split"):
        run(workspace, write(workspace, table), split=METHODS["stratified"])


def test_a_part_without_rows_is_explained_by_the_method(workspace: Workspace) -> None:
    table = rows(60).set_column(4, "customer", pyarrow.array([1, 2] * 30))
    with pytest.raises(RejectedError, match=r"leaves none for test, .*: extract rows of more values of 'customer'"):
        run(workspace, write(workspace, table), split=METHODS["group"])


def test_rows_that_are_too_few(workspace: Workspace) -> None:
    with pytest.raises(RejectedError, match=r"the filters 'age > 1000' keep none of the 50 rows .*: loosen them"):
        run(workspace, write(workspace, rows(50)), filters=["age > 1000"])
    with pytest.raises(RejectedError, match=r"of 2 rows leaves none for \w+, whose share is \d+%: extract more rows"):
        run(workspace, write(workspace, rows(2)), split=METHODS["stratified"])
    with pytest.raises(RejectedError, match="of 0 rows leaves none for train"):
        run(workspace, write(workspace, rows(0)))


def test_half_written_and_changed_datasets(workspace: Workspace) -> None:
    dataset = write(workspace, rows(50))
    write(workspace, rows(50, seed=1))
    with pytest.raises(InvalidSpecError, match="its content changed"):
        run(workspace, dataset)
    Path(dataset.uri, "manifest.json").unlink()
    with pytest.raises(InvalidSpecError, match="the dataset has no manifest, so its writer has not finished"):
        run(workspace, dataset)


def test_nothing_is_visible_after_a_failure(workspace: Workspace) -> None:
    with pytest.raises(RejectedError):
        run(workspace, write(workspace, rows(2)), split=METHODS["stratified"])
    for part in PARTS:
        with pytest.raises(InvalidSpecError):
            Dataset.at(workspace.uri("datasets", f"rows_{part}"))
