"""Labels as the type of what was predicted."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_mlops.serving.log import layout, prediction_id, prediction_log
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from tests.helpers.prediction_log import log_predictions


def test_a_label_with_a_fraction_is_none_of_a_whole_number(tmp_path: Path) -> None:
    log = WriteAhead(layout.write_ahead_root(str(tmp_path)))
    labels = {"1": 1, "1.0": 1, "0.5": None, "1.5": None, "yes": None, str(2**62 + 1): 2**62 + 1}
    for label in labels:
        name = prediction_id.new()
        log_predictions(
            log,
            LogSchema("churn", 1, (), "long"),
            name,
            arm="champion",
            propensity=1.0,
            features=[],
            output=[1],
            latency_ms=1.0,
        )
        log.feedback([(name, label)])
    rows = prediction_log.read(str(tmp_path), "churn").order_by("label_time").to_pyarrow().to_pylist()
    assert [row["label"] for row in rows] == list(labels.values())
    log.close()
