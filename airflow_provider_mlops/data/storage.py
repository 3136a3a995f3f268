"""Files under a storage URI: any fsspec scheme, a local directory by default.

Readers see a write completely or not at all. On object stores a put guarantees that; on a local disk a file is written
under a temporary name and then renamed.
"""

from __future__ import annotations

import inspect
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, cast

from airflow_provider_mlops.data.times import as_utc
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def locate(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of `uri` and the path on it."""
    import fsspec

    fs, path = cast("tuple[AbstractFileSystem, str]", fsspec.core.url_to_fs(uri))
    # fsspec caches listings of directories, and would not see what other processes have written since.
    fs.invalidate_cache()
    return fs, path


def join(uri: str, *parts: str) -> str:
    """Append path parts to a URI.

    >>> join("s3://bucket/mlops/", "datasets", "a")
    's3://bucket/mlops/datasets/a'
    """
    return "/".join((uri.rstrip("/"), *(part.strip("/") for part in parts)))


def is_local(uri: str) -> bool:
    """Return whether `uri` is a path on this machine's disk.

    >>> [is_local(uri) for uri in ("/data", "data/x", "file:///data", "s3://bucket/x", "mlflow-artifacts:/1/x")]
    [True, True, True, False, False]
    """
    scheme, separator, _ = uri.partition(":")
    return not separator or "/" in scheme or scheme in ("file", "local")


def local_path(uri: str) -> str:
    """Return the path on disk of a local `uri`."""
    return locate(uri)[1]


def exists(uri: str) -> bool:
    """Return whether there is a file or a directory at `uri`."""
    fs, path = locate(uri)
    return bool(fs.exists(path))


def is_file(uri: str) -> bool:
    """Return whether there is a file, not a directory, at `uri`."""
    fs, path = locate(uri)
    return bool(fs.isfile(path))


def read_bytes(uri: str) -> bytes:
    """Return the content of the file at `uri`. Raises FileNotFoundError."""
    fs, path = locate(uri)
    return cast("bytes", fs.cat_file(path))


def read_text(uri: str) -> str:
    """Return the content of the UTF-8 file at `uri`. Raises FileNotFoundError."""
    return read_bytes(uri).decode()


def write_bytes(uri: str, content: bytes) -> None:
    """Write a file so that a reader sees either the old or the new content, never a part."""
    fs, path = locate(uri)
    if not is_local(uri):
        fs.pipe_file(path, content)
        return
    _write_then_name(path, content, os.replace)


def write_text(uri: str, content: str) -> None:
    """Write text in UTF-8 like `write_bytes`."""
    write_bytes(uri, content.encode())


def create(uri: str, content: bytes) -> None:
    """Write a file that must not exist yet. If several writers try at once, exactly one succeeds.

    On a local disk a hard link creates the name, so that a writer that dies halfway leaves no file. Object stores use a
    conditional put.

    Raises
    ------
    FileExistsError
        The file exists, or another writer was faster.
    InvalidSpecError
        The installed client of the object store has no conditional put.
    """
    fs, path = locate(uri)
    if not is_local(uri):
        _require_exclusive(fs, uri)
        fs.pipe_file(path, content, mode="create")
        return
    _write_then_name(path, content, os.link)


def _require_exclusive(fs: AbstractFileSystem, uri: str) -> None:
    """Refuse s3fs before 2024.12 and botocore before 1.35.21, which overwrite the file instead of failing."""
    if "s3" not in fs.protocol:
        return
    botocore = tuple(int(number) for number in version("botocore").split(".")[:3])
    if "mode" not in inspect.signature(fs._pipe_file).parameters or botocore < (1, 35, 21):
        raise InvalidSpecError(
            "storage_uri",
            uri,
            "the installed s3fs or botocore is too old: it would overwrite a file that another task has just written. "
            "Install s3fs>=2024.12 and aiobotocore>=2.16",
        )


def _write_then_name(path: str, content: bytes, name: Callable[[str, str], None]) -> None:
    """Write a local file under a temporary name, and let `name` give it its own name once it is on disk."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        name(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def names(uri: str) -> list[str]:
    """Return the sorted names of the files and directories directly under `uri`; empty if it does not exist."""
    fs, path = locate(uri)
    if not fs.exists(path):
        return []
    entries = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in fs.ls(path, detail=False))
    return sorted(name for name in entries if not name.endswith(".tmp"))


def age(uri: str) -> timedelta:
    """Return the time since the file at `uri` was last written; zero if the file system does not record it."""
    fs, path = locate(uri)
    try:
        written = fs.modified(path)
    except (NotImplementedError, FileNotFoundError):
        return timedelta(0)
    return datetime.now(UTC) - as_utc(written)


def delete(uri: str) -> None:
    """Delete the file or the directory at `uri` with its content. Do nothing if it does not exist."""
    fs, path = locate(uri)
    if fs.exists(path):
        fs.rm(path, recursive=True)
