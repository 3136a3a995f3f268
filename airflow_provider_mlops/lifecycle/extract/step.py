"""Step 1, extract: read rows from a source and store them as an immutable dataset under the storage URI."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.lifecycle.extract.increment import IntervalIncrement, Selection, select
from airflow_provider_mlops.lifecycle.extract.row_checks import RowChecks
from airflow_provider_mlops.lifecycle.extract.sources import (
    FilesSource,
    IbisSource,
    ReadAgainError,
    SklearnSource,
    SqlSource,
)
from airflow_provider_mlops.lifecycle.extract.spec import ExtractResult, ExtractSpec
from airflow_provider_mlops.lifecycle.extract.watermark import pack
from airflow_provider_mlops.lifecycle.extract.window import greatest, require_columns
from airflow_provider_mlops.lifecycle.progress import Progress
from airflow_provider_mlops.lifecycle.step import Step

if TYPE_CHECKING:
    import pyarrow

    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)


def extract(spec: ExtractSpec, workspace: Workspace) -> ExtractResult:
    """Stream the source's rows into a dataset.

    Raises
    ------
    InvalidSpecError
        If the source, the query or a column is wrong, or if the source uses the data interval and the run has none.
    RejectedError
        If there are too few or too many rows, or the newest is too old.
    BackendUnavailableError
        If the database is unavailable.
    """
    selection = select(spec.incremental, workspace)
    read = _reader(spec, workspace, selection)
    while True:
        try:
            dataset, watermark = _write(spec, workspace, selection, read)
            break
        except ReadAgainError as reason:
            log.info("Reading the source again from the start: %s", reason)
    if selection.watermark is not None:
        selection.watermark.move(watermark)
    return ExtractResult(
        dataset=dataset, rows=dataset.rows, fingerprint=dataset.fingerprint, watermark=pack(watermark)["value"]
    )


def _reader(spec: ExtractSpec, workspace: Workspace, selection: Selection) -> Callable[[], Iterator[pyarrow.Table]]:
    """Return a function that reads the source from its start."""
    source = spec.source
    if isinstance(source, SqlSource):
        from airflow_provider_mlops.lifecycle.extract.sql import read_sql

        return lambda: read_sql(source, workspace, selection.window, spec.batch_rows, selection.values)
    if isinstance(source, FilesSource):
        from airflow_provider_mlops.lifecycle.extract.files import FilesReader

        files = FilesReader(source)
        return lambda: files.read(spec.batch_rows)
    from airflow_provider_mlops.lifecycle.extract import objects

    if isinstance(source, IbisSource):
        return lambda: objects.read_ibis(source, workspace, spec.batch_rows)
    if isinstance(source, SklearnSource):
        return lambda: objects.read_sklearn(source)
    return lambda: objects.read_code(source, workspace.task, selection.values)


def _write(
    spec: ExtractSpec, workspace: Workspace, selection: Selection, read: Callable[[], Iterator[pyarrow.Table]]
) -> tuple[Dataset, Any]:
    """Write and check the selected rows; rejected ones never become visible.

    Returns
    -------
    Dataset, Any
        The dataset and the watermark.
    """
    state = selection.watermark
    watermark = None if state is None else state.begin
    by_interval = isinstance(spec.incremental, IntervalIncrement)
    checks = RowChecks(spec, as_of=workspace.task.interval_end if by_interval else None)
    progress = Progress(log)
    with DatasetWriter(workspace.uri("datasets", spec.dataset_name), spec.dataset_name, widen=True) as writer:
        for batch in _selected(spec, selection, checks, read):
            if state is not None:
                watermark = greatest(watermark, batch, state.column)
            writer.write(batch)
            checks.add(batch)
            progress.report("Extracted %s rows so far, in %.0f s", f"{checks.rows:,}", progress.seconds)
        checks.finish(has_schema=writer.schema is not None)
        dataset = _commit(writer, spec, workspace, watermark)
    log.info(
        "Extracted %s with %s in %.1f s to %s",
        pluralize(dataset.rows, "row"),
        pluralize(len(writer.schema or ()), "column"),
        progress.seconds,
        dataset.uri,
    )
    return dataset, watermark


def _selected(
    spec: ExtractSpec, selection: Selection, checks: RowChecks, read: Callable[[], Iterator[pyarrow.Table]]
) -> Iterator[pyarrow.Table]:
    """Yield the selected rows of each batch of the source."""
    from airflow_provider_mlops.data.schema import plain

    required = selection.columns | checks.columns
    # A database has filtered its rows already.
    window = None if isinstance(spec.source, SqlSource) else selection.window
    for table in read():
        rows = plain(table)
        require_columns(required, rows.column_names)
        yield rows if window is None else window.filter(rows)


def _commit(writer: DatasetWriter, spec: ExtractSpec, workspace: Workspace, watermark: Any) -> Dataset:
    start, end = workspace.task.interval_start, workspace.task.interval_end
    by_interval = isinstance(spec.incremental, IntervalIncrement) and start is not None and end is not None
    return writer.commit(
        source=spec.source.model_dump(mode="json"),
        interval=(start, end) if by_interval else None,  # type: ignore[arg-type]
        watermark=pack(watermark)["value"],
        spec_digest=spec.digest,
        created_by=workspace.task,
    )


STEP = Step("extract", ExtractSpec, ExtractResult, extract, extras=("data",))
