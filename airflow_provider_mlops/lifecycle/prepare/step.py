"""Step 3, prepare: filter rows, build features, and split the rows into training, validation and test."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.manifest import Manifest
from airflow_provider_mlops.data.names import must_be_a_column, pluralize
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.prepare import reuse
from airflow_provider_mlops.lifecycle.prepare.preprocessing import column_kinds
from airflow_provider_mlops.lifecycle.prepare.rows import apply_filters, build_features, check_features_code
from airflow_provider_mlops.lifecycle.prepare.spec import PrepareResult, PrepareSpec
from airflow_provider_mlops.lifecycle.prepare.split import ORDER, PART, PARTS, POSITION, RESERVED_COLUMNS, assign
from airflow_provider_mlops.lifecycle.progress import Progress
from airflow_provider_mlops.lifecycle.step import Step

if TYPE_CHECKING:
    import ibis
    import pyarrow

    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)

_BATCH_ROWS = 100_000


def prepare(spec: PrepareSpec, workspace: Workspace) -> PrepareResult:
    """Filter, build features, split, and write the three datasets.

    Raises
    ------
    InvalidSpecError
        If a column, a filter or a type is wrong.
    RejectedError
        If a part would have no rows.
    """
    progress = Progress(log)
    manifest = spec.dataset.manifest
    if spec.features is not None:
        check_features_code(spec.features)
    spec.preprocessing.check()
    codes = [code for code in (spec.features, spec.preprocessing.code) if code is not None]
    within = _within(manifest)
    fields = spec.model_dump(mode="json", exclude={"dataset", "reuse"}) | {"name": spec.dataset.name, "within": within}
    entry = reuse.entry_uri(workspace, spec.dataset, fields, codes)
    earlier = reuse.find_entry(entry) if spec.reuse else None
    if earlier is not None:
        log.info(
            "Reused the datasets of %s at %s: the rows (fingerprint %s) and the fields are unchanged",
            earlier.made_by,
            earlier.train.uri,
            manifest.fingerprint,
        )
        return PrepareResult(
            train=earlier.train,
            validation=earlier.validation,
            test=earlier.test,
            preprocessing=spec.preprocessing,
            skipped=True,
        )
    log.info(
        "Preparing %s: %s, %s",
        spec.dataset.name,
        pluralize(manifest.rows, "row"),
        pluralize(len(manifest.columns), "column"),
    )
    table = _read_rows(spec)
    _check_columns(spec, table)
    key = _key(spec, table)
    assigned = assign(table, spec.split, spec.target, "/".join([str(spec.seed), *within]), key)
    parts = _write(
        spec, workspace, assigned, [name for name in table.columns if name not in spec.drop], within, progress
    )
    reuse.write_entry(entry, reuse.ReuseEntry(**parts, made_by=workspace.task.key))
    log.info(
        "Prepared %s in %.1f s: %s",
        spec.dataset.name,
        progress.seconds,
        ", ".join(f"{pluralize(part.rows, f'{name} row')} in {part.uri}" for name, part in parts.items()),
    )
    return PrepareResult(**parts, preprocessing=spec.preprocessing, skipped=False)


def _within(manifest: Manifest) -> list[str]:
    """Return the parts of earlier splits that the rows come from; empty for rows that were not split before.

    They are part of the hash that decides where a row goes. The rows of a `train` part are those with small hashes: if
    they were split by the same hashes again, all of them would go to `train`.
    """
    within = manifest.source.get("within")
    return [str(part) for part in within] if isinstance(within, list) else []


def _read_rows(spec: PrepareSpec) -> ibis.Table:
    """Return the filtered rows with features.

    Decimals become floating point, because estimators do not accept them.
    """
    table = apply_filters(spec.dataset.table(), spec.filters)
    if spec.filters:
        kept = int(_compute(spec, table.count()))
        log.info(
            "Kept %s of %s rows with the filters %s", f"{kept:,}", f"{spec.dataset.rows:,}", " and ".join(spec.filters)
        )
        if not kept:
            raise RejectedError(
                f"Rejected {spec.dataset.uri}: filters: {', '.join(map(repr, spec.filters))} keep none of the "
                f"{spec.dataset.rows:,} rows, but at least 1 must remain. Loosen the filters."
            )
    if spec.features is not None:
        table = build_features(table, spec.features, spec.target)
        log.info("Built features with %s: %s", spec.features, pluralize(len(table.columns), "column"))
    decimals = {name: table[name].cast("float64") for name, kind in table.schema().items() if kind.is_decimal()}
    return table.mutate(**decimals) if decimals else table


def _compute(spec: PrepareSpec, value: ibis.Scalar) -> Any:
    """Compute a value, and turn an error of the engine about a filter into InvalidSpecError."""
    try:
        return value.execute()
    except Exception as error:
        if spec.filters and type(error).__module__.startswith(("duckdb", "_duckdb")):
            reason = str(error).splitlines()[0]
            raise InvalidSpecError(
                "filters", spec.filters, f"the engine cannot compute them ({reason}). Compare values of the same type"
            ) from error
        raise


def _check_columns(spec: PrepareSpec, table: ibis.Table) -> None:
    if spec.target not in table.columns:
        raise InvalidSpecError("target", spec.target, must_be_a_column(spec.target, table.columns))
    for name in spec.drop:
        if name not in table.columns:
            raise InvalidSpecError("drop", name, must_be_a_column(name, table.columns))
        if name == spec.target:
            raise InvalidSpecError(
                "drop", name, "the target must not be dropped. Remove it from drop, or change target"
            )
    for name in spec.split.key:
        if name not in table.columns:
            raise InvalidSpecError("split.key", name, must_be_a_column(name, table.columns))
    reserved = RESERVED_COLUMNS & set(table.columns)
    if reserved:
        names = ", ".join(map(repr, sorted(reserved)))
        raise InvalidSpecError(
            "dataset", spec.dataset.uri, f"its columns {names} have names that are reserved for the split. Rename them"
        )
    if spec.preprocessing.code is None:
        sample = table.drop(spec.target, *spec.drop).head(1000).to_pandas()
        try:
            column_kinds(sample, spec.preprocessing.as_categorical)
        except InvalidSpecError as error:
            if error.field != "dataset":
                raise
            raise InvalidSpecError("dataset", spec.dataset.uri, error.hint) from error


def _key(spec: PrepareSpec, table: ibis.Table) -> list[str]:
    """Return the columns that identify a row, in an order that does not depend on the query."""
    given = {column.name for column in spec.dataset.manifest.columns}
    key = spec.split.key or tuple(name for name in table.columns if name in given) or table.columns
    return sorted(key)


def _write(
    spec: PrepareSpec,
    workspace: Workspace,
    assigned: ibis.Table,
    columns: list[str],
    within: list[str],
    progress: Progress,
) -> dict[str, Dataset]:
    """Write the parts in one pass over the sorted rows."""
    from airflow_provider_mlops.data import engine

    order = [PART, *([POSITION] if spec.split.method == "time" else []), ORDER, *sorted(columns)]
    ordered = assigned.order_by(order).select(*columns, PART)
    with ExitStack() as stack:
        names = [f"{spec.dataset.name}_{part}" for part in PARTS]
        writers = [stack.enter_context(DatasetWriter(workspace.uri("datasets", name), name)) for name in names]
        schema: pyarrow.Schema = ordered.drop(PART).schema().to_pyarrow()
        for writer in writers:
            writer.write(schema.empty_table())
        for batch in engine.batches(ordered, _BATCH_ROWS):
            _distribute(batch, schema, writers)
            progress.report("Wrote %s rows so far", f"{sum(writer.rows for writer in writers):,}")
        _check_sizes(spec, [writer.rows for writer in writers])
        return {
            part: writer.commit(
                source={
                    "step": "prepare",
                    "part": part,
                    "within": [*within, part],
                    "method": spec.split.method,
                    "seed": spec.seed,
                },
                parents=(spec.dataset.fingerprint,),
                spec_digest=spec.digest,
                created_by=workspace.task,
            )
            for part, writer in zip(PARTS, writers, strict=True)
        }


def _distribute(batch: pyarrow.RecordBatch, schema: pyarrow.Schema, writers: list[DatasetWriter]) -> None:
    import pyarrow
    from pyarrow import compute

    table = pyarrow.Table.from_batches([batch])
    part = table[PART]
    rows = table.drop_columns([PART]).cast(schema)
    for index, writer in enumerate(writers):
        chosen = rows.filter(compute.equal(part, index))
        if chosen.num_rows:
            writer.write(chosen)


_IF_EMPTY = {
    "random": "Extract more rows, change the shares, or use the method 'stratified', which meets them exactly",
    "stratified": "Extract more rows, or set the share to 0",
    "group": "Extract rows with more values of {column!r}, change the shares, or set this one to 0",
    "time": "Extract rows with more values of {column!r}, change the shares, or set this one to 0",
}
_WHY_UNEVEN = {
    "random": "the method 'random' meets the shares only on average; 'stratified' meets them exactly",
    "stratified": "equal rows stay together",
    "group": "rows with the same {column!r} stay together",
    "time": "rows with the same {column!r} stay together",
}


def _check_sizes(spec: PrepareSpec, sizes: list[int]) -> None:
    rows = sum(sizes)
    for part, share, size in zip(PARTS, spec.split.shares, sizes, strict=True):
        if share and not size:
            raise RejectedError(
                f"Rejected {spec.dataset.uri}: split: the {part} part is empty: the method {spec.split.method!r} "
                f"assigned it 0 of {rows:,} rows, although its share is {share:.0%}. "
                f"{_IF_EMPTY[spec.split.method].format(column=spec.split.column)}."
            )
        if rows and abs(size / rows - share) > 0.05:
            log.warning(
                "The %s part has %.1f%% of the rows instead of %.1f%%: %s",
                part,
                100 * size / rows,
                100 * share,
                _WHY_UNEVEN[spec.split.method].format(column=spec.split.column),
            )


STEP = Step("prepare", PrepareSpec, PrepareResult, prepare, extras=("data",))
