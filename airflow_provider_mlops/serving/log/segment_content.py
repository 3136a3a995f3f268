"""The content of a segment as tables, and the records that cannot be rows of one.

A record that cannot be converted is set aside with the reason. It never stops the conversion of the others.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import pyarrow as pa

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.record import FeedbackRecord, FeedbackRow, feedback_rows
from airflow_provider_mlops.serving.log.schema import FEEDBACK, LogSchema, column

_MAX_REASON_LENGTH = 300


class RejectedRecord(NamedTuple):
    """A record that cannot be a row, as parsed or, if it is not a JSON object, as the bytes of its line."""

    record: dict[str, Any] | bytes
    reason: str

    def as_json(self) -> str:
        """Return the line that keeps the record."""
        record = self.record.decode("latin-1") if isinstance(self.record, bytes) else self.record
        return json.dumps({"reason": self.reason, "record": record}, default=str)


class PredictionTable(NamedTuple):
    """The predictions of one version on one day."""

    schema: LogSchema
    date: str
    table: pa.Table


class SegmentContent:
    """A segment's records in memory.

    Parameters
    ----------
    model
        Name of the model whose predictions are kept. By default, all are kept.

    Attributes
    ----------
    predictions
        Tables by schema and day, in the order of their first record.
    feedback
        Labels and rewards, by day.
    rejected
        Records that cannot be rows.
    """

    def __init__(self, records: Iterable[dict[str, Any] | bytes], model: str | None = None) -> None:
        self.feedback: dict[str, list[FeedbackRow]] = defaultdict(list)
        self.rejected: list[RejectedRecord] = []
        self._model = model
        self._schemas: dict[tuple[str, int], LogSchema] = {}
        self._predictions: dict[tuple[LogSchema, str], list[dict[str, Any]]] = defaultdict(list)
        for record in records:
            if isinstance(record, bytes):
                self.rejected.append(RejectedRecord(record, "the line is not a JSON object"))
                continue
            try:
                self._add(record)
            except Exception as error:
                self._reject(record, error)
        self.predictions = list(self._tables())

    def feedback_tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield the labels and rewards of each day."""
        for date, rows in self.feedback.items():
            yield date, feedback_table(rows)

    def _add(self, record: dict[str, Any]) -> None:
        if "schema" in record:
            schema = LogSchema.from_json(record["schema"])
            self._schemas[schema.model, schema.version] = schema
        elif "predictions" in record:
            if self._model is None or record["model"] == self._model:
                schema = self._schemas[record["model"], record["version"]]
                self._predictions[schema, _date(record["time"])].append(record)
        elif "feedback" in record:
            # Converted before any is added, so that a record counts as a whole or not at all.
            rows = feedback_rows(cast("FeedbackRecord", record))
            feedback_table(rows)
            for row in rows:
                self.feedback[_date(row[2])].append(row)
        elif "failure" not in record:
            raise ValueError("it is of no known kind")

    def _tables(self) -> Iterator[PredictionTable]:
        for (schema, date), records in self._predictions.items():
            try:
                yield PredictionTable(schema, date, _prediction_table(schema, records))
                continue
            except Exception:
                parts = [part for record in records if (part := self._row(schema, record)) is not None]
            if parts:
                yield PredictionTable(schema, date, pa.concat_tables(parts))

    def _row(self, schema: LogSchema, record: dict[str, Any]) -> pa.Table | None:
        try:
            return _prediction_table(schema, [record])
        except Exception as error:
            self._reject(record, error)
            return None

    def _reject(self, record: dict[str, Any], error: Exception) -> None:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        self.rejected.append(RejectedRecord(record, reason[:_MAX_REASON_LENGTH]))


def feedback_table(rows: Sequence[FeedbackRow]) -> pa.Table:
    """Return labels and rewards as a table."""
    columns = [column([row[position] for row in rows], field.type) for position, field in enumerate(FEEDBACK)]
    return pa.Table.from_arrays(columns, schema=FEEDBACK)


def _prediction_table(schema: LogSchema, records: list[dict[str, Any]]) -> pa.Table:
    """Return the rows of prediction records of one schema, in their order. Raises any exception if one is invalid."""
    arrow = schema.arrow()
    rows = [_count(record, schema) for record in records]

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


def _count(record: dict[str, Any], schema: LogSchema) -> int:
    """Return the number of rows of a record, which all its columns must have: else rows of others would shift."""
    count = len(record["output"])
    features, probabilities = record["features"], record["probabilities"] or ()
    if len(features) != len(schema.features) or len(probabilities) != len(schema.classes):
        raise ValueError(
            f"it has {len(features)} features and {len(probabilities)} probabilities, but the version has "
            f"{len(schema.features)} and {len(schema.classes)}"
        )
    if any(len(cells) != count for cells in features) or any(len(cells) != count for cells in probabilities):
        raise ValueError("its columns have different lengths")
    return count


def _as_text(value: Any) -> str | None:
    return value if value is None or type(value) is str else json.dumps(value)


def _date(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, tz=UTC).date().isoformat()
