"""The write-ahead log: every prediction and every label is written to a file before its response is sent.

A record is one line of JSON, appended in a single write to a file opened with O_APPEND. What
the kernel has accepted survives a `kill -9` of this process (but not a power cut: nothing is
flushed to the disk here). A writer that dies in the middle of a write leaves an unfinished line,
which was never acknowledged and is ignored.

Each process writes into a directory of its own, `{root}/{writer}/`, as numbered segments that never
change once the next one has begun. It holds a lock on that directory for as long as it lives, so
that another process knows when to take over what a dead process left.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence

from airflow_provider_mlops.serving.log import record as log_record
from airflow_provider_mlops.serving.log.record import FeedbackRow
from airflow_provider_mlops.serving.log.rollout_fields import RolloutContext
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.segments import SUFFIX, Segment, file_names, segments_of
from airflow_provider_mlops.serving.repeated_log import RepeatedLog

repeated = RepeatedLog(logging.getLogger(__name__))

SEGMENT_BYTES = 8 * 1024 * 1024
_LABELS_PER_RECORD = 1000
_LOCK = "lock"
_PROBE_BYTES = 256 * 1024


class WriteAhead:
    """This process's part of the write-ahead log. Safe to use from several threads.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     log = WriteAhead(root)
    ...     log.feedback([("0190a5d3c1f2" + 20 * "0", "yes")])
    ...     number, size = log.position()
    ...     log.close()
    >>> number, size > 0
    (1, True)
    """

    def __init__(self, root: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.root = root
        self.writer, self.directory, self._lock_file = _new_writer(root)
        self._segment_bytes = segment_bytes
        self._guard = threading.Lock()
        self._number = 0
        self._last_time = 0
        self._evidence = (0, 0)
        self._problem: str | None = None
        self._file = -1
        self._open_next()

    def append(self, lines: Sequence[bytes], schema: LogSchema, *, evidence: bool = True) -> None:
        """Log predictions of one version in one write.

        Parameters
        ----------
        lines
            One line per request, made by `log_record.encode`.
        evidence
            Whether any of the lines may belong to a rollout.

        Raises
        ------
        OSError
            If the lines cannot be written as a whole. In that case, none of them is in the log.
        """
        self._append(b"".join(lines), schema, evidence=evidence)

    def failure(
        self,
        request_id: str,
        *,
        model: str,
        version: int,
        arm: str,
        latency_ms: float,
        error: str,
        rollout_context: RolloutContext,
    ) -> None:
        """Log that a version of a rollout failed to answer a request. Raises OSError as `append` does."""
        line = log_record.encode_failure(
            request_id,
            model=model,
            version=version,
            arm=arm,
            latency_ms=latency_ms,
            error=error,
            rollout_context=rollout_context,
        )
        self._append(line, None)

    def feedback(self, labels: Sequence[tuple[str, str] | tuple[str, str | None, float | None]]) -> None:
        """Log labels as (prediction id, label as text), or with a reward as (prediction id, label or None, reward).

        If a prediction gets two labels, the later one counts; if it gets two rewards, the first one counts. Raises
        OSError as `append` does; then some of the labels may be in the log. Sending all of them again changes nothing.
        """
        with self._guard:
            first = max(time.time_ns() // 1000, self._last_time + 1)
            self._last_time = first + len(labels) - 1
        rows: list[FeedbackRow] = [
            (name, label, first + position, reward[0] if reward else None)
            for position, (name, label, *reward) in enumerate(labels)
        ]
        # In parts, because predictions wait for each write, and other threads for the encoding.
        for start in range(0, len(rows), _LABELS_PER_RECORD):
            self._append(log_record.encode_feedback(rows[start : start + _LABELS_PER_RECORD]), None)

    def rotate(self) -> None:
        """Begin a new segment, unless nothing was written to the current one."""
        with self._guard:
            if not os.path.exists(self._path):
                self._start_over()
            elif self._size:
                self._open_next()

    def position(self) -> tuple[int, int]:
        """Return the number of the current segment and its size in complete writes; a failed write is undone."""
        with self._guard:
            return self._number, self._size

    def evidence(self) -> tuple[int, int]:
        """Return the end of the last record that may count for a rollout, as `position` does; (0, 0) if none does."""
        with self._guard:
            return self._evidence

    def problem(self) -> str | None:
        """Return why the last write failed; None if it did not, or if a file can be written again."""
        if self._problem is not None:
            with self._guard, contextlib.suppress(OSError):
                if self._file >= 0 and not os.path.exists(self._path):
                    self._start_over()
            path = os.path.join(self.directory, "probe")
            try:
                with open(path, "wb") as file:
                    file.write(bytes(_PROBE_BYTES))
                    file.flush()
            except OSError as error:
                self._problem = str(error)
            else:
                self._problem = None
            with contextlib.suppress(OSError):
                os.unlink(path)
        return self._problem

    def sealed(self) -> list[Segment]:
        """Return this process's segments that will not change anymore, oldest first."""
        with self._guard:
            return [segment for segment in segments_of(self.root, self.writer) if segment.number < self._number]

    def close(self) -> None:
        """Close the file and release the lock, so that the next compaction in any process takes over the rest."""
        with self._guard:
            os.close(self._file)
            self._file = -1
            if not self._size:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path)
            if not segments_of(self.root, self.writer):
                _remove(self.directory)
            os.close(self._lock_file)

    def _append(self, line: bytes, schema: LogSchema | None, *, evidence: bool = True) -> None:
        with self._guard:
            if self._file < 0:
                raise OSError("the write-ahead log is closed")
            if self._size >= self._segment_bytes:
                self._open_next()
            self._write_described(line, schema)
            if not os.fstat(self._file).st_nlink:
                self._start_over()
                self._write_described(line, schema)
            if evidence:
                self._evidence = (self._number, self._size)

    def _write_described(self, line: bytes, schema: LogSchema | None) -> None:
        if schema is None or id(schema) in self._described:
            self._write(line)
        else:
            self._write(log_record.encode_schema(schema) + line)
            self._described[id(schema)] = schema

    def _start_over(self) -> None:
        """Continue in a new directory: someone has deleted the file, and no one could find what is written to it."""
        repeated.error(
            self.directory,
            "Someone has deleted the write-ahead log %s. What was not compacted is lost; the gateway continues in a "
            "new directory",
            self.directory,
        )
        try:
            writer, directory, lock_file = _new_writer(self.root)
            os.close(self._lock_file)
            self.writer, self.directory, self._lock_file = writer, directory, lock_file
            self._number, self._evidence = 0, (0, 0)
            self._open_next()
        except OSError as error:
            self._problem = str(error)
            raise

    def _write(self, block: bytes) -> None:
        try:
            written = os.write(self._file, block)
            if written < len(block):
                # A disk that is almost full accepts a part; a second write shows whether it accepts the rest.
                written += os.write(self._file, block[written:])
            if written < len(block):
                raise OSError(f"only {written} of {len(block)} bytes could be written to the write-ahead log")
        except OSError as error:
            self._problem = str(error)
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                # The unfinished line must stay at the end of its segment, where readers ignore it.
                self._open_next()
            raise
        self._size += len(block)
        self._problem = None

    def _open_next(self) -> None:
        number = self._number + 1
        path = os.path.join(self.directory, f"{number:08d}{SUFFIX}")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._path, self._number, self._size = file, path, number, 0
        # By identity: hashing a schema takes longer than writing a record.
        self._described: dict[int, LogSchema] = {}


