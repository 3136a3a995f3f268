"""A log whose directory is deleted, storage that fails at any call, and a segment that alone cannot be written."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_mlops.serving.log import compaction, layout, segments
from airflow_provider_mlops.serving.log.schema import LogSchema
from tests.helpers.prediction_log import ids, opened, predict

SCHEMAS = {model: LogSchema(model, 1, (("age", "double"),), "long") for model in ("churn", "other", "stuck")}


def test_a_deleted_log_directory_is_made_anew_and_nothing_acknowledged_after_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened(tmp_path)
    predict(log, rows=3)
    before = log.directory
    shutil.rmtree(log.root)
    names = predict(log, rows=3) + predict(log, rows=2)
    assert log.directory != before
    assert ids(tmp_path) == sorted(names)
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert f"Someone has deleted the write-ahead log {before}" in line
    log.rotate()
    assert compaction.compact(str(tmp_path), log) == 1
    assert ids(tmp_path) == sorted(names)
    log.close()


def test_a_log_directory_that_is_moved_away_is_noticed_at_the_next_compaction(tmp_path: Path) -> None:
    log = opened(tmp_path)
    lost = predict(log, rows=3)
    Path(log.root).rename(tmp_path / "moved")
    log.rotate()
    names = predict(log, rows=2)
    assert ids(tmp_path) == sorted(names)
    # Moved back, it is taken over as the log of a dead process.
    for writer in (tmp_path / "moved").iterdir():
        writer.rename(Path(log.root) / writer.name)
    assert compaction.compact(str(tmp_path), log) == 1
    assert ids(tmp_path) == sorted(lost + names)
    log.close()


def test_a_log_that_cannot_be_made_anew_refuses_until_it_can(tmp_path: Path) -> None:
    log = opened(tmp_path)
    root = Path(log.root)
    shutil.rmtree(root)
    root.write_text("not a directory")
    for _ in range(2):
        with pytest.raises(OSError, match="write-ahead"):
            predict(log, rows=1)
    assert log.problem() is not None
    root.unlink()
    # Readiness asks, so that it answers again without a request.
    assert log.problem() is None
    names = predict(log, rows=1)
    assert ids(tmp_path) == names
    log.close()


class FailingFileSystem(MemoryFileSystem):
    """A file system in memory whose `fatal`-th write fails, like object storage with an error of its own."""

    protocol = "failing"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    writes = 0
    fatal = 0

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> Any:
        cls = type(self)
        cls.writes += 1
        if cls.writes == cls.fatal:
            raise OSError(503, "Slow down")
        return super().pipe_file(path, value, mode=mode, **options)


@pytest.fixture
def failing() -> Iterator[type[FailingFileSystem]]:
    fsspec.register_implementation("failing", FailingFileSystem, clobber=True)
    FailingFileSystem.store.clear()
    FailingFileSystem.writes = FailingFileSystem.fatal = 0
    yield FailingFileSystem
    FailingFileSystem.store.clear()


@pytest.mark.parametrize("fatal", [1, 2, 3, 4, 5])
def test_object_storage_that_fails_at_any_write_is_written_completely_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: type[FailingFileSystem], fatal: int
) -> None:
    monkeypatch.setattr(layout, "write_ahead_root", lambda uri: str(tmp_path / "write-ahead"))
    log = opened(tmp_path)
    names = []
    for _ in range(2):
        for model in ("churn", "other"):
            found = predict(log, SCHEMAS[model], rows=2)
            names += found if model == "churn" else []
        log.feedback([(names[-1], "1")])
        log.rotate()
    failing.fatal = fatal
    uri = "failing://mlops"
    with pytest.raises(OSError, match="Slow down"):
        compaction.compact(uri, log)
    left = len(log.sealed())
    assert left
    assert compaction.compact(uri, log) == left
    assert not log.sealed()
    assert len(failing.store) == 6
    rows = [pq.read_table(io.BytesIO(file.getvalue())) for path, file in failing.store.items() if "model=churn" in path]
    assert sorted(name for table in rows for name in table["prediction_id"].to_pylist()) == sorted(names)
    log.close()


def test_one_segment_that_cannot_be_written_does_not_stop_the_others(tmp_path: Path) -> None:
    log = opened(tmp_path)
    stuck = predict(log, SCHEMAS["stuck"], rows=1)
    log.rotate()
    names = predict(log, rows=2)
    log.rotate()
    Path(layout.model_directory(str(tmp_path), "stuck")).parent.mkdir(parents=True, exist_ok=True)
    Path(layout.model_directory(str(tmp_path), "stuck")).write_text("not a directory")
    for _ in range(2):
        with pytest.raises(OSError, match="stuck"):
            compaction.compact(str(tmp_path), log)
    (left,) = log.sealed()
    assert stuck[0].encode() in Path(left.path).read_bytes()
    assert ids(tmp_path) == sorted(names)
    assert not [segment for segment in segments.segments(log.root) if segment.number == 2]
    log.close()
