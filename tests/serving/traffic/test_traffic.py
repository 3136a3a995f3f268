"""Traffic from a dataset against a real gateway: what is sent, what is told of it, and what happens when it dies."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.traffic.connection import Connection, UnansweredError
from airflow_provider_mlops.serving.traffic.replay import Replay
from airflow_provider_mlops.serving.traffic.requests import Requests
from airflow_provider_mlops.serving.traffic.source import Source
from airflow_provider_mlops.serving.traffic.summary import Summary
from airflow_provider_mlops.serving.traffic.traffic import Traffic
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CHURNED, CUSTOMERS

ROWS = len(CUSTOMERS)


def table() -> pa.Table:
    """The customers, with who they are, whether they left, and a note that no other has."""
    rows = pa.Table.from_pandas(CUSTOMERS, preserve_index=False)
    rows = rows.append_column("user", pa.array([f"user-{number}" for number in range(ROWS)]))
    rows = rows.append_column("churned", pa.array(CHURNED))
    return rows.append_column("note", pa.array([f"earns {income}" for income in CUSTOMERS["income"]]))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = str(tmp_path_factory.mktemp("traffic") / "customers")
    with DatasetWriter(uri, "customers") as writer:
        writer.write(table())
        writer.commit()
    return uri


def traffic(dataset: str, gateway: LiveGateway, **options: Any) -> Traffic:
    return Traffic(dataset, "churn", gateway.url, **{"rate": 1000, "even": True, "timeout": 20, **options})


def logged(gateway: LiveGateway, since: datetime) -> list[dict[str, Any]]:
    """What the gateway has logged, without the checks that it makes itself."""
    rows = prediction_log.read(str(gateway.storage), "churn", since=since)
    return list(rows.filter(rows.arm == "champion").to_pyarrow().to_pylist())


@contextmanager
def in_background(replay: Replay) -> Iterator[Callable[[], Summary]]:
    """Run it in a thread; gives a function that waits for its summary."""
    thread = threading.Thread(target=replay.run, daemon=True)
    thread.start()

    def finish() -> Summary:
        thread.join(60)
        assert not thread.is_alive(), "it hangs"
        return replay.summary

    yield finish
    if thread.is_alive():
        replay.stop()
        thread.join(30)


def wait(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_each_row_is_sent_once_and_its_own_label_comes_later(dataset: str, gateway: LiveGateway) -> None:
    since = datetime.now(UTC)
    asked = traffic(dataset, gateway, rows=3, target="note", label_delay=0.4, label_share=0.5)
    summary = Replay(asked).run()
    assert (summary.requests, summary.answered, summary.rows) == (67, 67, ROWS)
    assert (summary.errors, summary.unsent, summary.versions) == (0, 0, {1: 67})
    assert len(summary.latency) == len(summary.behind) == 67
    rows = logged(gateway, since)
    assert sorted(row["feature_income"] for row in rows) == sorted(CUSTOMERS["income"])
    labelled = [row for row in rows if row["label"] is not None]
    assert 60 < len(labelled) < 140
    assert len(labelled) == summary.labels.due == summary.labels.acknowledged
    for row in labelled:
        assert row["label"] == f"earns {row['feature_income']}"
        assert row["label_time"] - row["time"] > timedelta(seconds=0.35)


def test_rewards_of_right_answers_and_of_a_column(dataset: str, gateway: LiveGateway) -> None:
    since = datetime.now(UTC)
    summary = Replay(traffic(dataset, gateway, rows=2, target="churned", reward_from="correct", requests=50)).run()
    assert (summary.requests, summary.labels.acknowledged) == (50, 100)
    rows = logged(gateway, since)
    assert {row["reward"] for row in rows} == {0.0, 1.0}
    assert all(row["reward"] == (row["label"] == row["output"]) for row in rows)

    since = datetime.now(UTC)
    rewarded = Path(dataset).parent / "rewarded.parquet"
    pyarrow.parquet.write_table(table().append_column("worth", pa.array(CUSTOMERS["income"] / 1000)), rewarded)
    Replay(traffic(str(rewarded), gateway, reward="worth", requests=30)).run()
    rows = logged(gateway, since)
    assert len(rows) == 30
    assert all(row["reward"] == row["feature_income"] / 1000 and row["label"] is None for row in rows)


def test_the_rate_does_not_wait_for_answers(dataset: str, gateway: LiveGateway) -> None:
    """The gateway stands still meanwhile."""
    # Without `seconds` no request is too late, however slow this machine is.
    replay = Replay(traffic(dataset, gateway, rate=100, requests=50, clients=60))
    few = Replay(traffic(dataset, gateway, rate=100, seconds=0.5, clients=4))
    gateway.send_signal(signal.SIGSTOP)
    try:
        with in_background(replay) as finish, in_background(few) as finish_few:
            wait(lambda: replay.summary.requests == 50)
            assert replay.summary.answered == 0
            # Longer than a request may be late; with too few clients the others stay unsent.
            time.sleep(2)
            sent = few.summary.requests
            assert 1 <= sent <= 4
            gateway.send_signal(signal.SIGCONT)
            assert (finish().answered, finish().unsent) == (50, 0)
            assert (finish_few().answered, finish_few().unsent) == (sent, 50 - sent)
    finally:
        gateway.send_signal(signal.SIGCONT)


def test_a_dataset_begins_again_up_to_a_bound(tmp_path: Path, gateway: LiveGateway) -> None:
    few = tmp_path / "few.csv"
    CUSTOMERS.head(3).to_csv(few, index=False)
    assert Replay(traffic(str(few), gateway)).run().requests == 3
    replay = Replay(traffic(str(few), gateway, repeat=True, rows=2, requests=10))
    assert replay.expected == 10
    assert replay.run().rows == 15


def test_refusals_and_labels_that_cannot_be_are_counted(tmp_path: Path, gateway: LiveGateway) -> None:
    rows = table().slice(0, 20).to_pylist()
    rows[4]["income"] = None
    rows[7]["churned"] = "x" * 20_000
    rows[9]["churned"] = None
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    options = {"target": "churned", "label_delay": 0.2, "record": str(tmp_path / "record")}
    summary = Replay(traffic(str(tmp_path / "rows.parquet"), gateway, **options)).run()
    assert (summary.answered, summary.refused, summary.failed) == (19, {422: 1}, {})
    assert "income" in str(summary.problem)
    labels = summary.labels
    assert (labels.due, labels.acknowledged, labels.lost, labels.unsent) == (18, 17, 1, 0)
    record = [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]
    assert [line["refused"] for line in record if "refused" in line] == [422]
    assert sum(len(line.get("acknowledged", ())) for line in record) == 17
    assert sum(len(line.get("lost", ())) for line in record) == 1


def test_a_gateway_that_dies_in_the_middle(dataset: str, storage: Path) -> None:
    since = datetime.now(UTC)
    gateway = LiveGateway.launch(storage).wait_until_ready()
    port = gateway.url.rpartition(":")[2]
    again = None
    try:
        replay = Replay(traffic(dataset, gateway, rate=200, target="note", label_delay=0.3, clients=8))
        with in_background(replay) as finish:
            wait(lambda: replay.summary.answered >= 50)
            gateway.kill()
            wait(lambda: replay.summary.requests == ROWS)
            again = LiveGateway.launch(storage, "--port", port).wait_until_ready()
            summary = finish()
        assert summary.failed["connection"] > 0
        assert summary.answered + summary.failed.total() == summary.requests == ROWS
        # Those of whom nothing was known at the kill are told to the gateway that came after it.
        assert summary.labels.acknowledged == summary.labels.due == summary.answered
        labelled = [row for row in logged(again, since) if row["label"] is not None]
        assert len(labelled) == summary.answered
        assert all(row["label"] == f"earns {row['feature_income']}" for row in labelled)

        replay = Replay(traffic(dataset, again, rate=200, target="note", label_delay=0.3, label_patience=0.3))
        with in_background(replay) as finish:
            wait(lambda: replay.summary.labels.acknowledged >= 20)
            again.kill()
            summary = finish()
        assert summary.labels.lost > 0
        assert summary.labels.acknowledged + summary.labels.lost == summary.labels.due == summary.answered
        assert summary.problem
    finally:
        gateway.kill()
        if again is not None:
            again.kill()


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        connection = Connection(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        with pytest.raises(UnansweredError) as raised:
            asyncio.run(connection.post("/models/churn/invocations", b"{}"))
        assert raised.value.cause == "timeout"


def test_what_cannot_be_is_said_before_anything_is_sent(tmp_path: Path, dataset: str, gateway: LiveGateway) -> None:
    with pytest.raises(InvalidSpecError, match="does not serve a model"):
        Replay(Traffic(dataset, "nobody", gateway.url))
    for options in ({"target": "left"}, {"reward": "left"}, {"headers": {"X-User-Id": "left"}}):
        with pytest.raises(InvalidSpecError, match=r"'left'.*Use one of 'age', 'income'"):
            Replay(traffic(dataset, gateway, **options))
    with pytest.raises(InvalidSpecError, match=r"reward='note'.*numbers"):
        Replay(traffic(dataset, gateway, reward="note"))
    with pytest.raises(InvalidSpecError, match=r"target='town'.*input"):
        Replay(traffic(dataset, gateway, target="town"))
    CUSTOMERS.drop(columns="town").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(InvalidSpecError, match=r"less\.csv.*lacks.*'town'"):
        Replay(traffic(str(tmp_path / "less.csv"), gateway))
    CUSTOMERS.head(0).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(InvalidSpecError, match="no rows"):
        Replay(traffic(str(tmp_path / "none.csv"), gateway))
    with pytest.raises(InvalidSpecError, match=r"record=.*No such file or directory"):
        Replay(traffic(dataset, gateway, record=str(tmp_path / "nowhere" / "record")))
    with pytest.raises(BackendUnavailableError, match="airflow-mlops serve"):
        Replay(Traffic(dataset, "churn", "http://127.0.0.1:1"))


@pytest.mark.parametrize(
    "options",
    [
        *({"rate": 0}, {"rows": 0}, {"clients": 0}, {"label_share": 1.5}, {"label_delay": -1}, {"seconds": -1}),
        *({"reward_from": "correct"}, {"reward_from": "label"}),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InvalidSpecError, match=name):
        Traffic("rows.parquet", "churn", **options)


def test_a_column_as_a_header(tmp_path: Path) -> None:
    rows = pa.table({"x": [1.0, float("nan"), 3.0], "user": ["ada", None, "eve\r\nX-Admin: 1"]})
    pyarrow.parquet.write_table(rows, tmp_path / "rows.parquet")
    source = Source(str(tmp_path / "rows.parquet"))
    asked = Traffic(source.name, "churn", headers={"X-User-Id": "user"})
    made = list(Requests(asked, source, [{"name": "x"}]))
    assert [request.headers for request in made] == [b"X-User-Id: ada\r\n", b"", b"X-User-Id: eve X-Admin: 1\r\n"]
    assert json.loads(made[1].content) == {"dataframe_split": {"columns": ["x"], "data": [[None]]}}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow_provider_mlops.cli", "traffic", *arguments]


def test_the_command(tmp_path: Path, dataset: str, gateway: LiveGateway) -> None:
    place = tmp_path / "summary.json"
    options = ["--gateway", gateway.url, "--rate", "500", "--requests", "40", "--target", "churned"]
    options += ["--header", "X-User-Id=user", "--json", str(place), "--record", str(tmp_path / "record")]
    done = subprocess.run(command(dataset, "churn", *options), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(place.read_text())
    assert (told["requests"], told["answered"], told["versions"]) == (40, 40, {"1": 40})
    assert told["labels"] == {"due": 40, "acknowledged": 40, "lost": 0, "unsent": 0}
    assert set(told["latency_ms"]) == {"median", "p90", "p99", "worst"}
    assert "40 answered" in done.stdout
    record = [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]
    answered = [line for line in record if "answered" in line]
    assert {(line["version"], line["rows"]) for line in answered} == {(1, 1)}
    ids = {line["answered"] for line in answered}
    assert ids == {name for line in record for name in line.get("acknowledged", ())}
    assert len(ids) == len(answered) == 40
    assert all(line["time"] > 0 for line in record)

    done = subprocess.run(command(dataset, "nobody", *options), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "does not serve a model" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_it_with_a_summary(tmp_path: Path, dataset: str, gateway: LiveGateway) -> None:
    place = tmp_path / "summary.json"
    options = ["--gateway", gateway.url, "--rate", "100", "--repeat", "--json", str(place)]
    options += ["--target", "churned", "--label-delay", "3600"]
    since = datetime.now(UTC)
    process = subprocess.Popen(command(dataset, "churn", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait(lambda: process.poll() is not None or logged(gateway, since))
        process.send_signal(signal.SIGINT)
        output, problem = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, problem
    assert b"Traceback" not in problem
    told = json.loads(place.read_text())
    assert told["stopped"]
    assert told["requests"] == told["answered"] == told["labels"]["unsent"] == len(logged(gateway, since))
    assert b"answered" in output
