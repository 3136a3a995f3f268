"""The write-ahead log: lines that were not finished, and a disk that fills up."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from airflow_provider_mlops.serving.log import layout, segments
from tests.helpers.prediction_log import ids, opened, predict


def test_a_line_that_was_not_finished_is_ignored(tmp_path: Path) -> None:
    log = opened(tmp_path)
    names = predict(log, rows=3)
    (segment,) = segments.segments(log.root)
    whole = Path(segment.path).read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        Path(segment.path).write_bytes(whole[:cut])
        assert not [record for record in segments.records(segment.path) if "predictions" in record]
    assert ids(tmp_path) == []
    Path(segment.path).write_bytes(whole)
    assert ids(tmp_path) == sorted(names)


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
    root = layout.write_ahead_root(str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), root], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    acknowledged = done.stdout.split()
    assert 20 < len(acknowledged) < 40
    logged = [
        name
        for segment in segments.segments(root)
        for record in segments.records(segment.path)
        for name, _, _ in record["feedback"]
    ]
    assert logged == acknowledged
