"""Validation of a dataset with Great Expectations: all rows, but only the columns that an expectation needs at a time.

Great Expectations does not support DuckDB, and a frame with all columns of a large dataset does not fit into memory. So
expectations are grouped by the columns that they name. Each group is validated on a frame of these columns, and the
results are combined. Memory therefore holds one column at a time, rarely two or three, or all columns of a small
dataset.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import parquet_read
from airflow_provider_mlops.lifecycle.progress import Progress
from airflow_provider_mlops.registry.telemetry import disable_telemetry

if TYPE_CHECKING:
    import pandas
    import pyarrow
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.expectations.expectation import Expectation

    from airflow_provider_mlops.data.dataset import Dataset

log = logging.getLogger(__name__)

MAX_CELLS = 4_000_000
"""Largest number of values, rows times columns, up to which a frame combines the columns of several expectations."""

_BATCH_ROWS = 65_536
_SCHEMA_ONLY = frozenset(
    {
        "expect_column_to_exist",
        "expect_table_column_count_to_be_between",
        "expect_table_column_count_to_equal",
        "expect_table_columns_to_match_ordered_list",
        "expect_table_columns_to_match_set",
    }
)


def great_expectations() -> Any:
    """Import Great Expectations, with its usage statistics off unless the user has turned them on."""
    disable_telemetry()
    import great_expectations

    return great_expectations


def run_suite(dataset: Dataset, suite: Any, max_rows: int | None) -> tuple[ExpectationSuiteValidationResult, int]:
    """Check every expectation of the suite.

    Parameters
    ----------
    dataset
        The dataset to check.
    suite
        The expectations.
    max_rows
        Number of rows above which values are checked on a random sample of about that many rows, the same every time.
        Columns, types and the number of rows are always those of the whole dataset. None checks all rows.

    Returns
    -------
    ExpectationSuiteValidationResult, int
        The results, and the number of rows on which values were checked.
    """
    rows = _Rows(dataset, max_rows)
    groups = _group(suite.expectations, rows)
    batch_definition = _batch_definition(dataset.name)
    results: list[Any] = []
    version = ""
    progress = Progress(log)
    for number, (needs, expectations) in enumerate(groups, start=1):
        batch = batch_definition.get_batch({"dataframe": rows.frame(needs)})
        part = great_expectations().ExpectationSuite(name=suite.name, expectations=expectations, meta=suite.meta)
        outcome = batch.validate(part)
        results.extend(outcome.results)
        version = outcome.meta["great_expectations_version"]
        progress.report("Checked %d of %d groups of columns so far", number, len(groups))
    return _combine(dataset, suite.name, results, version, rows.checked), rows.checked


def _combine(
    dataset: Dataset, suite_name: str, results: list[Any], version: str, rows_checked: int
) -> ExpectationSuiteValidationResult:
    """Return the results of all groups as the result of one validation."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

    passed = sum(1 for result in results if result.success)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": passed,
        "unsuccessful_expectations": len(results) - passed,
        "success_percent": 100 * passed / len(results),
    }
    return ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name=suite_name,
        suite_parameters={},
        statistics=statistics,
        meta={
            "great_expectations_version": version,
            "batch_spec": {"data_asset_name": dataset.name},
            "dataset": dataset.uri,
            "fingerprint": dataset.fingerprint,
            "rows": dataset.rows,
            "rows_checked": rows_checked,
        },
    )


def _group(expectations: list[Expectation], rows: _Rows) -> list[tuple[tuple[str, ...], list[Expectation]]]:
    """Group the expectations by the frame on which they are checked; small frames are combined."""
    by_needs: dict[tuple[str, ...], list[Expectation]] = {}
    for expectation in expectations:
        by_needs.setdefault(_needs(expectation, rows.names), []).append(expectation)
    whole = [(needs, by_needs.pop(needs)) for needs in (_SCHEMA, _ROW_COUNT) if needs in by_needs]
    groups: list[tuple[tuple[str, ...], list[Expectation]]] = []
    for needs, group in by_needs.items():
        together = tuple(dict.fromkeys((*groups[-1][0], *needs))) if groups else needs
        if groups and len(together) * rows.checked <= MAX_CELLS:
            groups[-1] = (together, [*groups[-1][1], *group])
        else:
            groups.append((needs, group))
    return whole + groups


