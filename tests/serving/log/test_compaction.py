"""Compaction: of a dead writer's segments, killed at any step, and to remote storage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from airflow_provider_mlops.serving.log import compaction, prediction_log, write_ahead
from airflow_provider_mlops.serving.log import layout as log_layout
from airflow_provider_mlops.serving.log.schema import LogSchema
from tests.helpers.prediction_log import ids, opened, plain_parquet, predict


def test_a_dead_writers_segments_are_taken_over_and_a_living_ones_are_not(tmp_path: Path) -> None:
    script = """
    import os, sys
    from airflow_provider_mlops.serving.log import write_ahead
    from airflow_provider_mlops.serving.log.schema import LogSchema
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
from airflow_provider_mlops.serving.log import compaction, write_ahead
from airflow_provider_mlops.serving.log import layout as log_layout
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
