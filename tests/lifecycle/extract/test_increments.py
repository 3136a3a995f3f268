"""Two kinds of increment: the rows of a run's interval, and those above a watermark."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas
import pytest

from airflow_provider_mlops.errors import RejectedError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.extraction import JANUARY_3_TO_5, SQL, column, extract, in_run, source_of
from tests.helpers.extraction import database as database
from tests.helpers.extraction import workspace as workspace

WRITTEN = {
    "space": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"),
    "iso": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "date": lambda moment: moment.strftime("%Y-%m-%d"),
    "seconds": lambda moment: int(moment.timestamp()),
    "milliseconds": lambda moment: int(moment.timestamp() * 1000),
}


@pytest.mark.parametrize("written", list(WRITTEN))
@pytest.mark.parametrize("kind", ["sql", "code"])
def test_the_rows_of_the_interval_however_times_are_written(
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


def test_a_query_may_place_the_interval_itself(workspace: Workspace, database: sqlite3.Connection) -> None:
    query = "SELECT id FROM visits WHERE day >= :interval_start AND day < :interval_end"
    result = extract(in_run(workspace, "r", **JANUARY_3_TO_5), {**SQL, "query": query})
    assert column(result, "id") == [2, 3]


WATERMARK = {"kind": "watermark", "column": "id"}


def test_a_watermark_takes_what_is_new_and_a_retry_takes_it_again(
    workspace: Workspace, database: sqlite3.Connection
) -> None:
    def add(*ids: int) -> None:
        database.executemany("INSERT INTO visits (id) VALUES (?)", [(one,) for one in ids])
        database.commit()

    first = extract(in_run(workspace, "1"), SQL, incremental=WATERMARK)
    assert (first.rows, first.watermark) == (100, 99)
    add(100, 101)
    second = extract(in_run(workspace, "2"), SQL, incremental=WATERMARK)
    assert (column(second, "id"), second.watermark) == ([100, 101], 101)
    # The task died after the watermark had moved: its retry must not find that there is nothing left.
    again = extract(in_run(workspace, "2", try_number=2), SQL, incremental=WATERMARK)
    assert again == second
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


def test_a_watermark_of_times_and_where_it_begins(workspace: Workspace) -> None:
    moments = pandas.date_range("2026-01-01", periods=5, tz="UTC")
    source = source_of(pandas.DataFrame({"at": moments}))
    increment = {"kind": "watermark", "column": "at", "initial": "2026-01-02T00:00:00+00:00"}
    first = extract(in_run(workspace, "1"), source, incremental=increment)
    assert (first.rows, first.watermark) == (3, "2026-01-05T00:00:00+00:00")
    assert extract(in_run(workspace, "2"), source, incremental=increment, min_rows=0).rows == 0


def test_mapped_tasks_have_watermarks_of_their_own(workspace: Workspace, database: sqlite3.Connection) -> None:
    for index in (0, 1):
        assert extract(in_run(workspace, "1", map_index=index), SQL, incremental=WATERMARK).rows == 100
