"""The write-ahead log, its compaction, and the table that is read of both: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.data import engine
from airflow_provider_mlops.serving.log import compaction, log_layout, prediction_id, prediction_log, write_ahead
from airflow_provider_mlops.serving.log.log_schema import LogSchema

SCHEMA = LogSchema("churn", 1, (("age", "double"), ("town", "string")), "long", ("0", "1"))


def opened(storage: Path, **options: int) -> write_ahead.WriteAhead:
    return write_ahead.WriteAhead(log_layout.write_ahead_root(str(storage)), **options)


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
    log.predictions(schema, name, **{**record, **fields})
    return prediction_id.of_rows(name, rows)


def ids(storage: Path, model: str = "churn", **options: Any) -> list[str]:
    return sorted(prediction_log.read(str(storage), model, **options).prediction_id.execute())


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


def test_a_line_that_was_not_finished_is_ignored(tmp_path: Path) -> None:
    log = opened(tmp_path)
    names = predict(log, rows=3)
    (segment,) = write_ahead.segments(log.root)
    whole = Path(segment.path).read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        Path(segment.path).write_bytes(whole[:cut])
        assert not [record for record in write_ahead.records(segment.path) if "predictions" in record]
    assert ids(tmp_path) == []
    Path(segment.path).write_bytes(whole)
    assert ids(tmp_path) == sorted(names)


def test_a_dead_writers_segments_are_taken_over_and_a_living_ones_are_not(tmp_path: Path) -> None:
    script = """
    import os, sys
    from airflow_provider_mlops.serving.log import write_ahead
    from airflow_provider_mlops.serving.log.log_schema import LogSchema
    log = write_ahead.WriteAhead(sys.argv[1])
    log.feedback([("0" * 32, "1")])
    print("ready", flush=True)
    sys.stdin.read()
    """
    root = log_layout.write_ahead_root(str(tmp_path))
    command = [sys.executable, "-c", textwrap.dedent(script), root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        log = opened(tmp_path)
        assert compaction.compact(str(tmp_path), log) == 0
        other.kill()
        other.wait(10)
    assert len(os.listdir(root)) == 2
    assert compaction.compact(str(tmp_path), log) == 1
    assert os.listdir(root) == [log.writer]
    assert len(log_layout.feedback_files(str(tmp_path), None)) == 1


DIES = """
import os, signal, sys
from airflow_provider_mlops.serving.log import compaction, log_layout, write_ahead
storage_uri, fatal = sys.argv[1], int(sys.argv[2])
calls = 0
def dying(function, *arguments):
    global calls
    for after in (False, True):
        if after:
            function(*arguments)
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
for module, name in ((os, "replace"), (os, "unlink"), (os, "rmdir")):
    original = getattr(module, name)
    setattr(module, name, lambda *arguments, original=original: dying(original, *arguments))
# A gateway that starts begins so; it would leave a segment of its own each time, and never come to an end here.
with write_ahead.orphans(log_layout.write_ahead_root(storage_uri)) as left:
    for segment in left:
        compaction.compact_segment(storage_uri, segment)
print(calls)
"""


def test_compaction_may_be_killed_at_any_step(tmp_path: Path) -> None:
    log = opened(tmp_path)
    names = predict(log, rows=2) + predict(log, LogSchema("churn", 2, (), "long"))
    others = predict(log, LogSchema("other", 1, (), "long"))
    log.feedback([(names[0], "1"), (others[0], "0")])
    log.rotate()
    log.feedback([(names[0], "2")])
    log.close()
    fatal = 0
    while True:
        fatal += 1
        done = subprocess.run(
            [sys.executable, "-c", DIES, str(tmp_path), str(fatal)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        assert ids(tmp_path) == sorted(names)
        assert ids(tmp_path, "other") == others
        table = prediction_log.read(str(tmp_path), "churn")
        assert table.filter(table.prediction_id == names[0]).label.execute().tolist() == [2]
        if done.returncode == 0:
            break
    # Each try got further, until one had fewer steps left than it would have died at.
    assert fatal > 6
    assert len(plain_parquet(tmp_path)) == len(names) + len(others)


def plain_parquet(storage: Path) -> list[tuple[Any, ...]]:
    """What any engine sees that knows Hive's layout and nothing of this package."""
    query = f"select model, date, prediction_id from read_parquet('{storage}/predictions/*/*/*.parquet', "
    return duckdb.sql(query + "hive_partitioning=true, union_by_name=true)").fetchall()


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
    assert len(log_layout.predictions_files(str(tmp_path), "churn", None, None)) > 3


def test_a_disk_that_fills_up_loses_nothing_and_corrupts_nothing(tmp_path: Path) -> None:
    """A limit on the size of files makes the kernel take a part of a write and refuse the rest, as a full disk does."""
    script = """
    import resource, sys
    from airflow_provider_mlops.serving.log import write_ahead
    log = write_ahead.WriteAhead(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    refused = 0
    for number in range(40):
        if number == 20:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        name = f"{number:032x}"
        try:
            log.feedback([(name, "1")])
        except OSError:
            refused += 1
        else:
            print(name)
    assert refused
    """
    root = log_layout.write_ahead_root(str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), root], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    acknowledged = done.stdout.split()
    assert 20 < len(acknowledged) < 40
    logged = [
        name
        for segment in write_ahead.segments(root)
        for record in write_ahead.records(segment.path)
        for name, _, _ in record["feedback"]
    ]
    assert logged == acknowledged


def test_reading_on_another_backend_of_the_same_connection(tmp_path: Path) -> None:
    log = opened(tmp_path)
    predict(log, rows=3)
    backend = engine.connect()
    table = prediction_log.read(str(tmp_path), "churn", connection=backend)
    assert backend.execute(table.count()) == 3


def test_remote_storage_is_written_by_compaction(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    uri = f"memory://{tmp_path.name}"
    log = write_ahead.WriteAhead(log_layout.write_ahead_root(uri))
    assert log.root.startswith(str(tmp_path / "state"))
    names = predict(log, rows=2)
    log.feedback([(names[0], "2")])
    assert sorted(prediction_log.read(uri, "churn").prediction_id.execute()) == names
    log.rotate()
    assert compaction.compact(uri, log) == 1
    table = prediction_log.read(uri, "churn").order_by("prediction_id")
    assert table.label.execute().fillna(0).tolist() == [2, 0]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**128 - 1), st.integers(1, 50))
def test_ids_of_rows_are_valid_and_different(number: int, rows: int) -> None:
    names = prediction_id.of_rows(f"{number:032x}", rows)
    assert len(set(names)) == rows
    assert all(map(prediction_id.is_valid, names))


def test_new_ids_sort_by_time_and_never_meet() -> None:
    names = [prediction_id.new() for _ in range(1000)]
    assert len(set(names)) == 1000
    assert [name[:12] for name in names] == sorted(name[:12] for name in names)


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
        new = predict(log, marks={"rollout": "r1"})
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
