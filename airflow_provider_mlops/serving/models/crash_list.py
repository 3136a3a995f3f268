"""The versions that ended a process of the gateway, in a file that all workers and later gateways read."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.state_directory import state_path
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.models.activity import Action

log = logging.getLogger(__name__)

MAX_CRASHES = 200
"""Number of versions in the list; the one that crashed longest ago is removed for a new one."""
SUSPECTED = 2
"""Number of times that a version must have been involved if it is not certain that it ended the process."""
_FILE = "crashed-versions.json"


@dataclass(frozen=True)
class Crash:
    """A version that ended a process, or may have.

    Parameters
    ----------
    model, version, run_id
        The version. A version with the same number and another run is another one.
    action
        What the process was doing with it.
    cause
        How the process ended, as in "was ended by SIGABRT".
    time
        When it happened, in UTC.
    number
        Position in the history of the list; later crashes have larger numbers.
    count
        How often it happened.
    is_skipped
        Whether the version is no longer loaded.
    """

    model: str
    version: int
    run_id: str
    action: Action
    cause: str
    time: str
    number: int
    count: int
    is_skipped: bool

    @property
    def reason(self) -> str:
        """Why the version is skipped, as sentences without the last full stop."""
        did = "loading it" if self.action == "loading" else "predicting with it"
        return (
            f"A process of the gateway that was {did} {self.cause} ({self.time}). The version is skipped until it is "
            "loaded or activated through the API, or the champion alias moves to it again"
        )


@dataclass
class _Content:
    """The content of the file: the number of the latest crash, and the entries by model and version."""

    last: int
    crashes: dict[tuple[str, int], Crash]


class CrashList:
    """The list of one storage. Safe to use from several processes and threads.

    Parameters
    ----------
    path
        File with the list; it does not exist as long as nothing has crashed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     crashes = CrashList(os.path.join(directory, "crashes.json"))
    ...     version = ModelVersion(name="churn", version=3, run_id="8a1b")
    ...     _ = crashes.add(version, "predicting", "was ended by SIGSEGV")
    ...     before = crashes.find(version).cause
    ...     crashes.forget("churn", 3)
    ...     (before, crashes.find(version))
    ('was ended by SIGSEGV', None)
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._content = _Content(0, {})

    @classmethod
    def of_storage(cls, storage_uri: str) -> CrashList:
        """Return the list of a storage, which is on this machine's disk."""
        return cls(state_path(storage_uri, _FILE))

    def all(self) -> list[Crash]:
        """Return every entry, oldest first."""
        return sorted(self._read().crashes.values(), key=lambda crash: crash.number)

    def find(self, version: ModelVersion) -> Crash | None:
        """Return the crash because of which a version is skipped; None if it is not skipped."""
        crash = self._read().crashes.get((version.name, version.version))
        return crash if crash is not None and crash.is_skipped and crash.run_id == version.run_id else None

    def last_number(self) -> int:
        """Return the number of the latest crash; 0 if there was none."""
        return self._read().last

    def add(self, version: ModelVersion, action: Action, cause: str, *, is_certain: bool = True) -> Crash:
        """Add a crash. A version that is not certain to be the cause is skipped after `SUSPECTED` crashes."""
        key = (version.name, version.version)
        with self._change() as content:
            before = content.crashes.pop(key, None)
            count = before.count + 1 if before is not None and before.run_id == version.run_id else 1
            content.last += 1
            crash = content.crashes[key] = Crash(
                version.name,
                version.version,
                version.run_id,
                action,
                cause,
                datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
                content.last,
                count,
                is_certain or count >= SUSPECTED,
            )
            for oldest in sorted(content.crashes, key=lambda name: content.crashes[name].number)[:-MAX_CRASHES]:
                del content.crashes[oldest]
        return crash

    def forget(self, name: str, version: int) -> None:
        """Remove a version, because someone asks for it again."""
        if (name, version) in self._read().crashes:
            with self._change() as content:
                content.crashes.pop((name, version), None)

    def _read(self) -> _Content:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._seen, self._content = None, _Content(0, {})
            return self._content
        seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        if seen != self._seen:
            self._content, self._seen = self._parse(), seen
        return self._content

    def _parse(self) -> _Content:
        content = _Content(0, {})
        try:
            with open(self._path, encoding="utf-8") as file:
                stored = json.load(file)
            content.last = int(stored["last"])
            for entry in stored["crashes"]:
                crash = Crash(**entry)
                content.crashes[crash.model, crash.version] = crash
        except FileNotFoundError:
            pass
        except (ValueError, TypeError, KeyError) as error:
            log.warning("Ignored the unreadable part of %s: %s", self._path, error)
        return content

    @contextlib.contextmanager
    def _change(self) -> Iterator[_Content]:
        """Let the block change the content while no other process does."""
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        with open(f"{self._path}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = self._parse()
            yield content
            crashes = [asdict(crash) for crash in content.crashes.values()]
            storage.write_text(self._path, json.dumps({"last": content.last, "crashes": crashes}, indent=1))
