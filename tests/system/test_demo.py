"""The demo as a process of its own, interrupted before it has shown anything."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.sessions import end_sessions, members

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_demo_says_so_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    terminal, end = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    demo = subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=REPOSITORY,
        env=environment | {"MLOPS_DEMO_HOME": str(tmp_path)},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        # As a shell starts what is to run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,
    )
    os.close(end)
    leaders: list[int] = []
    try:
        sessions = tmp_path / "1" / "sessions.json"
        deadline = time.monotonic() + 60
        # MLflow and Airflow are started at once, the gateway when MLflow answers.
        while not (sessions.exists() and sessions.read_text().count(":") >= 2) and time.monotonic() < deadline:
            time.sleep(0.05)
        leaders = [int(pid) for pid in json.loads(sessions.read_text())]
        assert members(leaders)
        demo.send_signal(number)
        assert demo.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
        if number == signal.SIGKILL:
            # Its guard ends them.
            deadline = time.monotonic() + 30
            while members(leaders) and time.monotonic() < deadline:
                time.sleep(0.1)
        else:
            assert not sessions.exists()
        assert members(leaders) == []
    finally:
        demo.kill()
        end_sessions(leaders, grace=1.0)
        os.close(terminal)
