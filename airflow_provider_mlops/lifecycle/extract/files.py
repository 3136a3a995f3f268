"""The rows of CSV, Parquet and JSON Lines files at any fsspec path, streamed."""

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
from airflow_provider_mlops.lifecycle.extract.sources import FilesSource, ReadAgainError

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
    """A reader of all files of a source.

    It keeps the types of CSV columns, in case it must read again from the start.
    """

    def __init__(self, source: FilesSource) -> None:
        self.source = source
        self.files = _find(source)
        self._csv_types: dict[str, pyarrow.DataType] = {}
        self._seen: dict[str, pyarrow.DataType] = {}

    def read(self, batch_rows: int) -> Iterator[pyarrow.Table]:
        """Yield the rows in batches.

        Parameters
        ----------
        batch_rows
            Number of rows per batch of a Parquet file.

        Raises
        ------
        ReadAgainError
            If a CSV column needs a wider type than the one with which it was read so far.
        InvalidSpecError
            If a file cannot be read in its format.
        """
        self._seen = {}
        for uri, format_ in self.files:
            log.info("Reading %s as %s", uri, format_)
            with _file_errors(uri, format_):
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
        """Read again if a column is text in this file and was read as numbers before, because `007` became 7."""
        import pyarrow

        for field in schema:
            if pyarrow.types.is_binary(field.type):
                raise InvalidSpecError("source.encoding", self.source.encoding, _wrong_encoding(field.name))
            before = self._seen.setdefault(field.name, field.type)
            wider = wider_type(before, field.type)
            if (
                pyarrow.types.is_string(wider)
                and not {str(before), str(field.type)} & {"null"}
                and before != field.type
            ):
                self._csv_types[field.name] = wider
                raise ReadAgainError(f"the column {field.name!r} is text in some files and numbers in others")
            self._seen[field.name] = wider

    def _widen(self, name: str, failed_as: str) -> None:
        import pyarrow

        wider = {"null": pyarrow.int64(), "int64": pyarrow.float64()}
        tried = self._csv_types.get(name)
        if tried is not None and pyarrow.types.is_string(tried):
            raise InvalidSpecError("source.encoding", self.source.encoding, _wrong_encoding(name))
        self._csv_types[name] = wider.get(failed_as, pyarrow.string())
        raise ReadAgainError(f"the column {name!r} has values that are not of type {failed_as}")

    def _column_name(self, index: int, reader: Any, uri: str, separator: str) -> str:
        if reader is not None:
            return str(reader.schema.names[index])
        import pyarrow
        import pyarrow.csv

        with _uncompressed(uri) as file:
            head = io.BytesIO(file.readline())
        parse = pyarrow.csv.ParseOptions(delimiter=separator)
        return str(pyarrow.csv.read_csv(head, parse_options=parse).column_names[index])


def _wrong_encoding(column: str) -> str:
    return (
        f"it must be the encoding of the text in {column!r}. Set it to the encoding of the files, for example 'latin-1'"
    )


def _json_lines(uri: str) -> Iterator[pyarrow.Table]:
    import pyarrow.json

    with _uncompressed(uri) as raw:
        # Not every file object of fsspec has readlines with a size.
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
    """Open a file, decompressed according to its name."""
    import fsspec

    return fsspec.open(uri, "rb", compression="infer")


@contextmanager
def _file_errors(uri: str, format_: Format) -> Iterator[None]:
    """Turn the errors of a file that is missing or not in its format into InvalidSpecError."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowInvalid, UnicodeError, EOFError) as error:
        raise InvalidSpecError(
            "source.paths",
            uri,
            f"the file cannot be read as {format_} ({str(error).rstrip('.')}). Correct the file, or set source.format",
        ) from error
    except PermissionError as error:
        raise InvalidSpecError(
            "source.paths", uri, "the file must be readable. Give the worker the permission to read it"
        ) from error
    except FileNotFoundError as error:
        raise InvalidSpecError(
            "source.paths", uri, "the file was deleted while it was being read. Run the task again"
        ) from error


def _find(source: FilesSource) -> list[tuple[str, Format]]:
    """Return all files with their formats, sorted by name within each path."""
    import fsspec

    files: list[tuple[str, Format]] = []
    for path in [source.paths] if isinstance(source.paths, str) else source.paths:
        try:
            fs, root = fsspec.core.url_to_fs(path)
        except (ImportError, ValueError) as error:
            raise InvalidSpecError(
                "source.paths",
                path,
                f"fsspec cannot open it ({str(error).rstrip('.')}). Install the package for its scheme, or correct "
                "the path",
            ) from error
        if any(character in root for character in "*?["):
            names = [name for name in sorted(fs.glob(root)) if fs.isfile(name)]
            hint = "at least one file must match the pattern. Correct the pattern"
        elif fs.isdir(root):
            names = [name for name in sorted(fs.ls(root, detail=False)) if _format_of(name) and fs.isfile(name)]
            hint = f"the directory must contain a file that ends in {', '.join(_FORMATS)}. Correct the path"
        else:
            names = [root] if fs.exists(root) else []
            hint = "the file does not exist. Correct the path"
        if not names:
            raise InvalidSpecError("source.paths", path, hint)
        for name in names:
            uri = fs.unstrip_protocol(name)
            format_ = source.format or _format_of(name)
            if format_ is None:
                raise InvalidSpecError(
                    "source.format",
                    None,
                    f"the format of {uri} cannot be inferred from its name. Set it to 'csv', 'parquet' or 'jsonl'",
                )
            if not fs.size(name):
                raise InvalidSpecError("source.paths", uri, "the file is empty. Provide a file with rows")
            files.append((uri, format_))
    return files


def _format_of(name: str) -> Format | None:
    lowered = name.lower()
    for ending in _COMPRESSIONS:
        lowered = lowered.removesuffix(ending)
    return next((format_ for ending, format_ in _FORMATS.items() if lowered.endswith(ending)), None)
