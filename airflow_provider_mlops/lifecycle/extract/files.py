"""Rows of CSV, Parquet and JSON lines files on any fsspec path, streamed."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_mlops.data import parquet_read
from airflow_provider_mlops.data.schema import wider_type
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.extract.sources import FilesSource, ReadAgain

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

Format = Literal["csv", "parquet", "jsonl"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".zip")
_BLOCK_BYTES = 8_000_000


class FilesReader:
    """Reads all files of a source; what it learns of CSV columns it keeps for when it must begin again."""

    def __init__(self, source: FilesSource) -> None:
        self.source = source
        self.files = _find(source)
        self._csv_types: dict[str, pyarrow.DataType] = {}
        self._seen: dict[str, pyarrow.DataType] = {}

    def read(self, batch_rows: int) -> Iterator[pyarrow.Table]:
        """The rows in batches. Raises ReadAgain when a CSV column turns out to be wider than what was read so far.

        Raises InvalidSpecError for a file that cannot be read as its format.
        """
        self._seen = {}
        for uri, format_ in self.files:
            log.info("Reading %s as %s", uri, format_)
            with _as_its_format(uri, format_):
                if format_ == "csv":
                    yield from self._csv(uri)
                elif format_ == "jsonl":
                    yield from _json_lines(uri)
                else:
                    yield from _parquet(uri, batch_rows)

    def _csv(self, uri: str) -> Iterator[pyarrow.Table]:
        with _uncompressed(uri) as file:
            yield from self._csv_tables(uri, file)

    def _csv_tables(self, uri: str, file: Any) -> Iterator[pyarrow.Table]:
        import pyarrow
        import pyarrow.csv

        separator = "\t" if ".tsv" in uri.lower() else ","
        reader = None
        try:
            reader = pyarrow.csv.open_csv(
                file,
                read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES, encoding=self.source.encoding),
                parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(column_types=self._csv_types, strings_can_be_null=True),
            )
            self._agree(reader.schema)
            for batch in reader:
                yield pyarrow.Table.from_batches([batch])
        except pyarrow.ArrowInvalid as error:
            failed = re.search(r"In CSV column #(\d+): CSV conversion error to ([\w\[\]]+)", str(error))
            if failed is None:
                raise
            name = self._column_name(int(failed.group(1)), reader, uri, separator)
            self._widen(name, failed.group(2))

    def _agree(self, schema: pyarrow.Schema) -> None:
        """Begin again if an earlier file read as numbers what a later one has as text: its `007` has become 7."""
        import pyarrow

        for field in schema:
            if pyarrow.types.is_binary(field.type):
                raise InvalidSpecError(
                    "source.encoding", self.source.encoding, f"the text of {field.name!r} is in another encoding"
                )
            before = self._seen.setdefault(field.name, field.type)
            together = wider_type(before, field.type)
            if (
                pyarrow.types.is_string(together)
                and not {str(before), str(field.type)} & {"null"}
                and before != field.type
            ):
                self._csv_types[field.name] = together
                raise ReadAgain(f"the column {field.name!r} is text in some files")
            self._seen[field.name] = together

    def _widen(self, name: str, failed_as: str) -> None:
        import pyarrow

        steps = {"null": pyarrow.int64(), "int64": pyarrow.float64()}
        tried = self._csv_types.get(name)
        if tried is not None and pyarrow.types.is_string(tried):
            raise InvalidSpecError(
                "source.encoding", self.source.encoding, f"the text of {name!r} is in another encoding"
            )
        self._csv_types[name] = steps.get(failed_as, pyarrow.string())
        raise ReadAgain(f"the column {name!r} holds more than {failed_as}")

    def _column_name(self, index: int, reader: Any, uri: str, separator: str) -> str:
        if reader is not None:
            return str(reader.schema.names[index])
        import pyarrow
        import pyarrow.csv

        with _uncompressed(uri) as file:
            head = io.BytesIO(file.readline())
        parse = pyarrow.csv.ParseOptions(delimiter=separator)
        return str(pyarrow.csv.read_csv(head, parse_options=parse).column_names[index])


def _json_lines(uri: str) -> Iterator[pyarrow.Table]:
    import pyarrow.json

    with _uncompressed(uri) as raw:
        # What file systems open need not read a number of lines by itself.
        file = io.BufferedReader(raw)
        while lines := file.readlines(_BLOCK_BYTES):
            block = b"".join(lines)
            if block.strip():
                options = pyarrow.json.ReadOptions(block_size=len(block) + 1)
                yield pyarrow.json.read_json(io.BytesIO(block), read_options=options)


def _parquet(uri: str, batch_rows: int) -> Iterator[pyarrow.Table]:
    import pyarrow

    with parquet_read.opened(uri) as file:
        yield file.schema_arrow.empty_table()
    for batch in parquet_read.batches(uri, batch_rows):
        yield pyarrow.Table.from_batches([batch])


def _uncompressed(uri: str) -> Any:
    """The bytes of a file, which is decompressed as its name says."""
    import fsspec

    return fsspec.open(uri, "rb", compression="infer")


@contextmanager
def _as_its_format(uri: str, format_: Format) -> Iterator[None]:
    """Turns whatever says that a file is not of its format into an InvalidSpecError."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowInvalid, UnicodeError, EOFError) as error:
        raise InvalidSpecError(
            "source.paths", uri, f"it cannot be read as {format_} ({error}): correct the file"
        ) from error
    except PermissionError as error:
        raise InvalidSpecError("source.paths", uri, "it may not be read: give the worker the permission") from error
    except FileNotFoundError as error:
        raise InvalidSpecError("source.paths", uri, "it was there and is gone: extract again") from error


def _find(source: FilesSource) -> list[tuple[str, Format]]:
    """All files with their formats, in the order of the names. Raises InvalidSpecError."""
    import fsspec

    found: list[tuple[str, Format]] = []
    for path in [source.paths] if isinstance(source.paths, str) else source.paths:
        try:
            fs, root = fsspec.core.url_to_fs(path)
        except (ImportError, ValueError) as error:
            raise InvalidSpecError(
                "source.paths", path, f"{error}: install what its scheme needs, or correct it"
            ) from error
        if any(sign in root for sign in "*?["):
            names = [name for name in sorted(fs.glob(root)) if fs.isfile(name)]
            hint = "no file matches the pattern: correct it"
        elif fs.isdir(root):
            names = [name for name in sorted(fs.ls(root, detail=False)) if _format_of(name) and fs.isfile(name)]
            hint = f"the directory has no files ending in {', '.join(_FORMATS)}: correct the path"
        else:
            names = [root] if fs.exists(root) else []
            hint = "there is no such file: correct the path"
        if not names:
            raise InvalidSpecError("source.paths", path, hint)
        for name in names:
            uri = fs.unstrip_protocol(name)
            format_ = source.format or _format_of(name)
            if format_ is None:
                raise InvalidSpecError(
                    "source.format", uri, "its name does not tell the format: set csv, parquet or jsonl"
                )
            if not fs.size(name):
                raise InvalidSpecError("source.paths", uri, "the file is empty: provide one with rows")
            found.append((uri, format_))
    return found


def _format_of(name: str) -> Format | None:
    lowered = name.lower()
    for ending in _COMPRESSIONS:
        lowered = lowered.removesuffix(ending)
    return next((format_ for ending, format_ in _FORMATS.items() if lowered.endswith(ending)), None)
