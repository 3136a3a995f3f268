"""A store that is locked, read-only, damaged or full is named as such, and no evidence is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from airflow_provider_mlops.errors import BackendUnavailableError, BackendUnusableError, MlopsError
from airflow_provider_mlops.serving.rollouts import store_engine
from airflow_provider_mlops.serving.rollouts.evidence.ageing import Ageing
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.router import Router
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.logged_traffic import Traffic, opened, started
from tests.helpers.postgresql_cluster import Cluster

LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
"""


class Evidence:
    """A store in a directory, a log with evidence for it, and the ingestion between them."""

    def __init__(self, directory: Path, log_directory: Path) -> None:
        self.path = directory / "rollouts.db"
        self.store = RolloutStore(f"sqlite:///{self.path}")
        self.log = opened(log_directory, segment_bytes=2000)
        self.rollout: Rollout = started(self.store)
        self.traffic = Traffic(self.log, self.rollout)
        self.ingestion = Ingestion(self.store, self.log.root, self.log)
        self.traffic.some(20)
        self.ingestion.run()

    def refused(self, kind: type[MlopsError], message: str) -> None:
        """The ingestion refuses, and keeps everything for later."""
        self.traffic.some(20)
        self.log.rotate()
        with pytest.raises(kind, match=message):
            self.ingestion.run()
        assert not all(map(self.ingestion.is_ingested, self.log.sealed()))

    def check(self) -> None:
        """Everything is counted once."""
        self.ingestion.run()
        assert self.store.statistics(self.rollout.id) == self.traffic.expected
        assert all(map(self.ingestion.is_ingested, self.log.sealed()))


@pytest.fixture
def evidence(tmp_path: Path) -> Iterator[Evidence]:
    (tmp_path / "store").mkdir()
    found = Evidence(tmp_path / "store", tmp_path)
    yield found
    found.store.close()
    found.log.close()


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[None]:
    """Mount something over a directory, or skip the test if that is not allowed here."""
    done = subprocess.run(["mount", *options, str(directory)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=False)


def test_a_store_that_another_process_locks_is_used_again_afterwards(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_engine, "_TIMEOUT_SECONDS", 0.1)
    impatient = RolloutStore(f"sqlite:///{evidence.path}")
    evidence.ingestion = Ingestion(impatient, evidence.log.root, evidence.log)
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, str(evidence.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "locked\n"
        evidence.traffic.some(20)
        for _ in range(3):
            with pytest.raises(BackendUnavailableError, match="database is locked"):
                evidence.ingestion.run()
        # A gateway still reads its routes.
        assert impatient.get(evidence.rollout.id) == evidence.rollout
        other.stdin.write("\n")
    evidence.check()
    impatient.close()


def test_a_store_on_a_disk_that_became_read_only_must_be_repaired(evidence: Evidence) -> None:
    directory = evidence.path.parent
    with mounted(directory, "--bind", str(directory)):
        # The connections of the time before would still write.
        evidence.store.close()
        subprocess.run(["mount", "-o", "remount,ro,bind", str(directory)], check=True)
        evidence.refused(BackendUnusableError, r"cannot be used \(.*\)\. .* not mounted read-only")
        subprocess.run(["mount", "-o", "remount,rw,bind", str(directory)], check=True)
        evidence.check()
        evidence.store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("is_hidden", [False, True])
def test_files_of_another_user_must_be_given_to_this_one(evidence: Evidence, is_hidden: bool) -> None:
    evidence.store.close()
    for parent in list(evidence.path.parents)[:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    for file in evidence.path.parent.iterdir():
        file.chmod(0o600 if is_hidden else 0o644)
    os.seteuid(65534)
    try:
        with pytest.raises(BackendUnusableError, match="check their owner and mode"):
            evidence.store.start("other", evidence.rollout.plan, evidence.rollout.started_by)
    finally:
        os.seteuid(0)
    evidence.check()


def damage(path: Path) -> None:
    """Overwrite most pages, but not the first one."""
    content = bytearray(path.read_bytes())
    content[8192:] = b"\x5a" * (len(content) - 8192)
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["damaged", "another file"])
def test_a_damaged_store_says_how_to_go_on_and_loses_no_evidence(
    evidence: Evidence, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    evidence.store.close()
    with closing(sqlite3.connect(evidence.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = tmp_path / "backup.db"
    shutil.copy(evidence.path, backup)
    if kind == "damaged":
        damage(evidence.path)
    else:
        evidence.path.write_text("This is no database. " * 500)
    evidence.refused(
        BackendUnusableError, r"(malformed|not a database).*restore the file from a backup or move it away"
    )
    assert not [record for record in caplog.records if "Skipped" in record.getMessage()]
    with pytest.raises(BackendUnusableError):
        Ageing(evidence.store.engine).run()
    router = Router(evidence.store, by="test", is_ready=lambda model, version: True)
    router.poll()
    router.poll()
    assert router.error is not None
    assert "restore the file" in router.error
    warnings = [record for record in caplog.records if "Could not read the rollout store" in record.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].exc_info is None
    # As the message says, with the gateway running or not.
    evidence.store.close()
    for name in ("rollouts.db-wal", "rollouts.db-shm"):
        (evidence.path.parent / name).unlink(missing_ok=True)
    evidence.path.unlink()
    backup.rename(evidence.path)
    evidence.check()


def fill(path: Path) -> None:
    """Write until the disk takes no more."""
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def test_a_full_disk_under_the_store_delays_evidence_only(tmp_path: Path) -> None:
    directory = tmp_path / "small"
    directory.mkdir()
    with mounted(directory, "-t", "tmpfs", "-o", "size=16m", "tmpfs"):
        evidence = Evidence(directory, tmp_path)
        filler = directory / "filler"
        fill(filler)
        # The journal has some room left.
        with contextlib.suppress(BackendUnavailableError):
            for _ in range(200):
                evidence.traffic.some(50)
                evidence.ingestion.run()
        evidence.refused(BackendUnavailableError, r"disk is full\)\. Free space on its disk")
        filler.unlink()
        evidence.check()
        evidence.store.close()


def test_a_user_without_rights_is_no_outage(cluster: Cluster) -> None:
    store = RolloutStore(cluster.url())
    started(store, None)
    store.close()
    cluster.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    guest = RolloutStore(cluster.url().replace(cluster.url().partition("//")[2].partition("@")[0], "guest:guest"))
    with pytest.raises(BackendUnusableError, match=r"permission denied.*Grant its user the rights"):
        guest.changes()
    guest.close()
