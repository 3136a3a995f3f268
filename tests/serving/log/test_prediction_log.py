"""The table that is read of the write-ahead log and of what is compacted: nothing lost, nothing twice."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_mlops.data import engine
from airflow_provider_mlops.serving.log import compaction, layout, prediction_id, prediction_log
from airflow_provider_mlops.serving.log.schema import LogSchema
from tests.helpers.prediction_log import ids, opened, plain_parquet, predict


def test_an_empty_log_has_the_documented_columns(tmp_path: Path) -> None:
    table = prediction_log.read(str(tmp_path), "churn")
    assert table.count().execute() == 0
    assert table.columns == (
        *(
            "prediction_id",
            "time",
            "model",
            "version",
            "arm",
            "propensity",
            "output",
            "latency_ms",
            "rollout",
            "context",
            "shadow_of",
            "label",
            "label_time",
            "reward",
        ),
    )


@pytest.mark.parametrize("compacted", [False, True])
def test_every_type_comes_back_as_it_was(tmp_path: Path, compacted: bool) -> None:
    kinds = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
    schema = LogSchema("all kinds/of: it", 3, tuple((kind, kind) for kind in kinds), "string", ("a b", "é"))
    log = opened(tmp_path)
    features = [
        *([True, None], [2**31 - 1, None], [2**62, None], [0.5, float("nan")], [0.1, float("nan")]),
        *(["Zürich", None], ["\xff\x00", None], [1_700_000_000_123_456, None]),
    ]
    predict(log, schema, rows=2, features=features, output=["a b", "é"], probabilities=[[1.0, 0.25], [0.0, 0.75]])
    if compacted:
        log.rotate()
        assert compaction.compact(str(tmp_path), log) == 1
    table = prediction_log.read(str(tmp_path), "all kinds/of: it").order_by("prediction_id")
    rows = table.to_pyarrow().to_pylist()
    first = {kind: rows[0][f"feature_{kind}"] for kind in kinds}
    moment = datetime.fromtimestamp(1_700_000_000, tz=UTC).replace(microsecond=123_456)
    assert first == {
        "boolean": True,
        "integer": 2**31 - 1,
        "long": 2**62,
        "float": 0.5,
        "double": 0.1,
        "string": "Zürich",
        "binary": b"\xff\x00",
        "datetime": moment,
    }
    assert all(rows[1][f"feature_{kind}"] is None for kind in kinds)
    assert [row["output"] for row in rows] == ["a b", "é"]
    assert [row["probability_é"] for row in rows] == [0.0, 0.75]
    assert abs(rows[0]["time"] - datetime.now(UTC)) < timedelta(minutes=5)


def test_versions_with_other_columns_and_types_make_one_table(tmp_path: Path) -> None:
    log = opened(tmp_path)
    predict(log)
    log.rotate()
    compaction.compact(str(tmp_path), log)
    second = LogSchema("churn", 2, (("age", "long"), ("income", "double"), ("town", "boolean")), "double")
    predict(log, second)
    rows = prediction_log.read(str(tmp_path), "churn").order_by("version").to_pyarrow().to_pylist()
    assert [row["feature_age"] for row in rows] == [1.5, 2.0]
    assert [row["feature_income"] for row in rows] == [None, 1.5]
    assert [row["feature_town"] for row in rows] == ["Rome", "true"]
    assert [row["output"] for row in rows] == [2.0, 1.5]
    assert [row["probability_1"] for row in rows] == [0.5, None]
    assert len(ids(tmp_path, version=2)) == 1


def test_since_is_included_and_until_is_not(tmp_path: Path) -> None:
    log = opened(tmp_path)
    names = [predict(log)[0] for _ in range(3)]
    log.rotate()
    compaction.compact(str(tmp_path), log)
    names += predict(log)
    times = dict(prediction_log.read(str(tmp_path), "churn")[["prediction_id", "time"]].execute().to_numpy())
    second, last = (times[name].to_pydatetime() for name in (names[1], names[3]))
    assert ids(tmp_path, since=second, until=last) == sorted(names[1:3])
    assert ids(tmp_path, since=second.astimezone(UTC).replace(tzinfo=None)) == sorted(names[1:])
    assert ids(tmp_path, since=last + timedelta(days=1)) == []
    assert ids(tmp_path, "somebody else") == []


@pytest.mark.parametrize("compacted", ["nothing", "predictions", "labels too"])
@pytest.mark.parametrize(
    ("output", "labels", "expected"),
    [
        ("long", ["1", "0", "1.0"], 1),
        ("double", ["0.25"], 0.25),
        ("string", ["yes", "1"], "1"),
        ("boolean", ["false", "true"], True),
        ("long", ["1", "not a number"], None),
    ],
)
def test_the_last_label_counts(
    tmp_path: Path, compacted: str, output: str, labels: list[str], expected: object
) -> None:
    log = opened(tmp_path)
    schema = LogSchema("churn", 1, (), output)
    labelled, bare = predict(log, schema, rows=2)
    if compacted != "nothing":
        log.rotate()
        compaction.compact(str(tmp_path), log)
    log.feedback([(labelled, label) for label in labels[:-1]] + [(prediction_id.new(), "nobody's")])
    log.feedback([(labelled, labels[-1])])
    log.feedback([(labelled, labels[-1])])
    if compacted == "labels too":
        log.rotate()
        compaction.compact(str(tmp_path), log)
    table = prediction_log.read(str(tmp_path), "churn").to_pyarrow().to_pylist()
    rows = {row["prediction_id"]: row for row in table}
    assert len(table) == 2
    assert rows[labelled]["label"] == expected
    assert type(rows[labelled]["label"]) is type(expected)
    assert rows[labelled]["label_time"] >= rows[labelled]["time"]
    assert rows[bare]["label"] is rows[bare]["label_time"] is None


def test_any_engine_reads_the_parquet(tmp_path: Path) -> None:
    log = opened(tmp_path)
    names = predict(log, rows=2)
    log.rotate()
    compaction.compact(str(tmp_path), log)
    today = datetime.now(UTC).date().isoformat()
    assert sorted(plain_parquet(tmp_path)) in [
        [("churn", datetime.fromisoformat(day).date(), name) for name in names] for day in (today,)
    ]


def test_readers_see_everything_once_while_it_is_written_and_compacted(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=2000)
    acknowledged: list[str] = []
    stop = threading.Event()
    errors: list[BaseException] = []

    def guarded(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                while not stop.wait(0.002):
                    work()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    threads = [
        guarded(lambda: acknowledged.extend(predict(log, rows=2))),
        guarded(lambda: compaction.compact(str(tmp_path), log)),
    ]
    try:
        for _ in range(25):
            before = list(acknowledged)
            seen = ids(tmp_path)
            assert len(seen) == len(set(seen))
            assert set(before) <= set(seen)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not errors
    assert len(acknowledged) > 100
    assert ids(tmp_path) == sorted(acknowledged)
    assert len(layout.predictions_files(str(tmp_path), "churn", None, None)) > 3


def test_reading_on_another_backend_of_the_same_connection(tmp_path: Path) -> None:
    log = opened(tmp_path)
    predict(log, rows=3)
    backend = engine.connect()
    table = prediction_log.read(str(tmp_path), "churn", connection=backend)
    assert backend.execute(table.count()) == 3


@pytest.mark.parametrize("beside", ["nothing", "a new file", "the write-ahead log"])
def test_a_file_without_the_newest_columns_has_null_there(tmp_path: Path, beside: str) -> None:
    log = opened(tmp_path)
    names = predict(log, rows=2)
    log.feedback([(names[0], "2")])
    log.rotate()
    compaction.compact(str(tmp_path), log)
    for file in tmp_path.glob("predictions/*/*/*.parquet"):
        pq.write_table(pq.read_table(file, partitioning=None).drop_columns(["rollout", "context"]), file)
    for file in tmp_path.glob("feedback/*/*.parquet"):
        pq.write_table(pq.read_table(file, partitioning=None).drop_columns("reward"), file)
    if beside != "nothing":
        new = predict(log, rollout_context={"rollout": "r1"})
        log.feedback([(new[0], "1", 0.5)])
        names += new
    if beside == "a new file":
        log.rotate()
        compaction.compact(str(tmp_path), log)
    table = prediction_log.read(str(tmp_path), "churn").order_by("prediction_id").execute().convert_dtypes()
    assert table.prediction_id.tolist() == names
    assert table.rollout.fillna("").tolist() == ["", "", "r1"][: len(names)]
    assert table.reward.fillna(-1).tolist() == [-1, -1, 0.5][: len(names)]
    assert table.label.fillna(-1).tolist() == [2, -1, 1][: len(names)]
