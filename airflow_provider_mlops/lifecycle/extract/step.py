"""Step 1, extract: rows from a source become an immutable dataset under the storage URI."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.extract.increment import (
    IntervalIncrement,
    WatermarkState,
    Window,
    as_times,
    pack,
    require_columns,
    window_of_interval,
)
from airflow_provider_mlops.lifecycle.extract.sources import (
    FilesSource,
    IbisSource,
    ReadAgain,
    SklearnSource,
    SqlSource,
)
from airflow_provider_mlops.lifecycle.extract.spec import ExtractResult, ExtractSpec, Freshness
from airflow_provider_mlops.lifecycle.step import Step

if TYPE_CHECKING:
    import pyarrow

    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_PROGRESS = 10.0


def extract(spec: ExtractSpec, workspace: Workspace) -> ExtractResult:
    """Stream the source's rows into a dataset.

    Raises InvalidSpecError for a source, a query or a column that is wrong, RejectedError for data that is too few,
    too many or too old, and BackendUnavailableError for a database that does not answer.
    """
    state = None
    window: Window | None = None
    offered: dict[str, Any] = {
        "interval_start": workspace.task.interval_start,
        "interval_end": workspace.task.interval_end,
        "watermark": None,
    }
    if isinstance(spec.incremental, IntervalIncrement):
        window = window_of_interval(spec.incremental, workspace.task)
    elif spec.incremental is not None:
        state = WatermarkState(spec.incremental, workspace)
        window, offered["watermark"] = state.window(), state.begin
        log.info(
            "Extracting rows with %r greater than %s", window.column, "nothing" if window.low is None else window.low
        )
    read = _reader(spec, workspace, window, offered)
    while True:
        try:
            dataset, watermark = _write(spec, workspace, window, state, read)
            break
        except ReadAgain as reason:
            log.info("Reading from the start once more: %s", reason)
    if state is not None:
        state.move(watermark)
    return ExtractResult(
        dataset=dataset, rows=dataset.rows, fingerprint=dataset.fingerprint, watermark=pack(watermark)["value"]
    )


def _reader(
    spec: ExtractSpec, workspace: Workspace, window: Window | None, offered: dict[str, Any]
) -> Callable[[], Iterator[pyarrow.Table]]:
    """What reads the source from its start, whenever it is called."""
    source = spec.source
    if isinstance(source, SqlSource):
        from airflow_provider_mlops.lifecycle.extract.sql import read_sql

        return lambda: read_sql(source, workspace, window, spec.batch_rows, offered)
    if isinstance(source, FilesSource):
        from airflow_provider_mlops.lifecycle.extract.files import FilesReader

        files = FilesReader(source)
        return lambda: files.read(spec.batch_rows)
    from airflow_provider_mlops.lifecycle.extract import objects

    if isinstance(source, IbisSource):
        return lambda: objects.read_ibis(source, workspace, spec.batch_rows)
    if isinstance(source, SklearnSource):
        return lambda: objects.read_sklearn(source)
    return lambda: objects.read_code(source, offered)


def _write(
    spec: ExtractSpec,
    workspace: Workspace,
    window: Window | None,
    state: WatermarkState | None,
    read: Callable[[], Iterator[pyarrow.Table]],
) -> tuple[Dataset, Any]:
    """Write the wanted rows and check them; what is rejected never becomes visible. Returns the watermark as well."""
    from airflow_provider_mlops.data.schema import plain

    uri = workspace.uri("datasets", spec.dataset_name)
    wanted = {} if window is None else {"incremental.column": window.column}
    if spec.freshness is not None:
        wanted["freshness.column"] = spec.freshness.column
    newest: datetime | None = None
    watermark = None if state is None else state.begin
    started = reported = time.monotonic()
    with DatasetWriter(uri, spec.dataset_name, widen=True) as writer:
        for table in read():
            rows = plain(table)
            require_columns(wanted, rows.column_names)
            # A database has filtered its rows already.
            if window is not None and not isinstance(spec.source, SqlSource):
                rows = window.keep(rows)
            if state is not None:
                watermark = _greatest(watermark, rows, state.increment.column)
            if spec.freshness is not None and rows.num_rows:
                newest = _greatest(newest, rows, spec.freshness.column, as_time=True)
            writer.write(rows)
            if spec.max_rows is not None and writer.rows > spec.max_rows:
                raise RejectedError(
                    f"The source has more than max_rows={spec.max_rows:,} rows: narrow it, or raise the limit"
                )
            if time.monotonic() - reported > _SECONDS_BETWEEN_PROGRESS:
                reported = time.monotonic()
                log.info(
                    "%s rows so far, %s a second", f"{writer.rows:,}", f"{writer.rows / (reported - started):,.0f}"
                )
        if writer.rows < spec.min_rows:
            raise RejectedError(
                f"The source gave {writer.rows:,} rows, fewer than min_rows={spec.min_rows:,}: "
                "look at the source, or lower the limit"
            )
        if writer.schema is None:
            raise RejectedError(
                "The source gave no rows and does not say what its columns are: a dataset without rows can be made of "
                "Parquet files or of a database, which know their types"
            )
        if spec.freshness is not None:
            _check_freshness(spec.freshness, newest, workspace, window)
        task = workspace.task
        by_interval = isinstance(spec.incremental, IntervalIncrement) and task.interval_start and task.interval_end
        dataset = writer.commit(
            source=spec.source.model_dump(mode="json"),
            interval=(task.interval_start, task.interval_end) if by_interval else None,  # type: ignore[arg-type]
            watermark=pack(watermark)["value"],
            spec_digest=spec.digest,
            created_by=task,
        )
    log.info(
        "Extracted %s rows x %s columns in %.1f s; they lie at %s",
        f"{dataset.rows:,}", len(writer.schema or ()), time.monotonic() - started, dataset.uri,
    )  # fmt: skip
    return dataset, watermark


def _greatest(before: Any, rows: pyarrow.Table, column: str, *, as_time: bool = False) -> Any:
    """The greater of `before` and the greatest value of a batch's column."""
    import pyarrow
    import pyarrow.compute

    values = as_times(rows[column], column) if as_time else rows[column]
    try:
        found = pyarrow.compute.max(values).as_py()
    except pyarrow.ArrowNotImplementedError:
        raise InvalidSpecError("incremental.column", column, f"values of type {values.type} have no order") from None
    if found is None or before is None:
        return before if found is None else found
    if isinstance(before, str) and isinstance(found, datetime):
        before = datetime.fromisoformat(before)
    if (
        isinstance(found, datetime)
        and isinstance(before, datetime)
        and (found.tzinfo is None) != (before.tzinfo is None)
    ):
        before = before.replace(tzinfo=found.tzinfo)
    try:
        return max(before, found)
    except TypeError as error:
        raise InvalidSpecError(
            "incremental.column", column, f"its values ({found!r}) do not compare with the watermark {before!r}"
        ) from error


def _check_freshness(
    freshness: Freshness, newest: datetime | None, workspace: Workspace, window: Window | None
) -> None:
    now = datetime.now(UTC)
    end = workspace.task.interval_end
    if window is not None and window.times and end is not None:
        now = min(now, end)
    if newest is None:
        raise RejectedError(
            f"No row has a value in {freshness.column!r}, so the data's age cannot be told: look at the source"
        )
    age = now - newest.replace(tzinfo=UTC)
    if age > freshness.max_age:
        raise RejectedError(
            f"The newest row is of {newest.isoformat(sep=' ')} UTC, {_span(age)} old, which is more than "
            f"max_age={_span(freshness.max_age)}: look at why the source has no newer rows"
        )


def _span(span: timedelta) -> str:
    return str(span - timedelta(microseconds=span.microseconds))


STEP = Step("extract", ExtractSpec, ExtractResult, extract, extras=("data",))
