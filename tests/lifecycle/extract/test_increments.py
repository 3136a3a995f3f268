"""Incremental extraction: the rows of a run's data interval, and those above a watermark."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas
import pytest

from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.extraction import JANUARY_3_TO_5, SQL, column, extract, in_run, source_of

WRITTEN = {
    "space": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"),
    "iso": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "date": lambda moment: moment.strftime("%Y-%m-%d"),
    "seconds": lambda moment: int(moment.timestamp()),
    "milliseconds": lambda moment: int(moment.timestamp() * 1000),
}


@pytest.mark.parametrize("written", list(WRITTEN))
@pytest.mark.parametrize("kind", ["sql", "code"])
def test_the_rows_of_the_interval_in_any_form_of_times(
    workspace: Workspace, tmp_path: Path, kind: str, written: str
) -> None:
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 8)]
    values = [WRITTEN[written](moment) for moment in moments]
    if kind == "sql":
        connection = sqlite3.connect(tmp_path / "warehouse.db")
        connection.execute("CREATE TABLE visits (day, n)")
        connection.executemany("INSERT INTO visits VALUES (?, ?)", list(zip(values, range(1, 8), strict=True)))
        connection.commit()
        source: dict[str, Any] = SQL
    else:
        source = source_of(pandas.DataFrame({"day": values, "n": range(1, 8)}))
    result = extract(
        in_run(workspace, "r", **JANUARY_3_TO_5), source, incremental={"kind": "interval", "column": "day"}
    )
    assert column(result, "n") == [3, 4]
    assert result.dataset.manifest.interval == tuple(JANUARY_3_TO_5.values())


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Brussels"])
def test_the_rows_of_the_interval_in_typed_times(workspace: Workspace, zone: str | None) -> None:
    moments = pandas.date_range("2026-01-01", periods=7, tz="UTC")
    days = moments.tz_localize(None) if zone is None else moments.tz_convert(zone)
    source = source_of(pandas.DataFrame({"day": days, "n": range(1, 8)}))
    result = extract(
        in_run(workspace, "r", **JANUARY_3_TO_5), source, incremental={"kind": "interval", "column": "day"}
    )
    assert column(result, "n") == [3, 4]


def test_a_query_may_use_the_interval_itself(workspace: Workspace, database: sqlite3.Connection) -> None:
    query = "SELECT id FROM visits WHERE day >= :interval_start AND day < :interval_end"
    result = extract(in_run(workspace, "r", **JANUARY_3_TO_5), {**SQL, "query": query})
    assert column(result, "id") == [2, 3]


def rows_since(interval_start: Any) -> Any:
    return pandas.DataFrame({"n": [1]})


def rows_since_or_all(interval_start: Any = None) -> Any:
    return pandas.DataFrame({"n": [1]})


BY_INTERVAL = {
    "query": ({**SQL, "query": "SELECT id FROM visits WHERE day < :interval_end"}, {}, "source.query"),
    "function": ({"kind": "code", "function": rows_since}, {}, "source.function"),
    "incremental": (SQL, {"incremental": {"kind": "interval", "column": "day"}}, "incremental"),
}
NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize("interval", [{}, {"interval_start": NOON, "interval_end": NOON}], ids=["none", "empty"])
@pytest.mark.parametrize("kind", list(BY_INTERVAL))
def test_a_run_without_a_data_interval_is_refused_if_the_source_uses_it(
    workspace: Workspace, database: sqlite3.Connection, kind: str, interval: dict[str, datetime]
) -> None:
    source, fields, field = BY_INTERVAL[kind]
    # min_rows=0, so that the step would succeed without a row.
    with pytest.raises(InvalidSpecError, match="CronDataIntervalTimetable") as caught:
        extract(in_run(workspace, "r", **interval), source, min_rows=0, **fields)
    assert caught.value.field == field
    assert ("an empty" if interval else "no") + " data interval" in str(caught.value)


def test_a_source_that_sets_or_does_not_require_the_interval_runs_without_one(
    workspace: Workspace, database: sqlite3.Connection
) -> None:
    query = {**SQL, "query": "SELECT id FROM visits WHERE day < :interval_end"}
    assert extract(workspace, {**query, "parameters": {"interval_end": "2026-01-03"}}).rows == 2
    assert extract(workspace, {"kind": "code", "function": rows_since_or_all}).rows == 1


WATERMARK = {"kind": "watermark", "column": "id"}


def test_a_watermark_extracts_new_rows_and_a_retry_extracts_them_again(
    workspace: Workspace, database: sqlite3.Connection
) -> None:
    def add(*ids: int) -> None:
        database.executemany("INSERT INTO visits (id) VALUES (?)", [(number,) for number in ids])
        database.commit()

    first = extract(in_run(workspace, "1"), SQL, incremental=WATERMARK)
    assert (first.rows, first.watermark) == (100, 99)
    add(100, 101)
    second = extract(in_run(workspace, "2"), SQL, incremental=WATERMARK)
    assert (column(second, "id"), second.watermark) == ([100, 101], 101)
    # The task died after the watermark had moved: its retry must not find that there is nothing left.
    retried = extract(in_run(workspace, "2", try_number=2), SQL, incremental=WATERMARK)
    assert retried == second
    add(102)
    third = extract(in_run(workspace, "3"), SQL, incremental=WATERMARK)
    assert column(third, "id") == [102]
    # An older run that is cleared extracts what it did before, and the watermark stays where it is.
    assert column(extract(in_run(workspace, "2"), SQL, incremental=WATERMARK), "id") == [100, 101]
    add(103)
    assert column(extract(in_run(workspace, "4"), SQL, incremental=WATERMARK), "id") == [103]
    nothing = extract(in_run(workspace, "5"), SQL, incremental=WATERMARK, min_rows=0)
    assert (nothing.rows, nothing.watermark) == (0, 103)


def test_a_watermark_moves_only_with_the_dataset(workspace: Workspace, database: sqlite3.Connection) -> None:
    with pytest.raises(RejectedError):
        extract(in_run(workspace, "1"), SQL, incremental=WATERMARK, min_rows=1000)
    assert extract(in_run(workspace, "2"), SQL, incremental=WATERMARK).rows == 100


def test_a_watermark_of_times_with_an_initial_value(workspace: Workspace) -> None:
    moments = pandas.date_range("2026-01-01", periods=5, tz="UTC")
    source = source_of(pandas.DataFrame({"at": moments}))
    increment = {"kind": "watermark", "column": "at", "initial": "2026-01-02T00:00:00+00:00"}
    first = extract(in_run(workspace, "1"), source, incremental=increment)
    assert (first.rows, first.watermark) == (3, "2026-01-05T00:00:00+00:00")
    assert extract(in_run(workspace, "2"), source, incremental=increment, min_rows=0).rows == 0


def test_mapped_tasks_have_watermarks_of_their_own(workspace: Workspace, database: sqlite3.Connection) -> None:
    for index in (0, 1):
        assert extract(in_run(workspace, "1", map_index=index), SQL, incremental=WATERMARK).rows == 100
