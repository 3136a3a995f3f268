"""Files are seen whole or not at all, and of several creators one wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_provider_mlops.data import engine, storage


@pytest.mark.parametrize("scheme", ["local", "memory"])
def test_files_can_be_written_listed_read_and_deleted(tmp_path: Path, scheme: str) -> None:
    root = str(tmp_path) if scheme == "local" else f"memory://{tmp_path.name}"
    storage.write_text(storage.join(root, "a", "one.txt"), "ü")
    storage.write_bytes(storage.join(root, "a", "two.txt"), b"2")
    assert storage.names(storage.join(root, "a")) == ["one.txt", "two.txt"]
    assert storage.read_text(storage.join(root, "a", "one.txt")) == "ü"
    assert storage.age(storage.join(root, "a", "one.txt")) < timedelta(minutes=5)
    storage.delete(storage.join(root, "a"))
    storage.delete(storage.join(root, "a"))
    assert not storage.exists(storage.join(root, "a"))
    assert storage.names(storage.join(root, "a")) == []


def test_of_many_creators_exactly_one_succeeds(tmp_path: Path) -> None:
    uri = str(tmp_path / "audit" / "00000001.json")

    def create(name: int) -> bool:
        try:
            storage.create(uri, str(name).encode())
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(40)))
    assert won.count(True) == 1
    assert storage.read_text(uri) == str(won.index(True))
    assert storage.names(str(tmp_path / "audit")) == ["00000001.json"]


def test_the_engine_spills_outside_of_the_working_directory() -> None:
    connection = engine.connect()
    (directory,) = connection.raw_sql("SELECT current_setting('temp_directory')").fetchone()
    assert Path(directory).is_absolute()
    assert not Path(directory).is_relative_to(Path.cwd())
