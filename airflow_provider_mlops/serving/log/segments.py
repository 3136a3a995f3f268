"""The segments of the write-ahead log: numbered files of lines, one directory per writer."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_mlops.serving.log import record as log_record

log = logging.getLogger(__name__)

SUFFIX = ".jsonl"


@dataclass(frozen=True, order=True)
class Segment:
    """One file of a writer."""

    writer: str
    number: int
    path: str = field(compare=False)

    @property
    def name(self) -> str:
        """Name of the segment, which is part of the names of the Parquet files made from it."""
        return f"{self.writer}-{self.number:08d}"


def segments(root: str) -> list[Segment]:
    """Return all segments of all writers, as they are now."""
    try:
        writers = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    return [segment for writer in writers for segment in segments_of(root, writer)]


def segments_of(root: str, writer: str) -> list[Segment]:
    """Return the segments of one writer, oldest first."""
    directory = os.path.join(root, writer)
    return [
        Segment(writer, int(name.removesuffix(SUFFIX)), os.path.join(directory, name))
        for name in sorted(file_names(directory))
        if name.endswith(SUFFIX) and name.removesuffix(SUFFIX).isdecimal()
    ]


def records(path: str) -> Iterator[dict[str, Any] | bytes]:
    """Yield the records of a segment in order; a line that is not a record as it is. Raises FileNotFoundError.

    An unfinished last line was never acknowledged and is left out.
    """
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                record = log_record.parse(line)
            except (ValueError, RecursionError):
                yield line
            else:
                yield record if type(record) is dict else line


def lines(path: str, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the complete lines of a segment between two positions, each with the position after it.

    Raises FileNotFoundError.
    """
    with open(path, "rb") as file:
        file.seek(start)
        for line in file:
            start += len(line)
            if start > end or not line.endswith(b"\n"):
                return
            yield start, line


def file_names(directory: str) -> list[str]:
    """Return the names of the files of a writer; none if its directory is gone."""
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
