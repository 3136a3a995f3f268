"""Files under a storage URI: any fsspec scheme, a local directory by default.

A write is seen whole or not at all. On object stores that is what a put does; on a local disk it
takes a temporary name and a rename.
"""

from __future__ import annotations

import inspect
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, cast

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def locate(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of `uri` and the path on it."""
    import fsspec

    fs, path = cast("tuple[AbstractFileSystem, str]", fsspec.core.url_to_fs(uri))
    # Object stores remember what a directory held, and would not see what other processes have written since.
    fs.invalidate_cache()
    return fs, path


def join(uri: str, *parts: str) -> str:
    """Append path parts to a URI.

    >>> join("s3://bucket/mlops/", "datasets", "a")
    's3://bucket/mlops/datasets/a'
    """
    return "/".join((uri.rstrip("/"), *(part.strip("/") for part in parts)))


def is_local(uri: str) -> bool:
    """Whether `uri` lies on this machine's disk.

    >>> [is_local(uri) for uri in ("/data", "data/x", "file:///data", "s3://bucket/x", "mlflow-artifacts:/1/x")]
    [True, True, True, False, False]
    """
    scheme, separator, _ = uri.partition(":")
    return not separator or "/" in scheme or scheme in ("file", "local")


def local_path(uri: str) -> str:
    """The path on disk of a local `uri`."""
    return locate(uri)[1]


def exists(uri: str) -> bool:
    """Whether a file or a directory lies at `uri`."""
    fs, path = locate(uri)
    return bool(fs.exists(path))


def is_file(uri: str) -> bool:
    """Whether a file lies at `uri`, and not a directory."""
    fs, path = locate(uri)
    return bool(fs.isfile(path))


def read_bytes(uri: str) -> bytes:
    """The whole file at `uri`. Raises FileNotFoundError."""
    fs, path = locate(uri)
    return cast("bytes", fs.cat_file(path))


def read_text(uri: str) -> str:
    """The whole file at `uri` as UTF-8. Raises FileNotFoundError."""
    return read_bytes(uri).decode()


def write_bytes(uri: str, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    fs, path = locate(uri)
    if not is_local(uri):
        fs.pipe_file(path, content)
        return
    _name_when_written(path, content, os.replace)


def write_text(uri: str, content: str) -> None:
    """`write_bytes` for text in UTF-8."""
    write_bytes(uri, content.encode())


def create(uri: str, content: bytes) -> None:
    """Write a file that must not be there yet; of several writers exactly one succeeds.

    Raises FileExistsError for the others, and InvalidSpecError where it cannot be done. On a local
    disk a hard link makes the name, so that a writer that dies half-way leaves no name behind; object
    stores do it with a conditional put.
    """
    fs, path = locate(uri)
    if not is_local(uri):
        _require_exclusive(fs, uri)
        fs.pipe_file(path, content, mode="create")
        return
    _name_when_written(path, content, os.link)


def _require_exclusive(fs: AbstractFileSystem, uri: str) -> None:
    """Refuse an s3fs before 2024.12 and a botocore before 1.35.21: they write over what is there all the same."""
    if "s3" not in fs.protocol:
        return
    botocore = tuple(int(number) for number in version("botocore").split(".")[:3])
    if "mode" not in inspect.signature(fs._pipe_file).parameters or botocore < (1, 35, 21):
        raise InvalidSpecError(
            "storage_uri",
            uri,
            "the installed s3fs or botocore cannot create a file only if it is not there: "
            "install s3fs>=2024.12 and aiobotocore>=2.16",
        )


def _name_when_written(path: str, content: bytes, name: Callable[[str, str], None]) -> None:
    """Write a local file under a temporary name, and let `name` give it its own once it is on the disk."""
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
    """The sorted names of the files and directories directly under `uri`; empty if it is not there."""
    fs, path = locate(uri)
    if not fs.exists(path):
        return []
    entries = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in fs.ls(path, detail=False))
    return sorted(name for name in entries if not name.endswith(".tmp"))


def age(uri: str) -> timedelta:
    """How long ago the file at `uri` was last written; no time at all where the file system does not say."""
    fs, path = locate(uri)
    try:
        written = fs.modified(path)
    except (NotImplementedError, FileNotFoundError):
        return timedelta(0)
    if written.tzinfo is None:
        written = written.replace(tzinfo=UTC)
    return datetime.now(UTC) - cast("datetime", written)


def delete(uri: str) -> None:
    """Remove the file or the directory at `uri` with all that is in it; nothing happens if it is not there."""
    fs, path = locate(uri)
    if fs.exists(path):
        fs.rm(path, recursive=True)
