"""Turns segments of the write-ahead log into Parquet under the storage URI.

A segment is removed only after all that is in it has been written. Whatever is killed in between,
the next one writes the same files again under the same names: nothing is lost and nothing doubled.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.serving.log import layout, prediction_id, write_ahead
from airflow_provider_mlops.serving.log.schema import FEEDBACK, LogSchema, column

log = logging.getLogger(__name__)


def compact(
    storage_uri: str,
    own: write_ahead.WriteAhead,
    may_go: Callable[[write_ahead.Segment], bool] = lambda segment: True,
) -> int:
    """Compact all that can be: this process's finished segments and what dead processes left.

    :param may_go: whether a segment is no longer needed as such; those that are stay for the next call.

    Returns the number of segments. Whatever the storage raises when it is away goes up to the
    caller; everything stays where it is and the next call tries again.
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
        log.info("Compacted %d segments of the prediction log in %.2f s", done, time.monotonic() - began)
    return done


def compact_segment(storage_uri: str, segment: write_ahead.Segment) -> None:
    """Write one segment's rows as Parquet and remove it. The segment must not change any more."""
    for uri, table in _files(storage_uri, segment):
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        storage.write_bytes(uri, sink.getvalue())
    os.unlink(segment.path)


def _files(storage_uri: str, segment: write_ahead.Segment) -> Iterator[tuple[str, pa.Table]]:
    content = SegmentContent(write_ahead.records(segment.path))
    for (schema, date), rows in content.predictions.items():
        uri = layout.predictions_file(storage_uri, schema.model, schema.version, date, segment.name)
        yield uri, prediction_table(schema, rows)
    for date, labels in content.feedback.items():
        yield layout.feedback_file(storage_uri, date, segment.name), feedback_table(labels)


class SegmentContent:
    """A segment's records in memory, by schema and day; only those of one model if one is named."""

    def __init__(self, records: Iterable[dict[str, Any]], model: str | None = None) -> None:
        self.predictions: dict[tuple[LogSchema, str], list[dict[str, Any]]] = defaultdict(list)
        self.feedback: dict[str, list[list[Any]]] = defaultdict(list)
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
                for name, label, micros, *reward in record["feedback"]:
                    self.feedback[_date(micros)].append([name, label, micros, reward[0] if reward else None])


def prediction_table(schema: LogSchema, records: list[dict[str, Any]]) -> pa.Table:
    """The rows of prediction records of one schema, in their order."""
    arrow = schema.arrow()
    rows = [len(record["output"]) for record in records]

    def repeated(key: str) -> list[Any]:
        return [record[key] for record, count in zip(records, rows, strict=True) for _ in range(count)]

    def chained(key: str, place: int) -> list[Any]:
        return [value for record in records for value in record[key][place]]

    ids = [
        name
        for record, count in zip(records, rows, strict=True)
        for name in prediction_id.of_rows(record["predictions"], count)
    ]
    values: list[list[Any]] = [ids, repeated("time"), repeated("version"), repeated("arm"), repeated("propensity")]
    values += [chained("features", place) for place in range(len(schema.features))]
    values.append([value for record in records for value in record["output"]])
    values += [chained("probabilities", place) for place in range(len(schema.classes))]
    values.append(repeated("latency_ms"))
    for mark in ("rollout", "context", "shadow_of"):
        values.append(
            [_text(record.get(mark)) for record, count in zip(records, rows, strict=True) for _ in range(count)]
        )
    columns = [column(part, field.type) for part, field in zip(values, arrow, strict=True)]
    return pa.Table.from_arrays(columns, schema=arrow)


def feedback_table(labels: list[list[Any]]) -> pa.Table:
    """Rows of [prediction id, label, microseconds, reward]."""
    columns = [column([row[place] for row in labels], field.type) for place, field in enumerate(FEEDBACK)]
    return pa.Table.from_arrays(columns, schema=FEEDBACK)


def _text(mark: Any) -> str | None:
    return mark if mark is None or type(mark) is str else json.dumps(mark)


def _date(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, tz=UTC).date().isoformat()
