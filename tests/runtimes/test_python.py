"""The runtime under another interpreter, for real: the steps run where Airflow cannot be imported."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.extract import step as extract
from airflow_provider_mlops.lifecycle.prepare import step as prepare
from airflow_provider_mlops.lifecycle.user_code import UserCode
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.runtimes.in_task import InTaskRuntime
from airflow_provider_mlops.runtimes.python import PythonRuntime


def spec_with(dataset: Dataset, body: str, **fields: Any) -> prepare.PrepareSpec:
    """The spec of a prepare step whose features code is `body`, as it comes from a DAG file."""
    source = "def features(table):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n    return table\n"
    code = UserCode(name="features", source=source)
    return prepare.STEP.parse({"dataset": dataset, "target": "target", "features": code, "reuse": False, **fields})


def write_to(path: Path, expression: str) -> str:
    return f"import json, os, sys\nopen({str(path)!r}, 'w').write(json.dumps({expression}))"


def test_airflow_cannot_be_imported_there(step_python: str) -> None:
    asked = "import importlib.util as u; print([u.find_spec(n) is None for n in ('airflow', 'airflow_provider_mlops')])"
    done = subprocess.run([step_python, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[True, False]"


def test_it_does_what_the_task_itself_would(step_python: str, dataset: Dataset, workspace: Workspace) -> None:
    spec = spec_with(dataset, "table = table.mutate(b=table.a * 2)", split={"method": "stratified"})
    there = PythonRuntime(step_python).run(prepare.STEP, spec, workspace)
    here = InTaskRuntime().run(prepare.STEP, spec, workspace)
    assert isinstance(there, prepare.PrepareResult)
    assert there == here
    assert there.train.manifest.created_by == workspace.task


def test_the_process_knows_nothing_of_airflow(
    step_python: str, dataset: Dataset, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "fernet")
    monkeypatch.setenv("AIRFLOW_CONN_DATABASE", "postgres://secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("AWS_PROFILE", "ml")
    monkeypatch.setenv("AWS_REGION", "eu")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/ca.pem")
    monkeypatch.chdir(tmp_path)
    seen = tmp_path / "seen.json"
    body = write_to(seen, "[dict(os.environ), sys.argv, sys.path, sorted(m for m in sys.modules if 'airflow' in m)]")
    runtime = PythonRuntime(step_python, environment={"MODE": "test"}, pass_environment=("AWS_PROF*",))
    runtime.run(prepare.STEP, spec_with(dataset, body), workspace)
    environment, _, path, modules = json.loads(seen.read_text())
    assert not [name for name in environment if name.startswith("AIRFLOW_") and "MLOPS" not in name]
    assert "PYTHONPATH" not in environment
    assert "AWS_REGION" not in environment
    assert (environment["MODE"], environment["AWS_PROFILE"]) == ("test", "ml")
    assert environment["REQUESTS_CA_BUNDLE"] == "/etc/ssl/ca.pem"
    assert not any(module == "airflow" or module.startswith("airflow.") for module in modules)
    assert not {"", str(tmp_path)} & set(path)


def test_secrets_travel_by_the_environment_only(
    step_python: str, dataset: Dataset, workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s3cr3t-4711"
    workspace = workspace.model_copy(update={"secrets": {"mlflow_token": SecretStr(secret)}})
    seen = tmp_path / "seen.json"
    body = """
        import json, sys
        from pathlib import Path
        from airflow_provider_mlops.lifecycle.workspace import Workspace
        request = Path(sys.argv[1]).read_text()
        workspace = Workspace.model_validate(json.loads(request)["workspace"])
        report = {"argv": sys.argv, "request": request, "mode": Path(sys.argv[1]).parent.stat().st_mode & 0o777,
                 "secret": workspace.secret("mlflow_token")}
    """
    body = textwrap.dedent(body) + f"Path({str(seen)!r}).write_text(json.dumps(report))"
    with caplog.at_level(logging.DEBUG):
        PythonRuntime(step_python).run(prepare.STEP, spec_with(dataset, body), workspace)
    report = json.loads(seen.read_text())
    assert report["secret"] == secret
    assert secret not in report["request"] + " ".join(report["argv"]) + caplog.text
    assert report["mode"] == 0o700
    assert not Path(report["argv"][1]).exists()


class Arrivals(logging.Handler):
    """Log records with the time at which they came."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[float, logging.LogRecord]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((time.monotonic(), record))

    def only(self, text: str) -> tuple[float, logging.LogRecord]:
        (arrival,) = [(at, record) for at, record in self.records if text in record.getMessage()]
        return arrival


