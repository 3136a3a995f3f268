"""The rollout store in SQLite and in PostgreSQL: one rollout a model, compare-and-set, history, and being away."""

from __future__ import annotations

import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, RolloutConflictError
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, StaleRolloutError, default_url
from airflow_provider_mlops.serving.rollouts.tables import METADATA
from tests.helpers.postgresql_cluster import Cluster
from tests.helpers.rollouts import canary, task

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(url: str) -> Iterator[RolloutStore]:
    store = RolloutStore(url)
    yield store
    store.close()


def promoted(rollout: Rollout) -> RolloutState:
    return transitions.promoted(rollout.plan, rollout.state, 2, NOW, "task", "all gates passed")


def test_a_rollout_is_kept_with_its_history(store: RolloutStore) -> None:
    assert store.all_active() == []
    assert store.current("churn") is None
    before = store.changes()
    rollout = store.start("churn", canary(), task(), NOW)
    assert store.get(rollout.id) == store.current("churn") == rollout
    second = store.compare_and_set(rollout, transitions.next_step(rollout.plan, rollout.state, NOW, "a", "ok"))
    third = store.compare_and_set(second, promoted(second))
    assert [state.status for state in store.history(rollout.id)] == ["running", "running", "promoted"]
    assert store.history(rollout.id)[-1] == third.state == store.get(rollout.id).state
    assert store.changes() == (before[0] + 3, before[1])
    assert [found.id for found in store.of_model("churn")] == [rollout.id]
    with pytest.raises(InvalidSpecError, match="no rollout with this id"):
        store.get("nobody")


def test_a_second_rollout_of_the_model_is_refused_until_the_first_is_settled(store: RolloutStore) -> None:
    first = store.start("churn", canary(), task(), NOW)
    with pytest.raises(RolloutConflictError, match=r"started by churn/run-1/rollout \(owner ada\).*running at step 1"):
        store.start("churn", canary(), task("run-2"))
    assert store.start("other", canary(), task("run-2")).model == "other"
    done = store.compare_and_set(first, promoted(first))
    with pytest.raises(RolloutConflictError, match="promoted at step 1"):
        store.start("churn", canary(), task("run-2"))
    # A try after a crash takes over the end; only then is there room.
    assert store.start("churn", canary(), task(try_number=2)) == done
    store.compare_and_set(done, transitions.settled(done.state, NOW, task()))
    second = store.start("churn", canary(), task("run-2"))
    back = transitions.rolled_back(second.plan, second.state, NOW, "gateway", "errors")
    store.compare_and_set(second, back)
    assert store.start("churn", canary(), task("run-2")).id == second.id
    assert store.start("churn", canary(), task("run-3")).id != second.id


def test_a_retry_joins_the_running_rollout_and_a_cleared_task_begins_anew(store: RolloutStore) -> None:
    first = store.start("churn", canary(), task())
    assert store.start("churn", canary(min_requests=7), task(try_number=2)) == first
    over = store.compare_and_set(first, transitions.ended(first.plan, first.state, NOW, "task", "enough"))
    settled = store.compare_and_set(over, transitions.settled(over.state, NOW, task(try_number=2)))
    # What the second try has settled, and could not tell any more, is told by the third. A task that is cleared after
    # its second try, and one whose run was made anew, begin again.
    third, cleared, in_new_run = task(try_number=3), task(try_number=3, first_try=3), task()
    assert store.join("churn", third) == store.start("churn", canary(), third) == settled
    assert store.join("churn", cleared) is store.join("churn", in_new_run) is None
    second = store.start("churn", canary(), cleared)
    assert second.id != first.id
    assert store.join("churn", task(try_number=4, first_try=3)) == second


def test_a_settled_rollout_is_told_by_its_task_while_another_one_is_under_way(store: RolloutStore) -> None:
    first = store.start("churn", canary(), task())
    over = store.compare_and_set(first, transitions.ended(first.plan, first.state, NOW, "task", "enough"))
    settled = store.compare_and_set(over, transitions.settled(over.state, NOW, task()))
    store.start("churn", canary(), task("run-2"))
    assert store.join("churn", task(try_number=2)) == settled
    with pytest.raises(RolloutConflictError):
        store.join("churn", task(try_number=2, first_try=2))


def test_a_retry_joins_its_rollout_also_after_the_clock_was_set_back(store: RolloutStore) -> None:
    first = store.start("churn", canary(), task(), NOW)
    over = store.compare_and_set(first, transitions.ended(first.plan, first.state, NOW, "task", "enough"))
    store.compare_and_set(over, transitions.settled(over.state, NOW, task()))
    second = store.start("churn", canary(), task(), NOW - timedelta(hours=1))
    assert store.start("churn", canary(), task(try_number=2)) == second
    assert store.join("churn", task(try_number=2)) == second


def test_of_two_changes_at_once_one_is_told_to_look_again(store: RolloutStore) -> None:
    seen = store.start("churn", canary(), task())
    store.compare_and_set(seen, transitions.held(seen.state, NOW, "task", "too few requests"))
    with pytest.raises(StaleRolloutError, match="has changed"):
        store.compare_and_set(seen, promoted(seen))
    assert store.get(seen.id).state.status == "held"
    assert len(store.history(seen.id)) == 2


