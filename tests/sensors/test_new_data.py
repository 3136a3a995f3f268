from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow
import pytest
from airflow.sdk import DAG
from airflow.triggers.base import TriggerEvent

from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.sensors.new_data import NewDataSensor
from airflow_provider_mlops.triggers.new_data import NewDataTrigger
from tests.helpers.airflow.session import roundtrip, serialized

OLD = datetime(2026, 1, 1, tzinfo=UTC)
NEW = datetime(2026, 2, 1, tzinfo=UTC)


def put(path: Path, modified: datetime) -> None:
    path.write_text("a\n1\n")
    os.utime(path, (modified.timestamp(), modified.timestamp()))


def dag(name: str) -> DAG:
    return DAG(dag_id=name, schedule=None, start_date=OLD)


class TestLooking:
    def test_files_newer_than_a_moment(self, tmp_path):
        put(tmp_path / "old.csv", OLD)
        put(tmp_path / "new.csv", NEW)
        put(tmp_path / "new.txt", NEW)
        (tmp_path / "directory.csv").mkdir()
        found = NewDataTrigger(paths=f"{tmp_path}/*.csv", newer_than="2026-01-15T00:00:00").check()
        assert found == {"paths": [f"{tmp_path}/new.csv"], "count": 1, "newest": NEW.isoformat()}
        assert NewDataTrigger(paths=[f"{tmp_path}/*.csv", f"{tmp_path}/*.txt"]).check()["count"] == 3
        assert NewDataTrigger(paths=f"{tmp_path}/*.csv", newer_than=NEW.isoformat()).check() is None
        assert NewDataTrigger(paths=f"{tmp_path}/missing/*.csv").check() is None

    def test_other_file_systems(self):
        import fsspec

        fsspec.filesystem("memory").pipe_file("/inbox/a.csv", b"a")
        found = NewDataTrigger(paths="memory://inbox/*.csv").check()
        assert found["paths"] == ["memory:///inbox/a.csv"]

    def test_only_so_many_files_are_named(self, tmp_path):
        for number in range(60):
            put(tmp_path / f"{number}.csv", OLD + timedelta(minutes=number))
        found = NewDataTrigger(paths=f"{tmp_path}/*.csv").check()
        assert (found["count"], len(found["paths"])) == (60, 50)
        assert found["paths"][0] == f"{tmp_path}/59.csv"

    def test_a_dataset_with_another_content(self, tmp_path):
        uri = str(tmp_path / "rows")
        trigger = NewDataTrigger(dataset_uri=uri)
        assert trigger.check() is None
        with DatasetWriter(uri, "rows") as writer:
            writer.write(pyarrow.table({"a": [1, 2]}))
            dataset = writer.commit()
        assert trigger.check() == dataset.model_dump(mode="json")
        assert NewDataTrigger(dataset_uri=uri, fingerprint=dataset.fingerprint).check() is None

    def test_a_wrong_time_names_the_field(self):
        with pytest.raises(InvalidSpecError, match="newer_than='yesterday'"):
            NewDataTrigger(paths="/nowhere/*", newer_than="yesterday").check()


class TestTrigger:
    def test_it_is_the_same_after_a_restart(self, tmp_path):
        trigger = NewDataTrigger(paths=["a", "b"], newer_than=NEW.isoformat(), poke_interval=5)
        assert roundtrip(trigger).serialize() == trigger.serialize()

    def test_it_waits_without_holding_up_the_loop_and_fires_once_a_change(self, tmp_path):
        async def scenario() -> list[TriggerEvent]:
            trigger = roundtrip(NewDataTrigger(paths=f"{tmp_path}/*.csv", poke_interval=0.05))
            events = trigger.run()
            waiting = asyncio.ensure_future(anext(events))
            ticks = 0
            for _ in range(20):
                await asyncio.sleep(0.01)
                ticks += 1
            assert not waiting.done()
            assert ticks == 20
            put(tmp_path / "first.csv", OLD)
            first = await asyncio.wait_for(waiting, 10)
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            put(tmp_path / "second.csv", NEW)
            return [first, await asyncio.wait_for(waiting, 10)]

        first, second = asyncio.run(scenario())
        assert first.payload["paths"] == [f"{tmp_path}/first.csv"]
        assert second.payload["paths"] == [f"{tmp_path}/second.csv"]

    def test_it_can_watch_an_asset(self, tmp_path):
        from airflow.sdk import Asset, AssetWatcher

        watcher = AssetWatcher(name="inbox", trigger=NewDataTrigger(paths=f"{tmp_path}/*.csv"))
        with DAG(dag_id="watched", schedule=Asset("mlops://datasets/inbox", watchers=[watcher])) as built:
            pass
        assert "NewDataTrigger" in str(serialized(built))


class TestSensor:
    def test_exactly_one_thing_to_wait_for(self):
        with pytest.raises(InvalidSpecError, match="exactly one of paths and dataset_uri"):
            NewDataSensor(task_id="wait")

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_it_returns_what_is_there_already(self, run_dag, tmp_path, deferrable):
        put(tmp_path / "new.csv", NEW)
        with dag(f"there_{deferrable}") as built:
            NewDataSensor(
                task_id="wait",
                paths=str(tmp_path / "*.csv"),
                newer_than="{{ '2026-01-15T00:00:00+00:00' }}",
                deferrable=deferrable,
            )
        ran = run_dag(built)
        assert ran.xcoms("wait")["return_value"]["paths"] == [f"{tmp_path}/new.csv"]

    def test_it_defers_and_resumes(self, run_dag, tmp_path):
        """The trigger runs inline here, and a thread puts the file that it waits for."""
        import threading

        with dag("deferred") as built:
            NewDataSensor(task_id="wait", paths=f"{tmp_path}/*.csv", poke_interval=0.2, deferrable=True)
        timer = threading.Timer(8, put, (tmp_path / "late.csv", NEW))
        timer.start()
        ran = run_dag(built)
        timer.join()
        assert ran.state == "success"
        assert ran.xcoms("wait")["return_value"]["paths"] == [f"{tmp_path}/late.csv"]

    def test_a_wrong_time_fails_without_a_retry(self, run_dag, tmp_path):
        with dag("wrong_time") as built:
            NewDataSensor(
                task_id="wait",
                paths=f"{tmp_path}/*",
                newer_than="soon",
                deferrable=True,
                retries=2,
                retry_delay=timedelta(0),
            )
        ran = run_dag(built)
        assert (ran.state, ran.task("wait").try_number) == ("failed", 1)