@pytest.fixture
def arrivals() -> Any:
    handler = Arrivals()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def test_logs_come_as_they_are_written(
    step_python: str, dataset: Dataset, workspace: Workspace, arrivals: Arrivals
) -> None:
    body = """
        import logging, sys, time, warnings
        logging.getLogger("my.features").warning("a warning of %s\\nwith a second line", "mine")
        logging.getLogger("my.features").debug("too quiet")
        logging.getLogger("my.features").info("an info")
        print("printed ü")
        sys.stderr.write("on standard error\\n")
        warnings.warn("deprecated thing")
        time.sleep(3)
    """
    PythonRuntime(step_python).run(prepare.STEP, spec_with(dataset, body), workspace)
    ended = time.monotonic()
    at, record = arrivals.only("a warning of mine")
    assert (record.name, record.levelname) == ("my.features", "WARNING")
    assert record.getMessage() == "a warning of mine\nwith a second line"
    assert ended - at > 2.5
    assert arrivals.only("an info")[1].levelname == "INFO"
    assert arrivals.only("printed ü")[1].levelname == "INFO"
    assert arrivals.only("on standard error")[1].levelname == "INFO"
    assert arrivals.only("deprecated thing")[1].levelname == "WARNING"
    assert not [record for _, record in arrivals.records if "too quiet" in record.getMessage()]


def test_errors_keep_their_type(step_python: str, dataset: Dataset, workspace: Workspace) -> None:
    runtime = PythonRuntime(step_python)
    with pytest.raises(InvalidSpecError, match="drop='nothing': it must be a column") as invalid:
        runtime.run(prepare.STEP, spec_with(dataset, "", drop=["nothing"]), workspace)
    assert (invalid.value.field, invalid.value.value) == ("drop", "nothing")
    with pytest.raises(RejectedError, match="keep none of the 100 rows"):
        runtime.run(prepare.STEP, spec_with(dataset, "", filters=["a > 1000"]), workspace)
    raise_unavailable = """
        from airflow_provider_mlops.errors import BackendUnavailableError
        raise BackendUnavailableError("Store", "x:1", "connection refused", "Check its port")
    """
    with pytest.raises(BackendUnavailableError) as unavailable:
        runtime.run(prepare.STEP, spec_with(dataset, raise_unavailable), workspace)
    assert str(unavailable.value) == "Store at x:1 is unavailable (connection refused). Check its port."
    assert unavailable.value.hint == "Check its port"
    own = """
        from airflow_provider_mlops.errors import RejectedError
        class TooFew(RejectedError):
            pass
        raise TooFew("only three")
    """
    with pytest.raises(RejectedError, match="only three"):
        runtime.run(prepare.STEP, spec_with(dataset, own), workspace)


LOOK_UP_HOSTS = """
    import json, socket, sys, time
    assert "mlflow" not in sys.modules
    hosts = []
    def look_up(host, *arguments, **keywords):
        hosts.append(host)
        raise socket.gaierror("no network in this test")
    socket.getaddrinfo = look_up
    import mlflow
    from mlflow.telemetry import get_telemetry_client
    client = get_telemetry_client()
    if client is not None:
        client.activate()
    for _ in range(100):
        if not client or hosts:
            break
        time.sleep(0.1)
    open({path!r}, "w").write(json.dumps(hosts))
"""


@pytest.mark.parametrize(("environment", "looked_up"), [({}, False), ({"MLFLOW_DISABLE_TELEMETRY": "false"}, True)])
def test_mlflow_reports_nothing_from_a_step_unless_the_user_wants_it(
    step_python: str,
    dataset: Dataset,
    workspace: Workspace,
    tmp_path: Path,
    environment: dict[str, str],
    looked_up: bool,
) -> None:
    path = tmp_path / "hosts.json"
    spec = spec_with(dataset, LOOK_UP_HOSTS.format(path=str(path)))
    PythonRuntime(step_python, environment=environment).run(prepare.STEP, spec, workspace)
    assert bool(json.loads(path.read_text())) == looked_up


def test_names_from_the_dag_file_are_explained(step_python: str, dataset: Dataset, workspace: Workspace) -> None:
    spec = spec_with(dataset, "table = table.mutate(b=np.pi)")
    with pytest.raises(InvalidSpecError, match=r"'features': .*defined outside of it: np"):
        PythonRuntime(step_python).run(prepare.STEP, spec, workspace)


