"""A write-ahead log, what a gateway writes to it, and what is read of it, for the tests of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from airflow_provider_mlops.serving.log import layout, prediction_id, prediction_log, write_ahead
from airflow_provider_mlops.serving.log import record as log_record
from airflow_provider_mlops.serving.log.rollout_fields import RolloutContext
from airflow_provider_mlops.serving.log.schema import LogSchema

SCHEMA = LogSchema("churn", 1, (("age", "double"), ("town", "string")), "long", ("0", "1"))


def opened(storage: Path, **options: int) -> write_ahead.WriteAhead:
    return write_ahead.WriteAhead(layout.write_ahead_root(str(storage)), **options)


def log_predictions(
    log: write_ahead.WriteAhead,
    schema: LogSchema,
    request_id: str,
    *,
    probabilities: Any = None,
    rollout_context: RolloutContext | None = None,
    **record: Any,
) -> None:
    """Log a request as the gateway does; the record's fields are those of `log_record.encode`."""
    line = log_record.encode(schema, request_id, probabilities=probabilities, rollout_context=rollout_context, **record)
    log.append([line], schema, evidence=rollout_context is not None)


def predict(log: write_ahead.WriteAhead, schema: LogSchema = SCHEMA, rows: int = 1, **fields: Any) -> list[str]:
    """Log a request as the gateway does; returns the ids of its predictions."""
    name = prediction_id.new()
    values = {"double": 1.5, "long": 2, "string": "Rome", "boolean": True}
    record: dict[str, Any] = {
        "arm": "champion",
        "propensity": 1.0,
        "features": [[values.get(kind)] * rows for _, kind in schema.features],
        "output": [values[schema.output]] * rows,
        "probabilities": [[0.5] * rows for _ in schema.classes] or None,
        "latency_ms": 1.0,
    }
    log_predictions(log, schema, name, **{**record, **fields})
    return prediction_id.of_rows(name, rows)


def ids(storage: Path, model: str = "churn", **options: Any) -> list[str]:
    return sorted(prediction_log.read(str(storage), model, **options).prediction_id.execute())


def plain_parquet(storage: Path) -> list[tuple[Any, ...]]:
    """What any engine sees that knows Hive's layout and nothing of this package."""
    query = f"select model, date, prediction_id from read_parquet('{storage}/predictions/*/*/*.parquet', "
    return duckdb.sql(query + "hive_partitioning=true, union_by_name=true)").fetchall()