def test_changes_by_many_threads_are_all_made(store: RolloutStore) -> None:
    rollout = store.start("churn", canary(), task())

    def extend(_: int) -> None:
        store.change(rollout.id, lambda seen: transitions.extended(seen.state, NOW, "task", "more"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(extend, range(20)))
    assert store.get(rollout.id).state.extensions == 20
    assert [state.extensions for state in store.history(rollout.id)] == list(range(21))


STARTS = """
import sys
from airflow_provider_mlops.errors import RolloutConflictError
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import canary, task
store = RolloutStore(sys.argv[1])
sys.stdin.readline()
try:
    print(store.start("churn", canary(), task(sys.argv[2])).id)
except RolloutConflictError:
    print("conflict")
"""


@pytest.mark.parametrize("same", [False, True])
def test_processes_that_make_the_tables_and_start_at_once(url: str, same: bool) -> None:
    """Nothing is there yet: not the file, not the tables. One starts, or all of one task join the same."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(STARTS), url, "run" if same else f"run-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outcomes = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    answers = [output.strip() for output, _ in outcomes]
    assert all(answers), [error for _, error in outcomes]
    if same:
        assert len(set(answers)) == 1
        assert "conflict" not in answers
    else:
        assert answers.count("conflict") == 3


def test_a_database_that_is_away_is_said_to_be_and_used_again(cluster: Cluster) -> None:
    store = RolloutStore(cluster.url())
    rollout = store.start("away", canary(), task())
    cluster.stop()
    try:
        with pytest.raises(BackendUnavailableError, match=r"The rollout store at postgresql\+psycopg://ada:\*\*\*@127"):
            store.changes()
        with pytest.raises(BackendUnavailableError):
            store.compare_and_set(rollout, promoted(rollout))
    finally:
        cluster.start()
    assert store.get(rollout.id) == rollout
    store.close()


def execute(store: RolloutStore, *statements: str) -> None:
    engine = create_engine(store.engine._engine.url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_tables_that_are_gone_are_an_outage_for_who_used_them(store: RolloutStore, url: str) -> None:
    store.start("churn", canary(), task())
    store.changes()
    execute(store, "ALTER TABLE changes RENAME TO aside")
    for _ in range(2):
        with pytest.raises(BackendUnavailableError, match=r"no such table|does not exist|tables are missing"):
            store.changes()
    # They come back, or somebody who begins a rollout makes them anew.
    execute(store, "ALTER TABLE aside RENAME TO changes")
    assert store.changes() == (1, 0)
    execute(store, *(f"DROP TABLE {table.name}" for table in reversed(METADATA.sorted_tables)))
    for _ in range(2):
        with pytest.raises(BackendUnavailableError):
            store.current("churn")
    other = RolloutStore(url)
    begun = other.start("churn", canary(), task("run-2"))
    other.close()
    assert store.current("churn") == begun


def test_indexes_that_a_later_release_has_added_are_made(store: RolloutStore, url: str) -> None:
    store.start("churn", canary(), task())
    execute(store, "DROP INDEX rollouts_by_model")
    other = RolloutStore(url)
    assert other.current("churn") is not None
    other.close()
    with store.engine.reading() as connection:
        found = inspect(connection).get_multi_indexes().values()
    assert "rollouts_by_model" in {index["name"] for of in found for index in of}


def test_who_reads_does_not_wait_for_who_writes(tmp_path: Path) -> None:
    url = default_url(str(tmp_path))
    writer, reader = RolloutStore(url), RolloutStore(url)
    rollout = writer.start("churn", canary(), task())
    with writer.engine.writing():
        # It has just started, as each look of a trigger does.
        assert reader.get(rollout.id) == rollout
    writer.close()
    reader.close()


def test_a_directory_that_cannot_be_written_is_said_to_be_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    store = RolloutStore(default_url(str(tmp_path / "file" / "mlops")))
    with pytest.raises(BackendUnavailableError, match="directory cannot be used"):
        store.changes()
    broken = tmp_path / "broken.db"
    broken.mkdir(mode=stat.S_IRWXU)
    with pytest.raises(BackendUnavailableError, match="unable to open"):
        RolloutStore(f"sqlite:///{broken}").changes()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://a@b/c", "SQLite or PostgreSQL"),
        ("sqlite://", "Name a file"),
        ("nonsense", "Use an SQLAlchemy URL"),
        ("postgresql+nothing://a:secret@b/c", "install its driver"),
    ],
)
def test_a_url_that_cannot_be_is_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message) as refused:
        RolloutStore(url)
    assert "secret" not in str(refused.value)


def test_no_part_of_a_password_is_shown() -> None:
    with pytest.raises(InvalidSpecError) as refused:
        RolloutStore("postgresql+nothing://a:pass@word@b/c")
    assert "word" not in str(refused.value)


def test_remote_storage_keeps_its_rollouts_in_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_url("s3://bucket/mlops").startswith("sqlite:////state/airflow-mlops/")
    assert default_url("s3://bucket/mlops/") == default_url("s3://bucket/mlops") != default_url("s3://bucket/other")
