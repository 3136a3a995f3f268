"""The command line, as people start it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from airflow_provider_mlops import __version__
from airflow_provider_mlops.cli.app import app
from airflow_provider_mlops.cli.options import option_rows
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers import workers
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from airflow_provider_mlops.serving.traffic.traffic import Traffic
from tests.helpers.rollouts import bandit, canary, task


def run(*arguments: str, directory: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow_provider_mlops.cli", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MLFLOW"))}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=directory, env={**clean, **environment}
    )


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"airflow-provider-mlops {__version__}\n")


def test_help_names_what_works() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "serve" in result.output
    assert "traffic" in result.output
    assert "step" in result.output
    # Wide, so that no option is broken over two lines.
    result = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    for option in ("--host", "--port", "--storage-uri", "--tracking-uri", "--registry-uri", "--keys", "--model"):
        assert option in result.output


def test_the_command_is_installed() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "airflow-mlops"), "--help"], capture_output=True, timeout=60
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "field", "remedy"),
    [
        (["step", "missing.json", "result.json"], "request='missing.json'", "Check the path"),
        (["step", "text.json", "result.json"], "request='text.json'", "must be JSON"),
        (["step", "empty.json", "result.json"], "request='empty.json'", "step, spec, workspace"),
        (["step", "unknown.json", "result.json"], "step='trian'", "train"),
        (["sample", "customers", "--rows", "5"], "rows=5", "at least 1000"),
        (["traffic", "rows.csv", "churn", "--rate", "0"], "rate=0.0", "greater than 0"),
        (["traffic", "rows.csv", "churn", "--reward-from", "label"], "reward_from='label'", "'correct'"),
        (["traffic", "missing.parquet", "churn"], "missing.parquet", ""),
        (["report", "churn", "--storage-uri", "nowhere"], "rollout_store=", "--storage-uri"),
        (["rollouts", "--storage-uri", "nowhere"], "rollout_store=", "--storage-uri"),
        (["rollouts", "pause", "1a", "--reason", "r", "--storage-uri", "nowhere"], "rollout_store=", "--storage-uri"),
        (["rollouts", "resume"], "ID=''", "lists them"),
        (["rollouts", "roll-back", "1a"], "reason=None", "--reason TEXT"),
        (["rollouts", "roll-back", "1a", "--reason", " "], "reason=' '", "--reason TEXT"),
        (["rollouts", "promote", "1a", "--reason", "r", "--version", "two"], "--version", "--help"),
        (["rollouts", "promote", "1a", "2b", "--reason", "r"], "2b", "--help"),
        (["rollouts", "stop", "1a"], "'stop'", "--help"),
        (["rollouts", "pause", "--why", "r"], "--why", "--help"),
        (["rollouts", "--json", "pause", "1a", "--reason", "r"], "--json", "after the subcommand"),
        (["audit"], "MODEL", "--help"),
        (["audit", "chrun", "--storage-uri", "nowhere"], "model='chrun'", "no audit trail"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_error_is_one_sentence_and_no_traceback(
    tmp_path: Path, arguments: list[str], field: str, remedy: str
) -> None:
    (tmp_path / "text.json").write_text("step: train")
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "unknown.json").write_text(json.dumps({"step": "trian", "spec": {}, "workspace": {}}))
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    done = run(*arguments, directory=tmp_path)
    assert done.returncode == 2
    assert field in done.stderr
    assert remedy in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("airflow-mlops ")
    assert not (tmp_path / "result.json").exists()


def test_a_gateway_that_does_not_answer_is_named(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    url = f"http://127.0.0.1:{free_port}"
    done = run("traffic", str(tmp_path / "rows.csv"), "churn", "--gateway", url)
    assert done.returncode == 2
    assert url in done.stderr
    assert "unavailable" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["localhost:8710", "nonsense", "ftp://localhost"])
def test_an_invalid_url_is_named(tmp_path: Path, url: str) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    done = run("traffic", str(tmp_path / "rows.csv"), "churn", "--gateway", url)
    assert done.returncode == 2
    assert url in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("pyarrow", ["sample", "customers"], "data"),
        ("uvicorn", ["serve"], "serving"),
        ("orjson", ["traffic", "rows.csv", "churn"], "serving"),
        ("scipy", ["report", "churn"], "train"),
    ],
)
def test_a_missing_package_names_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, module: str, arguments: list[str], extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert module in result.output
    assert f"airflow-provider-mlops[{extra}]" in result.output


def test_output_that_is_not_for_a_terminal_has_no_escape_sequences() -> None:
    for arguments in ([], ["--help"], ["serve", "--help"], ["serve", "--threads", "0"], ["no-such-command"]):
        done = run(*arguments, GITHUB_ACTIONS="true")
        assert "\x1b" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_sample_writes_two_files_and_names_them(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["sample", "customers", "--rows", "1000", "--directory", str(tmp_path / "new")])
    assert result.exit_code == 0
    for name in ("customers.parquet", "customers_truth.parquet"):
        assert f"{tmp_path}/new/{name}: 1,000 rows" in result.output
        assert pyarrow.parquet.read_table(tmp_path / "new" / name).num_rows == 1000


def test_options_are_those_of_the_settings() -> None:
    rows = {row.option: row for row in option_rows(app, "serve")}
    assert rows["--threads"].default == str(Settings("storage").threads)
    assert rows["--prediction-log, --no-prediction-log"].type == "flag"
    assert rows["--storage-uri"].default == "$AIRFLOW_HOME/mlops"
    assert "AIRFLOW_MLOPS_STORAGE_URI" in rows["--storage-uri"].help
    assert {f"--{field.name.replace('_', '-')}" for field in fields(Settings)} - {
        name for option in rows for name in option.split(", ")
    } == {"--models", "--trusted-types", "--cors-origins"}
    assert [row.option for row in option_rows(app, "sample customers")] == ["--rows", "--seed", "--directory"]
    rows = {row.option: row for row in option_rows(app, "traffic")}
    assert rows["MODEL"].default == "required"
    assert len(rows) == len(fields(Traffic)) + 1
    assert all(row.help for row in rows.values())


def test_values_reach_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Settings] = []
    monkeypatch.setattr(workers, "run", lambda settings, *_, **__: taken.append(settings) or 0)
    monkeypatch.setenv("AIRFLOW_MLOPS_GATEWAY_KEYS", "")
    arguments = ["serve", "--storage-uri", str(tmp_path), "--model", "a", "--model", "b", "--no-prediction-log"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert taken == [Settings(str(tmp_path), models=("a", "b"), prediction_log=False)]


def test_serve_on_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("serve", "--port", str(taken.getsockname()[1]), "--storage-uri", str(tmp_path))
    assert done.returncode == 2
    assert "port=" in done.stderr
    assert "another port" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_with_remote_storage_needs_a_key_and_a_server() -> None:
    done = run("serve", "--port", "0", "--storage-uri", "memory://mlops", AIRFLOW_MLOPS_GATEWAY_KEY="secret")
    assert done.returncode == 2
    assert "tracking_uri" in done.stderr
    done = run("serve", "--port", "0", "--storage-uri", "memory://mlops", "--tracking-uri", "http://127.0.0.1:1")
    assert done.returncode == 2
    assert "AIRFLOW_MLOPS_GATEWAY_KEY" in done.stderr


def test_a_replay_says_at_once_that_its_summary_has_no_place(tmp_path: Path) -> None:
    place = tmp_path / "nowhere" / "summary.json"
    result = CliRunner().invoke(app, ["traffic", "rows.csv", "churn", "--json", str(place)], env={"TERM": "dumb"})
    assert result.exit_code == 2
    assert "must exist" in result.output


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
    assert "rollout store does not exist" in result.output
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
    assert "Invalid source=None" in done.stderr
    assert json.loads((tmp_path / "result.json").read_text())["error"]["type"] == "InvalidSpecError"


def test_rollouts_are_listed_with_who_checked_them(tmp_path: Path) -> None:
    store = RolloutStore(default_url(str(tmp_path)))
    first = store.start("churn", canary(), task())
    store.start("prices", bandit(), task(run="run-2"))
    store.close()
    options = ("--storage-uri", str(tmp_path))
    listed = run("rollouts", *options)
    assert (listed.returncode, listed.stderr) == (0, "")
    title, *lines = listed.stdout.splitlines()
    assert title.split() == ["model", "id", "strategy", "state", "step", "weights", "age", "last", "check", "by"]
    assert [line.split()[0] for line in lines] == ["churn", "prices"]
    assert first.id in lines[0]
    assert "champion 95%, candidate 5%" in lines[0]
    assert lines[0].rstrip().endswith("churn/run-1/rollout")
    assert "from the rewards" in lines[1]
    (row,) = map(json.loads, run("rollouts", "--model", "prices", "--json", *options).stdout.splitlines())
    assert (row["model"], row["state"], row["by"]) == ("prices", "running", "churn/run-2/rollout")
    none = run("rollouts", "--model", "other", *options)
    assert none.stdout.startswith("No rollout of other is in progress in sqlite:")
