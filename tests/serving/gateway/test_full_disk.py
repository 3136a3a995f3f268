"""The disk of the log directory fills up under load from another process: what cannot be logged is not answered."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlops.serving.log import prediction_log
from tests.helpers.serving.live_gateway import LiveGateway

LOAD = """
import json, sys, time
import httpx
url, path, seconds = sys.argv[1:]
refused = 0
until = time.monotonic() + float(seconds)
with httpx.Client() as client, open(path, "w") as acknowledged:
    body = json.dumps({"instances": [[float(n) for n in range(30)]]})
    while time.monotonic() < until:
        answer = client.post(url, content=body)
        if answer.status_code == 200:
            acknowledged.write(answer.json()["prediction_ids"][0] + "\\n")
        else:
            assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
            assert "could not be logged" in answer.json()["error"], answer.text
            refused += 1
print(refused)
"""


@pytest.fixture
def small_disk(storage: Path) -> Iterator[Path]:
    """The write-ahead log on a disk of 2 MiB."""
    directory = storage / "write-ahead"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=False)


def test_a_full_disk_under_load(storage: Path, small_disk: Path, tmp_path: Path) -> None:
    process = LiveGateway.launch(storage, "--model", "cancer", "--compact-seconds", "1000").wait_until_ready()
    filler = small_disk / "filler"
    try:
        url = f"{process.url}/models/cancer/invocations"
        paths = [tmp_path / f"acknowledged-{number}" for number in range(3)]
        loads = [
            subprocess.Popen([sys.executable, "-c", LOAD, url, str(path), "6"], stdout=subprocess.PIPE)
            for path in paths
        ]
        time.sleep(2)
        with filler.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(b"\0" * 4096)
                except OSError:
                    break
        time.sleep(2)
        filler.unlink(missing_ok=True)
        refused = 0
        for load in loads:
            output, _ = load.communicate(timeout=30)
            assert load.returncode == 0
            refused += int(output)
        # Refused while the disk was full, and answered again after.
        assert refused > 0
        process.kill()
    finally:
        process.kill()
    acknowledged = [line for path in paths for line in path.read_text().split()]
    logged = set(prediction_log.read(str(storage), "cancer").prediction_id.execute())
    assert len(acknowledged) > 100
    lost = set(acknowledged) - logged
    assert not lost
    # What was written of a refused request is taken back.
    assert len(logged) == len(acknowledged)
