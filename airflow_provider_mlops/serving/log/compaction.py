"""Compaction: segments of the write-ahead log become Parquet files under the storage URI.

A segment is removed only after everything in it has been written. If the process is killed in
between, the next compaction writes the same files again under the same names: nothing is lost
and nothing is duplicated.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.log import layout, prediction_id, segments, write_ahead
from airflow_provider_mlops.serving.log.record import FeedbackRecord, FeedbackRow, feedback_rows
from airflow_provider_mlops.serving.log.schema import FEEDBACK, LogSchema, column

log = logging.getLogger(__name__)


def compact(
    storage_uri: str,
    own: write_ahead.WriteAhead,
    may_go: Callable[[segments.Segment], bool] = lambda segment: True,
) -> int:
    """Compact this process's finished segments and the segments of dead processes.

    If the storage is unavailable, its exception is raised and every segment that is not compacted
    stays: the next call tries again.

    Parameters
    ----------
    may_go
        Tells whether a segment is no longer needed. Segments that are still needed stay for the next call.

    Returns
    -------
    int
        Number of segments that were compacted.
    """
    began = time.monotonic()
    done = 0
    for segment in filter(may_go, own.sealed()):
        compact_segment(storage_uri, segment)
        done += 1
    with write_ahead.orphans(own.root) as left:
        for segment in filter(may_go, left):
            compact_segment(storage_uri, segment)
            done += 1
    if done:
        elapsed = time.monotonic() - began
        log.info("Compacted %s of the prediction log in %.2f s to %s", pluralize(done, "segment"), elapsed, storage_uri)
    return done


def compact_segment(storage_uri: str, segment: segments.Segment) -> None:
    """Write one segment's rows as Parquet and remove the segment, which must not change anymore."""
    for uri, table in _files(storage_uri, segment):
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        storage.write_bytes(uri, sink.getvalue())
    os.unlink(segment.path)


def _files(storage_uri: str, segment: segments.Segment) -> Iterator[tuple[str, pa.Table]]:
    content = SegmentContent(segments.records(segment.path))
    for (schema, date), rows in content.predictions.items():
        uri = layout.predictions_file(storage_uri, schema.model, schema.version, date, segment.name)
        yield uri, prediction_table(schema, rows)
    for date, labels in content.feedback.items():
        yield layout.feedback_file(storage_uri, date, segment.name), feedback_table(labels)


class SegmentContent:
    """A segment's records in memory, by schema and day.

    Parameters
    ----------
    model
        Name of the model whose predictions are kept. By default, all are kept.
    """

    def __init__(self, records: Iterable[dict[str, Any]], model: str | None = None) -> None:
        self.predictions: dict[tuple[LogSchema, str], list[dict[str, Any]]] = defaultdict(list)
        self.feedback: dict[str, list[FeedbackRow]] = defaultdict(list)
        schemas: dict[tuple[str, int], LogSchema] = {}
        for record in records:
            if "schema" in record:
                schema = LogSchema.from_json(record["schema"])
                schemas[schema.model, schema.version] = schema
            elif "predictions" in record:
                if model is None or record["model"] == model:
                    schema = schemas[record["model"], record["version"]]
                    self.predictions[schema, _date(record["time"])].append(record)
            elif "feedback" in record:
                for row in feedback_rows(cast("FeedbackRecord", record)):
                    self.feedback[_date(row[2])].append(row)


def prediction_table(schema: LogSchema, records: list[dict[str, Any]]) -> pa.Table:
    """Return the rows of prediction records of one schema, in their order."""
    arrow = schema.arrow()
    rows = [len(record["output"]) for record in records]

    def repeated(key: str) -> list[Any]:
        return [record[key] for record, count in zip(records, rows, strict=True) for _ in range(count)]

    def chained(key: str, position: int) -> list[Any]:
        return [value for record in records for value in record[key][position]]

    ids = [
        name
        for record, count in zip(records, rows, strict=True)
        for name in prediction_id.of_rows(record["predictions"], count)
    ]
    values: list[list[Any]] = [ids, repeated("time"), repeated("version"), repeated("arm"), repeated("propensity")]
    values += [chained("features", position) for position in range(len(schema.features))]
    values.append([value for record in records for value in record["output"]])
    values += [chained("probabilities", position) for position in range(len(schema.classes))]
    values.append(repeated("latency_ms"))
    for key in ("rollout", "context", "shadow_of"):
        values.append(
            [_as_text(record.get(key)) for record, count in zip(records, rows, strict=True) for _ in range(count)]
        )
    columns = [column(cells, field.type) for cells, field in zip(values, arrow, strict=True)]
    return pa.Table.from_arrays(columns, schema=arrow)


def feedback_table(rows: Sequence[FeedbackRow]) -> pa.Table:
    """Return labels and rewards as a table."""
    columns = [column([row[position] for row in rows], field.type) for position, field in enumerate(FEEDBACK)]
    return pa.Table.from_arrays(columns, schema=FEEDBACK)


def _as_text(value: Any) -> str | None:
    return value if value is None or type(value) is str else json.dumps(value)


def _date(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, tz=UTC).date().isoformat()
