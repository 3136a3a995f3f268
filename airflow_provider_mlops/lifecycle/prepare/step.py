"""Step 3, prepare: rows are filtered, features built, and everything split into training, validation and test."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.manifest import Manifest
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.prepare import reuse as prepare_reuse
from airflow_provider_mlops.lifecycle.prepare.preprocessing import column_kinds
from airflow_provider_mlops.lifecycle.prepare.rows import build_features, check_features_code, keep, nearest
from airflow_provider_mlops.lifecycle.prepare.spec import PrepareResult, PrepareSpec
from airflow_provider_mlops.lifecycle.prepare.split import ORDER, PART, PARTS, POSITION, TAKEN, assign
from airflow_provider_mlops.lifecycle.step import Step

if TYPE_CHECKING:
    import ibis
    import pyarrow

    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)

_BATCH_ROWS = 100_000
_SECONDS_BETWEEN_PROGRESS = 10.0


def prepare(spec: PrepareSpec, workspace: Workspace) -> PrepareResult:
    """Filter, build features, split, and write the three datasets.

    Raises InvalidSpecError for wrong columns, predicates and types, and RejectedError if a part would have no row.
    """
    started = time.monotonic()
    manifest = spec.dataset.manifest
    if spec.features is not None:
        check_features_code(spec.features)
    spec.preprocessing.check()
    codes = [code for code in (spec.features, spec.preprocessing.code) if code is not None]
    within = _within(manifest)
    asked = spec.model_dump(mode="json", exclude={"dataset", "reuse"}) | {"name": spec.dataset.name, "within": within}
    entry = prepare_reuse.entry_uri(workspace, spec.dataset, asked, codes)
    earlier = prepare_reuse.find(entry) if spec.reuse else None
    if earlier is not None:
        log.info(
            "Skipped: the rows (fingerprint %s) and the spec are the same as in %s, whose datasets are handed on: %s",
            manifest.fingerprint,
            earlier.made_by,
            earlier.train.uri,
        )
        return PrepareResult(
            train=earlier.train,
            validation=earlier.validation,
            test=earlier.test,
            preprocessing=spec.preprocessing,
            skipped=True,
        )
    log.info("Preparing %s: %d rows, %d columns", spec.dataset.name, manifest.rows, len(manifest.columns))
    table = _rows(spec)
    _check_features(spec, table)
    key = _key(spec, table)
    assigned = assign(table, spec.split, spec.target, "/".join([str(spec.seed), *within]), key)
    parts = _write(spec, workspace, assigned, [name for name in table.columns if name not in spec.drop], within)
    prepared = prepare_reuse.Prepared(**parts, made_by=workspace.task.key)
    prepare_reuse.remember(entry, prepared)
    log.info(
        "Prepared %s in %.1f s: %s",
        spec.dataset.name,
        time.monotonic() - started,
        ", ".join(f"{name} {part.rows} rows at {part.uri}" for name, part in parts.items()),
    )
    return PrepareResult(**parts, preprocessing=spec.preprocessing, skipped=False)


def _within(manifest: Manifest) -> list[str]:
    """Of which part of which part of a split the rows are; nothing for rows that were not split before.

    It goes into the hash that decides where a row goes. The rows of a `train` part are those whose hashes are small;
    split by the same hashes again, they would all go to `train` once more.
    """
    within = manifest.source.get("within")
    return [str(part) for part in within] if isinstance(within, list) else []


def _rows(spec: PrepareSpec) -> ibis.Table:
    """The filtered rows with features; decimals, which no estimator takes, as floating point."""
    table = keep(spec.dataset.table(), spec.filters)
    if spec.filters:
        kept = int(_compute(spec, table.count()))
        log.info("The filters %s keep %d of %d rows", " and ".join(spec.filters), kept, spec.dataset.rows)
        if not kept:
            raise RejectedError(
                f"the filters {', '.join(map(repr, spec.filters))} keep none of the {spec.dataset.rows} rows of "
                f"{spec.dataset.uri}: loosen them"
            )
    if spec.features is not None:
        table = build_features(table, spec.features, spec.target)
        log.info("%s made %d columns", spec.features, len(table.columns))
    decimals = {name: table[name].cast("float64") for name, of in table.schema().items() if of.is_decimal()}
    return table.mutate(**decimals) if decimals else table


def _compute(spec: PrepareSpec, value: ibis.Scalar) -> Any:
    """The value, with an error of the engine about a filter turned into one about the spec."""
    try:
        return value.execute()
    except Exception as error:
        if spec.filters and type(error).__module__.startswith(("duckdb", "_duckdb")):
            reason = str(error).splitlines()[0]
            raise InvalidSpecError(
                "filters", spec.filters, f"the engine cannot compute them ({reason}): compare values of the same type"
            ) from error
        raise


def _check_features(spec: PrepareSpec, table: ibis.Table) -> None:
    if spec.target not in table.columns:
        raise InvalidSpecError("target", spec.target, f"there is no such column: {nearest(spec.target, table)}")
    for name in spec.drop:
        if name not in table.columns:
            raise InvalidSpecError("drop", name, f"there is no such column: {nearest(name, table)}")
        if name == spec.target:
            raise InvalidSpecError("drop", name, "it is the target: name another target, or keep the column")
    for name in spec.split.key:
        if name not in table.columns:
            raise InvalidSpecError("split.key", name, f"there is no such column: {nearest(name, table)}")
    taken = TAKEN & set(table.columns)
    if taken:
        raise InvalidSpecError("dataset", sorted(taken), "these column names are used by the split: rename them")
    if spec.preprocessing.code is None:
        sample = table.drop(spec.target, *spec.drop).head(1000).to_pandas()
        column_kinds(sample, spec.preprocessing.as_categorical)


def _key(spec: PrepareSpec, table: ibis.Table) -> list[str]:
    """The columns whose values decide where a row goes, in an order that does not depend on the query."""
    given = {column.name for column in spec.dataset.manifest.columns}
    key = spec.split.key or tuple(name for name in table.columns if name in given) or table.columns
    return sorted(key)


def _write(
    spec: PrepareSpec, workspace: Workspace, assigned: ibis.Table, columns: list[str], within: list[str]
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
        said = time.monotonic()
        for batch in engine.batches(ordered, _BATCH_ROWS):
            _distribute(batch, schema, writers)
            if time.monotonic() - said > _SECONDS_BETWEEN_PROGRESS:
                said = time.monotonic()
                log.info("%d rows written so far", sum(writer.rows for writer in writers))
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


_MORE_EVEN = {
    "random": "extract more rows, change the shares, or use the method stratified, which meets them exactly",
    "stratified": "extract more rows, or set its share to 0",
    "group": "extract rows of more values of {column!r}, change the shares, or set this one to 0",
    "time": "extract rows of more times of {column!r}, change the shares, or set this one to 0",
}
_WHY_UNEVEN = {
    "random": "the method random meets shares on average, and stratified exactly",
    "stratified": "equal rows stay together",
    "group": "rows with the same {column!r} stay together",
    "time": "rows with the same {column!r} stay together",
}


def _check_sizes(spec: PrepareSpec, sizes: list[int]) -> None:
    rows = sum(sizes)
    for part, share, size in zip(PARTS, spec.split.shares, sizes, strict=True):
        if share and not size:
            raise RejectedError(
                f"the split {spec.split.method!r} of {rows} rows leaves none for {part}, whose share is {share:.0%}: "
                f"{_MORE_EVEN[spec.split.method].format(column=spec.split.column)}"
            )
        if rows and abs(size / rows - share) > 0.05:
            log.warning(
                "%s has %.1f%% of the rows instead of %.1f%%: %s",
                part,
                100 * size / rows,
                100 * share,
                _WHY_UNEVEN[spec.split.method].format(column=spec.split.column),
            )


STEP = Step("prepare", PrepareSpec, PrepareResult, prepare, extras=("data",))
