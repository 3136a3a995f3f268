"""Compaction: segments of the write-ahead log become Parquet files under the storage URI.

A segment is removed only after everything in it has been written. If the process is killed in
between, the next compaction writes the same files again under the same names: nothing is lost
and nothing is duplicated.
"""

from __future__ import annotations

import glob
import io
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.log import layout, segments, write_ahead
from airflow_provider_mlops.serving.log.segment_content import RejectedRecord, SegmentContent

log = logging.getLogger(__name__)

DAMAGED_SUFFIX = ".damaged"
MAX_DAMAGED_SEGMENTS = 20
MAX_REJECTED_FILES, MAX_REJECTED_BYTES = 200, 1_000_000
"""Files in `log-rejected/` at most, and the size of each. Everything else of the log is kept until it is deleted."""
_MAX_PROBLEMS = 3
"""Number of segments after which the storage is to blame. Each may have waited for it for a long time."""


def compact(
    storage_uri: str,
    own: write_ahead.WriteAhead,
    may_go: Callable[[segments.Segment], bool] = lambda segment: True,
) -> int:
    """Compact this process's finished segments and the segments of dead processes.

    If the storage is unavailable, its exception is raised and every segment that is not compacted
    stays: the next call tries again.

    Parameters
    ----------
    may_go
        Tells whether a segment is no longer needed. Segments that are still needed stay for the next call.

    Returns
    -------
    int
        Number of segments that were compacted.
    """
    began = time.monotonic()
    done = _compact_all(storage_uri, filter(may_go, own.sealed()))
    with write_ahead.orphans(own.root) as left:
        done += _compact_all(storage_uri, filter(may_go, left))
    if done:
        elapsed = time.monotonic() - began
        log.info("Compacted %s of the prediction log in %.2f s to %s", pluralize(done, "segment"), elapsed, storage_uri)
    return done


def _compact_all(storage_uri: str, found: Iterable[segments.Segment]) -> int:
    """Compact segments and return how many. One that cannot be written stops the others only if several cannot."""
    done, problems = 0, []
    for segment in found:
        try:
            compact_segment(storage_uri, segment)
            done += 1
        except Exception as error:
            problems.append(error)
            if len(problems) >= _MAX_PROBLEMS:
                break
    if problems:
        raise problems[0]
    return done


def compact_segment(storage_uri: str, segment: segments.Segment) -> None:
    """Write one segment's rows as Parquet and remove the segment, which must not change anymore.

    Records that cannot be rows are written to a file of their own, with the reason.
    """
    try:
        content = SegmentContent(segments.records(segment.path))
        files = [
            (layout.predictions_file(storage_uri, schema.model, schema.version, date, segment.name), _parquet(table))
            for schema, date, table in content.predictions
        ]
        files += [
            (layout.feedback_file(storage_uri, date, segment.name), _parquet(table))
            for date, table in content.feedback_tables()
        ]
    except (OSError, MemoryError):
        raise
    except Exception:
        _set_aside(segment)
        return
    for uri, written in files:
        storage.write_bytes(uri, written)
    if content.rejected:
        _keep_rejected(storage_uri, segment, content.rejected)
    os.unlink(segment.path)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _keep_rejected(storage_uri: str, segment: segments.Segment, rejected: Sequence[RejectedRecord]) -> None:
    """Write the records that cannot be rows to a file of their own, as long as there are not too many."""
    uri = layout.rejected_file(storage_uri, segment.name)
    others = [name for name in storage.names(layout.rejected_directory(storage_uri)) if not uri.endswith("/" + name)]
    kept, size = [], 0
    for record in rejected:
        line = record.as_json() + "\n"
        size += len(line)
        if size > MAX_REJECTED_BYTES or len(others) >= MAX_REJECTED_FILES:
            break
        kept.append(line)
    if kept:
        storage.write_bytes(uri, "".join(kept).encode())
    log.error(
        "Set aside %s of the prediction log, because they cannot be rows of a table, and kept %s of them in %s; the "
        "first one: %s",
        pluralize(len(rejected), "record"),
        len(kept) or "none",
        uri if kept else f"log-rejected/, which has {len(others)} files: delete those that you no longer need",
        rejected[0].reason,
    )


def _set_aside(segment: segments.Segment) -> None:
    """Rename a segment that cannot be read as a whole, so that the others are compacted."""
    kept = segment.path + DAMAGED_SUFFIX
    os.rename(segment.path, kept)
    log.exception("Set aside a segment of the prediction log that cannot be compacted, as %s", kept)
    root = os.path.dirname(os.path.dirname(segment.path))
    damaged = sorted(glob.glob(os.path.join(glob.escape(root), "*", "*" + DAMAGED_SUFFIX)), key=os.path.getmtime)
    for path in damaged[:-MAX_DAMAGED_SEGMENTS]:
        os.unlink(path)
        log.error(
            "Deleted the damaged segment %s, because only the last %d are kept. Find out what damages them",
            path,
            MAX_DAMAGED_SEGMENTS,
        )
