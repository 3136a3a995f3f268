"""The write-ahead log: every prediction and every label is in a file before its answer goes out.

A record is one line of JSON, appended by one write to a file that was opened with O_APPEND. What
the kernel has taken survives a `kill -9` of this process (though not a power cut: nothing is
flushed to the disk here). A writer that dies in the middle of a write leaves a line without an
end, which was never acknowledged and is ignored.

Each process writes into a directory of its own, `{root}/{writer}/`, as segments that are numbered
and never change once the next one has begun. It holds a lock on that directory for as long as it
lives, so that another process knows when to take over what a dead one left.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_mlops.serving.log import record as log_record
from airflow_provider_mlops.serving.log.schema import LogSchema

log = logging.getLogger(__name__)

SEGMENT_BYTES = 8 * 1024 * 1024
_LOCK = "lock"
_SUFFIX = ".jsonl"


@dataclass(frozen=True, order=True)
class Segment:
    """One file of a writer."""

    writer: str
    number: int
    path: str = field(compare=False)

    @property
    def name(self) -> str:
        """What the Parquet files made of this segment carry in their name, whoever makes them."""
        return f"{self.writer}-{self.number:08d}"


class WriteAhead:
    """This process's part of the write-ahead log. Safe to use from several threads."""

    def __init__(self, root: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.root = root
        self.writer, self.directory, self._lock_file = _new_writer(root)
        self._segment_bytes = segment_bytes
        self._guard = threading.Lock()
        self._number = 0
        self._last_time = 0
        self._evidence = (0, 0)
        self._file = -1
        self._open_next()

    def append(self, lines: Sequence[bytes], schema: LogSchema, *, evidence: bool = True) -> None:
        """Log predictions of one version by one write.

        :param lines: one for each request, made by `log_record.encode`.
        :param evidence: whether any of them may have marks of a rollout.

        Raises OSError if they could not be written as a whole; then nothing of them is there.
        """
        self._append(b"".join(lines), schema, evidence=evidence)

    def failure(
        self, request_id: str, *, model: str, version: int, arm: str, latency_ms: float, error: str,
        marks: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Log that a version of a rollout failed to answer a request. Raises OSError as `append` does."""
        record = {
            "failure": request_id,
            **marks,
            "time": time.time_ns() // 1000,
            "model": model,
            "version": version,
            "arm": arm,
            "latency_ms": round(latency_ms, 3),
            "error": error[:1000],
        }
        self._append(json.dumps(record, separators=(",", ":")).encode() + b"\n", None)

    def feedback(self, labels: Sequence[tuple[str, str] | tuple[str, str | None, float | None]]) -> None:
        """Log labels as (prediction id, label as text), or with a reward as (prediction id, label or None, reward).

        Of two labels for the same prediction, the later one counts; of two rewards, the first one.

        Raises OSError as `append` does.
        """
        with self._guard:
            first = max(time.time_ns() // 1000, self._last_time + 1)
            self._last_time = first + len(labels) - 1
        record = {
            "feedback": [
                [name, label, first + place, *(value for value in reward if value is not None)]
                for place, (name, label, *reward) in enumerate(labels)
            ]
        }
        self._append(json.dumps(record, separators=(",", ":")).encode() + b"\n", None)

    def rotate(self) -> None:
        """Begin a new segment, unless nothing was written to the current one."""
        with self._guard:
            if self._size:
                self._open_next()

    def position(self) -> tuple[int, int]:
        """The number of the current segment, and its bytes that are there to stay: a write that fails is undone."""
        with self._guard:
            return self._number, self._size

    def evidence(self) -> tuple[int, int]:
        """As `position`, the end of the last record that may matter to a rollout; (0, 0) where there is none."""
        with self._guard:
            return self._evidence

    def sealed(self) -> list[Segment]:
        """This process's segments that will not change any more, oldest first."""
        with self._guard:
            return [segment for segment in segments_of(self.root, self.writer) if segment.number < self._number]

    def close(self) -> None:
        """Close the file and give up the lock, so that whoever compacts next takes over what is left."""
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
            block = line
            described = schema is None or id(schema) in self._described
            if not described:
                assert schema is not None
                block = json.dumps({"schema": schema.as_json()}).encode() + b"\n" + line
            self._write(block)
            if evidence:
                self._evidence = (self._number, self._size)
            if not described:
                assert schema is not None
                self._described[id(schema)] = schema

    def _write(self, block: bytes) -> None:
        try:
            written = os.write(self._file, block)
            if written < len(block):
                # A disk that is filling up takes a part; a second write tells whether that was all.
                written += os.write(self._file, block[written:])
            if written < len(block):
                raise OSError(f"only {written} of {len(block)} bytes were written")
        except OSError:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                # What was half written must stay the end of its segment, where readers ignore it.
                self._open_next()
            raise
        self._size += len(block)

    def _open_next(self) -> None:
        number = self._number + 1
        path = os.path.join(self.directory, f"{number:08d}{_SUFFIX}")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._path, self._number, self._size = file, path, number, 0
        # By identity: to hash a schema takes longer than to write a record.
        self._described: dict[int, LogSchema] = {}


def segments(root: str) -> list[Segment]:
    """All segments of all writers, as they are now."""
    try:
        writers = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    return [segment for writer in writers for segment in segments_of(root, writer)]


@contextlib.contextmanager
def orphans(root: str) -> Iterator[list[Segment]]:
    """The segments of writers that are dead, held so that no other process takes them in the meantime.

    Their directories are removed at the end if their segments are gone by then.
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
            if not any(name.endswith(_SUFFIX) for name in _list(directory)):
                _remove(directory)
            os.close(lock_file)


def records(path: str) -> Iterator[dict[str, Any]]:
    """The records of a segment in their order. Raises FileNotFoundError.

    An unfinished last line was never acknowledged and is left out.
    """
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                yield log_record.parse(line)
            except ValueError:
                log.error("A line of %d bytes in %s is not JSON and is left out: was the file edited?", len(line), path)


def lines(path: str, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a segment between two positions, each with the position after it.

    Raises FileNotFoundError.
    """
    with open(path, "rb") as file:
        file.seek(start)
        for line in file:
            start += len(line)
            if start > end or not line.endswith(b"\n"):
                return
            yield start, line


def _new_writer(root: str) -> tuple[str, str, int]:
    while True:
        writer = secrets.token_hex(6)
        directory = os.path.join(root, writer)
        os.makedirs(directory)
        try:
            lock_file = _take(directory)
            # Whoever looks for dead writers may have found the directory before it was locked, and removed the lock.
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


def segments_of(root: str, writer: str) -> list[Segment]:
    """The segments of one writer, oldest first."""
    directory = os.path.join(root, writer)
    return [
        Segment(writer, int(name.removesuffix(_SUFFIX)), os.path.join(directory, name))
        for name in sorted(_list(directory))
        if name.endswith(_SUFFIX)
    ]


def _list(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(directory, _LOCK))
    with contextlib.suppress(OSError):
        os.rmdir(directory)
