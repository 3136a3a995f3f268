"""The command line, as people start it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from airflow_provider_mlops.cli.app import app
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow_provider_mlops.cli", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MLFLOW"))}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**clean, **environment})


def test_help_names_what_works() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "serve" in result.output
    assert "traffic" in result.output
    assert "step" in result.output
    # Wide, so that no option is broken over two lines.
    result = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    for option in ("--host", "--port", "--storage-uri", "--tracking-uri", "--registry-uri", "--token", "--model"):
        assert option in result.output


def test_the_command_is_installed() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "airflow-mlops"), "--help"], capture_output=True, timeout=60
    )
    assert done.returncode == 0


def test_serve_on_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("serve", "--port", str(taken.getsockname()[1]), "--storage-uri", str(tmp_path))
    assert done.returncode == 2
    assert "port=" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_with_remote_storage_needs_a_token_and_a_server() -> None:
    done = run("serve", "--port", "0", "--storage-uri", "memory://mlops", "--token", "secret")
    assert done.returncode == 2
    assert "tracking_uri" in done.stderr
    done = run("serve", "--port", "0", "--storage-uri", "memory://mlops", "--tracking-uri", "http://127.0.0.1:1")
    assert done.returncode == 2
    assert "AIRFLOW_MLOPS_GATEWAY_TOKEN" in done.stderr


def test_a_replay_says_at_once_that_its_summary_has_no_place(tmp_path: Path) -> None:
    place = tmp_path / "nowhere" / "summary.json"
    result = CliRunner().invoke(app, ["traffic", "rows.csv", "churn", "--json", str(place)], env={"TERM": "dumb"})
    assert result.exit_code == 2
    assert "no directory" in result.output


def test_a_report_of_nothing_names_what_was_asked_for(tmp_path: Path) -> None:
    store = RolloutStore(default_url(str(tmp_path)))
    assert store.all_active() == []
    store.close()
    result = CliRunner().invoke(app, ["report", "churn", "--storage-uri", str(tmp_path)])
    assert result.exit_code == 2
    assert "rollout='churn': the rollout store sqlite:///" in result.output


def test_a_report_makes_no_store_where_there_is_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", "churn", "--storage-uri", str(tmp_path)])
    assert result.exit_code == 2
    assert "there is no rollout store" in result.output
    assert list(tmp_path.iterdir()) == []


def test_step(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n2,y\n")
    request = {
        "step": "extract",
        "spec": {"dataset_name": "rows", "source": {"kind": "files", "paths": str(tmp_path / "rows.csv")}},
        "workspace": {
            "storage_uri": str(tmp_path / "storage"),
            "task": {"dag_id": "d", "run_id": "r", "task_id": "t"},
        },
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    done = run("step", str(tmp_path / "request.json"), str(tmp_path / "result.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())["result"]
    assert Dataset.model_validate(result["dataset"]).manifest.rows == 2

    request["spec"] = {"dataset_name": "rows"}
    (tmp_path / "request.json").write_text(json.dumps(request))
    done = run("step", str(tmp_path / "request.json"), str(tmp_path / "result.json"))
    assert done.returncode == 1
    assert json.loads((tmp_path / "result.json").read_text())["error"]["type"] == "InvalidSpecError"