_ROW_COUNT = ("\x00rows",)
_SCHEMA = ("\x00schema",)


def _needs(expectation: Expectation, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that an expectation reads, or the name of one of the two frames without values."""
    if expectation.expectation_type in _SCHEMA_ONLY:
        return _SCHEMA
    texts = list(_texts(expectation.configuration.kwargs))
    # A row condition is text that contains column names. One column too many does no harm.
    columns = tuple(name for name in names if any(name == text or (" " in text and name in text) for text in texts))
    if columns:
        return columns
    return _ROW_COUNT if expectation.expectation_type.startswith("expect_table_row_count") else _SCHEMA


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from _texts(part)
    elif hasattr(value, "dict"):
        yield from _texts(value.dict())


class _Rows:
    """The columns of a dataset as pandas frames."""

    def __init__(self, dataset: Dataset, max_rows: int | None) -> None:
        self._files = dataset.files()
        self._rows = dataset.rows
        share = 1.0 if max_rows is None or dataset.rows <= max_rows else max_rows / dataset.rows
        self._share = share
        self.checked = dataset.rows
        self._schema = self._read_schema()
        self.names = tuple(self._schema.names)
        if share < 1:
            self.checked = sum(int(mask.sum()) for mask in self._masks())
            log.warning(
                "Checking values on a random sample of %s of %s rows. Increase max_rows to check more",
                f"{self.checked:,}",
                f"{self._rows:,}",
            )

    def frame(self, needs: tuple[str, ...]) -> pandas.DataFrame:
        """Return the frame of the columns `needs`."""
        import pandas
        import pyarrow

        if needs == _ROW_COUNT:
            return pandas.DataFrame(index=pandas.RangeIndex(self._rows))
        if needs == _SCHEMA:
            return to_pandas(self._schema.empty_table())
        batches = list(self._batches(list(needs)))
        schema = pyarrow.schema([self._schema.field(name) for name in needs])
        return to_pandas(pyarrow.Table.from_batches(batches, schema))

    def _read_schema(self) -> pyarrow.Schema:
        with parquet_read.opened(self._files[0]) as file:
            schema: pyarrow.Schema = file.schema_arrow.remove_metadata()
            return schema

    def _batches(self, columns: list[str]) -> Iterator[pyarrow.RecordBatch]:
        import pyarrow

        masks = self._masks() if self._share < 1 else None
        for uri in self._files:
            for batch in parquet_read.batches(uri, _BATCH_ROWS, columns):
                yield batch if masks is None else batch.filter(pyarrow.array(next(masks)))

    def _masks(self) -> Iterator[Any]:
        """Yield a mask of each batch that selects the sample, the same for every column and at every call."""
        import numpy

        random = numpy.random.default_rng(0)
        for uri in self._files:
            with parquet_read.opened(uri) as file:
                rows = file.metadata.num_rows
            for start in range(0, rows, _BATCH_ROWS):
                yield random.random(min(_BATCH_ROWS, rows - start)) < self._share


def to_pandas(table: pyarrow.Table) -> pandas.DataFrame:
    """Convert a table to a pandas frame of types that Great Expectations supports.

    Decimals become floating point, dates become timestamps, times with a zone become the same time in UTC without a
    zone, and text has the type `object`, even if pandas has a type for text.
    """
    import pyarrow
    from pyarrow import types

    fields = []
    for field in table.schema:
        if types.is_decimal(field.type):
            field = field.with_type(pyarrow.float64())
        elif types.is_dictionary(field.type):
            field = field.with_type(field.type.value_type)
        elif types.is_timestamp(field.type) and field.type.tz is not None:
            field = field.with_type(pyarrow.timestamp(field.type.unit))
        fields.append(field)
    frame: pandas.DataFrame = table.cast(pyarrow.schema(fields)).to_pandas(date_as_object=False)
    texts = [field.name for field in fields if types.is_string(field.type) or types.is_large_string(field.type)]
    return frame.astype(dict.fromkeys(texts, object))


def _batch_definition(name: str) -> BatchDefinition[Any]:
    context = great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("dataset").add_dataframe_asset(name)
    return asset.add_batch_definition_whole_dataframe("all rows")  # type: ignore[no-any-return]