def test_a_defect_is_distinguished_from_an_error(
    step_python: str, dataset: Dataset, workspace: Workspace, arrivals: Arrivals
) -> None:
    spec = spec_with(dataset, "raise KeyError('my own mistake')")
    with pytest.raises(RuntimeError, match=r"step prepare failed with KeyError: 'my own mistake'.*traceback"):
        PythonRuntime(step_python).run(prepare.STEP, spec, workspace)
    _, record = arrivals.only("Traceback")
    assert record.levelname == "ERROR"
    assert "in features" in record.getMessage()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", "step prepare was killed by signal 9 without a result"),
        (
            "import os; print('out of here', flush=True); os._exit(3)",
            "exited with code 3 .* last line .*: out of here",
        ),
    ],
)
def test_a_process_that_ends_without_a_result(
    step_python: str, dataset: Dataset, workspace: Workspace, body: str, message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        PythonRuntime(step_python).run(prepare.STEP, spec_with(dataset, body), workspace)


@pytest.mark.parametrize("python", ["/nowhere/python", "/tmp", __file__])
def test_an_interpreter_that_cannot_run(dataset: Dataset, workspace: Workspace, python: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"runtime\.python='.*': .* executable Python interpreter"):
        PythonRuntime(python).run(prepare.STEP, spec_with(dataset, ""), workspace)


def test_an_interpreter_without_the_package(tmp_path: Path, dataset: Dataset, workspace: Workspace) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "empty")], check=True)
    with pytest.raises(InvalidSpecError, match=r"runtime\.python='.*': airflow-provider-mlops is not installed"):
        PythonRuntime(str(tmp_path / "empty/bin/python")).run(prepare.STEP, spec_with(dataset, ""), workspace)


SLEEPS = """
    import os, subprocess, time
    sleeper = subprocess.Popen(["sleep", "300"])
    with open({path!r} + ".part", "w") as file:
        file.write(f"{{os.getpid()}} {{sleeper.pid}}")
    os.rename({path!r} + ".part", {path!r})
    time.sleep({seconds})
"""


def wait_for(path: Path, seconds: float = 90) -> list[int]:
    """The process ids that the file at `path` comes to hold."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.05)
    return [int(pid) for pid in path.read_text().split()]


def is_gone(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_kill_ends_the_step_and_what_it_started(
    step_python: str, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "pids"
    runtime = PythonRuntime(step_python)
    runtime.kill()  # nothing runs yet
    raised: list[BaseException] = []

    def run() -> None:
        try:
            runtime.run(prepare.STEP, spec_with(dataset, SLEEPS.format(path=str(path), seconds=300)), workspace)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    pids = wait_for(path)
    runtime.kill()
    thread.join(20)
    assert not thread.is_alive()
    assert "was killed by signal 9" in str(raised[0])
    assert all(is_gone(pid) for pid in pids)
    runtime.kill()  # nothing runs any more


def test_what_a_step_leaves_running_is_not_waited_for(
    step_python: str, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "pids"
    spec = spec_with(dataset, SLEEPS.format(path=str(path), seconds=0))
    assert PythonRuntime(step_python).run(prepare.STEP, spec, workspace)
    assert all(is_gone(pid) for pid in wait_for(path, 1))


class Timeout(BaseException):
    """As Airflow raises it in the middle of a task."""


def test_an_exception_in_the_task_ends_the_step(
    step_python: str, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "pids"

    def on_alarm(number: int, frame: object) -> None:
        if not path.exists():
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            return
        raise Timeout

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Timeout):
            PythonRuntime(step_python).run(
                prepare.STEP, spec_with(dataset, SLEEPS.format(path=str(path), seconds=300)), workspace
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(is_gone(pid) for pid in wait_for(path, 1))


def test_a_killed_task_takes_the_step_with_it(
    step_python: str, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "pids"
    spec = spec_with(dataset, SLEEPS.format(path=str(path), seconds=300))
    program = f"""
import sys
from airflow_provider_mlops.lifecycle.prepare import step as prepare
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.runtimes.python import PythonRuntime
spec = prepare.PrepareSpec.model_validate_json({spec.model_dump_json()!r})
workspace = Workspace.model_validate_json({workspace.model_dump_json()!r})
PythonRuntime({step_python!r}).run(prepare.STEP, spec, workspace)
"""
    task = subprocess.Popen([sys.executable, "-c", program])
    step, sleeper = wait_for(path)
    task.kill()  # SIGKILL: no handler runs
    task.wait()
    try:
        assert is_gone(step)
    finally:
        os.kill(sleeper, signal.SIGKILL)


def test_other_steps_run_there_too(step_python: str, workspace: Workspace) -> None:
    spec = extract.STEP.parse({"dataset_name": "cancer", "source": {"kind": "sklearn", "name": "breast_cancer"}})
    result = PythonRuntime(step_python).run(extract.STEP, spec, workspace)
    assert isinstance(result, extract.ExtractResult)
    assert result.rows == 569
    assert (
        repr(PythonRuntime("/opt/python")) == "PythonRuntime(python='/opt/python', environment={}, pass_environment=())"
    )