@contextlib.contextmanager
def orphans(root: str) -> Iterator[list[Segment]]:
    """Lock and yield the segments of dead writers, so that no other process takes them in the meantime.

    At the end, directories without segments are removed.
    """
    held: list[tuple[str, int]] = []
    found: list[Segment] = []
    for writer in sorted(os.listdir(root)) if os.path.isdir(root) else []:
        directory = os.path.join(root, writer)
        try:
            lock_file = _take(directory)
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            continue
        held.append((directory, lock_file))
        found.extend(segments_of(root, writer))
    try:
        yield found
    finally:
        for directory, lock_file in held:
            if not any(name.endswith(SUFFIX) for name in file_names(directory)):
                _remove(directory)
            os.close(lock_file)


def _new_writer(root: str) -> tuple[str, str, int]:
    while True:
        writer = secrets.token_hex(6)
        directory = os.path.join(root, writer)
        os.makedirs(directory)
        try:
            lock_file = _take(directory)
            # A process that looks for dead writers may have found the directory before it was locked, and removed the
            # lock.
            if os.stat(os.path.join(directory, _LOCK)).st_ino == os.fstat(lock_file).st_ino:
                return writer, directory, lock_file
            os.close(lock_file)
        except (BlockingIOError, FileNotFoundError):
            continue


def _take(directory: str) -> int:
    """Lock a writer's directory. Raises BlockingIOError if its writer lives, FileNotFoundError if it is gone."""
    file = os.open(os.path.join(directory, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _remove(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(directory, _LOCK))
    with contextlib.suppress(OSError):
        os.rmdir(directory)
