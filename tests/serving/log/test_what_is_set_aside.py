"""Records that cannot be rows: they are set aside, counted and named, and the rest goes on."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlops.serving.log import compaction, layout, prediction_id, prediction_log, record, segments
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead

SCHEMA = LogSchema("churn", 1, (("age", "long"), ("town", "string")), "string", ("no", "yes"))


def prediction(**changed: Any) -> bytes:
    fields: dict[str, Any] = {
        "arm": "champion",
        "propensity": 1.0,
        "features": [[41], ["Rome"]],
        "output": ["yes"],
        "probabilities": [[0.25], [0.75]],
        "latency_ms": 1.0,
    }
    return record.encode(SCHEMA, prediction_id.new(), **{**fields, **changed})


def edited(**changed: Any) -> bytes:
    """A record with fields that the encoder would not write."""
    content = json.loads(prediction())
    for key, value in changed.items():
        if value is None:
            del content[key]
        else:
            content[key] = value
    return json.dumps(content).encode() + b"\n"


BAD: dict[str, bytes] = {
    "an object where a class is": edited(output=[{"a": 1}]),
    "an integer of more than 64 bits": edited(features=[[2**70], ["Rome"]]),
    "text where a number is": edited(features=[["forty"], ["Rome"]]),
    "a column too few": edited(features=[[41]]),
    "rows of different number": edited(features=[[41, 42], ["Rome"]]),
    "no probabilities": edited(probabilities=[]),
    "no output": edited(output=None),
    "a time in a year that does not exist": edited(time=10**18),
    "a version without a schema": edited(version=77),
    "feedback without an id": b'{"feedback":[[]]}\n',
    "feedback that is a number": b'{"feedback":7}\n',
    "a reward that is text": b'{"feedback":[["f00d",null,1,"much"]]}\n',
    "a schema without a model": b'{"schema":{"version":1}}\n',
    "another kind": b'{"surprise":1}\n',
    "a list": b"[1, 2]\n",
    "a number": b"3\n",
    "no JSON": b"{\n",
    "no text": b"\xff\xfe\n",
    "too deep": b"[" * 100_000 + b"\n",
}


def write(tmp_path: Path, *lines: bytes) -> WriteAhead:
    log = WriteAhead(layout.write_ahead_root(str(tmp_path)))
    for line in lines:
        log.append([line], SCHEMA)
    return log


@pytest.mark.parametrize("name", BAD)
def test_one_bad_record_stops_nothing(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    log = write(tmp_path, prediction(), BAD[name], prediction(), prediction())
    log.feedback([("f00d" * 8, "yes")])
    log.rotate()
    log.append([prediction()], SCHEMA)
    log.rotate()
    # Reading works before the compaction and after it.
    assert prediction_log.read(str(tmp_path), "churn").count().execute() == 4
    with caplog.at_level(logging.ERROR):
        assert compaction.compact(str(tmp_path), log) == 2
    assert prediction_log.read(str(tmp_path), "churn").count().execute() == 4
    assert not log.sealed()
    (file,) = (tmp_path / "log-rejected").iterdir()
    (line,) = file.read_text().splitlines()
    kept = json.loads(line)
    assert kept["reason"]
    raw = kept["record"] if isinstance(kept["record"], str) else json.dumps(kept["record"])
    assert raw.rstrip() == BAD[name].decode("latin-1").rstrip() or json.loads(raw) == json.loads(BAD[name])
    (message,) = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]
    assert "1 record " in message
    assert str(file) in message
    log.close()


def test_what_a_dead_gateway_left_does_not_stop_the_next_one(tmp_path: Path) -> None:
    dead = write(tmp_path, prediction(), *BAD.values())
    dead.close()
    root = Path(layout.write_ahead_root(str(tmp_path)))
    (root / "notes.txt").write_text("somebody's own")
    (root / dead.writer / "copy.jsonl").write_text("somebody's own")
    log = write(tmp_path, prediction())
    log.rotate()
    assert compaction.compact(str(tmp_path), log) == 2
    assert prediction_log.read(str(tmp_path), "churn").count().execute() == 2
    rejected = [line for file in (tmp_path / "log-rejected").iterdir() for line in file.read_text().splitlines()]
    assert len(rejected) == len(BAD)
    log.close()


def test_a_segment_that_cannot_be_compacted_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For a reason that nobody has thought of."""
    log = write(tmp_path, prediction())
    log.rotate()
    log.append([prediction()], SCHEMA)
    log.rotate()
    first = log.sealed()[0].path
    real = segments.records

    def records(path: str) -> Any:
        if path == first:
            raise ZeroDivisionError
        return real(path)

    monkeypatch.setattr(segments, "records", records)
    compaction.compact(str(tmp_path), log)
    assert not log.sealed()
    assert Path(first + ".damaged").exists()
    assert "as " + first + ".damaged" in caplog.text
    monkeypatch.undo()
    assert prediction_log.read(str(tmp_path), "churn").count().execute() == 1
    log.close()


def test_what_is_set_aside_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compaction, "MAX_REJECTED_FILES", 2)
    monkeypatch.setattr(compaction, "MAX_REJECTED_BYTES", 1000)
    log = WriteAhead(layout.write_ahead_root(str(tmp_path)))
    for _ in range(4):
        log.append([b'{"surprise":1}\n' * 100], SCHEMA)
        log.rotate()
    assert compaction.compact(str(tmp_path), log) == 4
    files = list((tmp_path / "log-rejected").iterdir())
    assert len(files) == 2
    assert all(0 < file.stat().st_size <= 1000 for file in files)
    # All are counted, whether they are kept or not.
    lines = [record.getMessage() for record in caplog.records if "Set aside" in record.getMessage()]
    assert all("Set aside 100 records" in line for line in lines)
    assert sum("kept none of them in log-rejected/, which has 2 files" in line for line in lines) == 2
    log.close()


def test_of_damaged_segments_the_newest_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compaction, "MAX_DAMAGED_SEGMENTS", 2)
    log = WriteAhead(layout.write_ahead_root(str(tmp_path)))
    for _ in range(4):
        log.append([prediction()], SCHEMA)
        log.rotate()

    def records(path: str) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(segments, "records", records)
    compaction.compact(str(tmp_path), log)
    assert sorted(path.name for path in Path(log.directory).glob("*.damaged")) == [
        "00000003.jsonl.damaged",
        "00000004.jsonl.damaged",
    ]
    assert sum("Deleted the damaged segment" in record.getMessage() for record in caplog.records) == 2
    log.close()
