from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, task

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.user_code import UserCode
from airflow_provider_mlops.operators.constructor import REQUIRED
from airflow_provider_mlops.operators.step import XCOM_LIMIT
from tests.helpers.airflow.ripen import RipenOperator, Shelf
from tests.helpers.airflow.session import restore, serialized


def dag(name: str, **options: Any) -> DAG:
    return DAG(dag_id=name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), **options)


def turn_twice(fruit: str) -> str:
    return f"{fruit} turned twice"


class TestParsing:
    def test_an_unknown_field_names_the_nearest_and_all_fields(self):
        with pytest.raises(InvalidSpecError) as caught:
            RipenOperator(task_id="ripen", fruit="pear", dayz=3)
        assert "Did you mean 'days'?" in str(caught.value)
        assert "fruit, days, shelf" in str(caught.value)
        assert "task ripen" in str(caught.value)

    def test_a_required_field_that_is_missing_fails(self):
        with pytest.raises(TypeError, match="fruit"):
            RipenOperator(task_id="ripen")

    def test_a_required_field_that_is_misspelt_is_named(self):
        with pytest.raises(InvalidSpecError, match=r"friut='pear': .*Did you mean 'fruit'"):
            RipenOperator(task_id="ripen", friut="pear")

    def test_a_wrong_literal_fails_and_names_the_field(self):
        with pytest.raises(InvalidSpecError, match=r"days=0: it must be at least 1"):
            RipenOperator(task_id="ripen", fruit="pear", days=0)

    def test_a_wrong_literal_fails_beside_a_template(self):
        with pytest.raises(InvalidSpecError, match=r"shelf\.kind='hot'"):
            RipenOperator(task_id="ripen", fruit="{{ params.fruit }}", shelf={"kind": "hot"})

    def test_a_template_in_a_number_is_left_for_run_time(self):
        operator = RipenOperator(task_id="ripen", fruit="pear", days="{{ params.days }}", limit="{{ none }}")
        assert operator.days == "{{ params.days }}"

    def test_default_args_reach_fields_and_explicit_ones_win(self):
        with dag("defaults", default_args={"fruit": "plum", "days": 5, "retries": 2, "mlflow_conn_id": "other"}):
            plum = RipenOperator(task_id="plum")
            pear = RipenOperator(task_id="pear", fruit="pear")
        assert (plum.fruit, plum.days, plum.retries, plum.mlflow_conn_id) == ("plum", 5, 2, "other")
        assert (pear.fruit, pear.days) == ("pear", 5)

    def test_a_subclass_may_have_arguments_of_its_own(self):
        class Picky(RipenOperator):
            def __init__(self, *, mood: str, **kwargs: Any) -> None:
                super().__init__(fruit=f"{mood} pear", **kwargs)
                self.mood = mood

        with dag("picky", default_args={"days": 4}):
            operator = Picky(task_id="ripen", mood="sad")
        assert (operator.fruit, operator.days, operator.step) == ("sad pear", 4, "ripen")

    def test_what_the_ui_shows_comes_from_the_spec(self):
        assert set(RipenOperator.template_fields) >= {"fruit", "days", "turn", "runtime", "mlflow_conn_id"}
        assert RipenOperator.template_fields_renderers["turn"] == "py"
        assert RipenOperator.template_fields_renderers["labels"] == "json"
        documentation = inspect.getdoc(RipenOperator)
        assert documentation.startswith("Ripen fruit on a shelf.")
        assert ":param days: Days on the shelf." in documentation
        assert ":param fruit: The fruit to ripen. Required." in documentation
        assert "`tries`" in documentation
        parameters = inspect.signature(RipenOperator).parameters
        assert parameters["days"].default == 3
        assert parameters["fruit"].default is REQUIRED

    def test_each_task_has_its_own_runtime(self):
        from airflow_provider_mlops.runtimes.python import PythonRuntime

        runtime = PythonRuntime("{{ params.python }}")
        first, second = (RipenOperator(task_id=name, fruit="pear", runtime=runtime) for name in ("first", "second"))
        assert first.runtime is not second.runtime
        assert first.runtime.python == runtime.python

    def test_the_dag_survives_serialization_and_is_the_same_each_time(self):
        def build() -> Any:
            with dag("serialized") as built:
                first = RipenOperator(task_id="first", fruit="pear", turn=turn_twice, shelf=Shelf(degrees=9))
                RipenOperator(task_id="second", fruit=first.output["fruit"], labels={"of": first.output["model"]})
                RipenOperator.partial(task_id="third", turn=turn_twice).expand(fruit=["a", "b"])
            return built

        assert serialized(build()) == serialized(build())
        restored = restore(serialized(build()))
        assert restored.task_dict["second"].upstream_task_ids == {"first"}
        assert restored.task_dict["first"].ui_color == "#abcdef"
        assert [link.name for link in restored.task_dict["first"].operator_extra_links] == ["MLflow run", "Report"]
        assert "turn_twice" in str(restored.task_dict["first"].turn)
        assert "0x" not in str(serialized(build()))


class TestRunning:
    def test_fields_come_as_the_spec_wants_them(self, run_dag, storage):
        with dag("fields", params={"days": 7, "labels": {"eat by": "May"}, "limit": None}) as built:
            RipenOperator(
                task_id="ripen",
                owner="ada",
                fruit="{{ dag.dag_id }}",
                days="{{ params.days }}",
                labels="{{ params.labels }}",
                limit="{{ params.limit }}",
                names="{{ ['a', 'b'] }}",
                shelf=Shelf(kind="warm", degrees=20),
                turn=turn_twice,
                every=timedelta(minutes=5),
            )
        ran = run_dag(built)
        assert ran.state == "success"
        xcoms = ran.xcoms("ripen")
        spec = xcoms["spec"]
        assert spec["fruit"] == "fields"
        assert spec["days"] == 7
        assert spec["labels"] == {"eat by": "May"}
        assert spec["limit"] is None
        assert spec["names"] == ["a", "b"]
        assert spec["shelf"] == {"kind": "warm", "degrees": 20.0}
        assert spec["every"] == "PT5M"
        assert xcoms["turned"] == "fields turned twice"
        assert xcoms["return_value"]["fruit"] == "fields"
        workspace = xcoms["workspace"]
        assert workspace["storage_uri"] == str(storage)
        assert workspace["gateway_url"] == "http://127.0.0.1:8710"
        assert workspace["tracking_uri"] is None
        identity = workspace["task"]
        assert (identity["dag_id"], identity["task_id"], identity["owner"]) == ("fields", "ripen", "ada")
        assert (identity["try_number"], identity["map_index"]) == (1, -1)
        assert identity["interval_start"] is not None
        rendered = ran.rendered("ripen")
        assert rendered["shelf"] == {"kind": "warm", "degrees": 20}
        assert "turn_twice" in rendered["turn"]

    def test_text_that_native_rendering_made_a_number_is_text(self, run_dag):
        with dag("native", params={"fruit": "2026"}, render_template_as_native_obj=True) as built:
            RipenOperator(task_id="ripen", fruit="{{ params.fruit }}", days="{{ 3 }}")
        ran = run_dag(built)
        assert (ran.xcoms("ripen")["spec"]["fruit"], ran.xcoms("ripen")["spec"]["days"]) == ("2026", 3)

    def test_a_function_written_in_the_dag_is_not_called_by_templating(self, run_dag):
        def local(fruit: str) -> str:
            return f"local {fruit}"

        with dag("local_function") as built:
            RipenOperator(task_id="plain", fruit="fig", turn=local)
            RipenOperator(task_id="wrapped", fruit="fig", turn=UserCode.model_validate(local))
            RipenOperator(task_id="by_path", fruit="fig", turn="tests.operators.test_step:turn_twice")
        ran = run_dag(built)
        assert ran.xcoms("plain")["turned"] == "local fig"
        assert ran.xcoms("wrapped")["turned"] == "local fig"
        assert ran.xcoms("by_path")["turned"] == "fig turned twice"

    def test_results_wire_the_next_task_with_taskflow_in_between(self, run_dag):
        with dag("wired") as built:
            first = RipenOperator(task_id="first", fruit="fig", days=4)

            @task
            def praise(model: dict[str, Any]) -> str:
                return f"good {model['name']} {model['version']}"

            RipenOperator(
                task_id="second", fruit=praise(first.output["model"]), labels={"tries": first.output["tries"]}
            )
        ran = run_dag(built)
        assert ran.state == "success"
        assert ran.xcoms("second")["spec"]["fruit"] == "good fig model 4"
        assert ran.xcoms("second")["spec"]["labels"] == {"tries": 1}

    def test_mapped_over_a_field(self, run_dag):
        with dag("mapped") as built:

            @task
            def fruits() -> list[str]:
                return ["fig", "{{ not a template }}"]

            RipenOperator.partial(task_id="ripen", turn=turn_twice, days="{{ 1 + 1 }}").expand(fruit=fruits())
        ran = run_dag(built)
        assert ran.state == "success"
        assert ran.xcoms("ripen", 0)["spec"]["fruit"] == "fig"
        assert ran.xcoms("ripen", 0)["spec"]["days"] == 2
        assert ran.xcoms("ripen", 1)["turned"] == "{{ not a template }} turned twice"
        assert ran.xcoms("ripen", 1)["workspace"]["task"]["map_index"] == 1
        assert sorted(extra["map_index"] for _, extra in ran.asset_events()) == [0, 1]

    def test_a_result_over_the_limit_is_refused(self, run_dag):
        with dag("huge") as built:
            RipenOperator(task_id="ripen", fruit="melon", weight=17_000, retries=3, retry_delay=timedelta(0))
        ran = run_dag(built)
        assert ran.state == "failed"
        assert ran.task("ripen").try_number == 1
        assert "bulk" not in ran.xcoms("ripen")

    def test_the_limit_counts_what_airflow_stores(self, run_dag):
        def stored(ran: Any) -> int:
            return sum(len(json.dumps(value)) for value in ran.xcoms("ripen").values())

        def ripen(name: str, weight: int, **options: Any) -> Any:
            with dag(name) as built:
                RipenOperator(task_id="ripen", fruit="melon", weight=weight, **options)
            return run_dag(built)

        light = ripen("weigh", 10)
        # The bulk is stored by itself and within the return value; a digit more of the weight is, too.
        most = 10 + (XCOM_LIMIT - stored(light)) // 2 - 8
        heaviest = ripen("weigh", most)
        assert heaviest.state == "success"
        assert XCOM_LIMIT - 20 < stored(heaviest) <= XCOM_LIMIT
        assert ripen("weigh", most + 20).state == "failed"
        whole = ripen("weigh", most + 20, multiple_outputs=False)
        assert whole.state == "success"
        assert "bulk" not in whole.xcoms("ripen")

    @pytest.mark.parametrize("weather", ["wrong", "rejected"])
    def test_what_a_retry_cannot_help_is_not_retried(self, run_dag, storage, weather):
        with dag(f"no_retry_{weather}") as built:
            RipenOperator(task_id="ripen", fruit="fig", weather=weather, retries=3, retry_delay=timedelta(0))
        ran = run_dag(built)
        assert ran.state == "failed"
        assert ran.task("ripen").try_number == 1

    def test_a_value_that_is_wrong_only_at_run_time_is_not_retried(self, run_dag):
        with dag("wrong_template") as built:
            RipenOperator(task_id="ripen", fruit="fig", days="{{ 'many' }}", retries=3, retry_delay=timedelta(0))
        ran = run_dag(built)
        assert (ran.state, ran.task("ripen").try_number) == ("failed", 1)

    def test_a_backend_that_is_away_is_retried_as_the_same_task(self, run_dag):
        with dag("retried") as built:
            RipenOperator(task_id="ripen", fruit="fig", weather="away", retries=2, retry_delay=timedelta(0))
        ran = run_dag(built)
        assert (ran.state, ran.task("ripen").try_number) == ("success", 2)
        assert ran.xcoms("ripen")["tries"] == 2

    def test_a_connection_that_is_named_must_exist(self, run_dag):
        with dag("no_connection") as built:
            RipenOperator(task_id="ripen", fruit="fig", mlflow_conn_id="nowhere", retries=2, retry_delay=timedelta(0))
        ran = run_dag(built)
        assert (ran.state, ran.task("ripen").try_number) == ("failed", 1)

    def test_links_lead_to_the_run_the_version_and_the_report(self, run_dag, monkeypatch):
        monkeypatch.setenv(
            "AIRFLOW_CONN_MLFLOW_DEFAULT", '{"conn_type": "mlflow", "host": "https://u:p@mlflow.example.com/x/"}'
        )
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/base/")
        with dag("linked") as built:
            RipenOperator(task_id="ripen", fruit="fig")
            RipenOperator(task_id="rejected", fruit="fig", weather="rejected")
        ran = run_dag(built)
        links = ran.xcoms("ripen")
        assert links["_link_MlflowRunLink"] == "https://mlflow.example.com/x/#/runs/abc123"
        assert links["links"]["model_version"] == "https://mlflow.example.com/x/#/models/fig%20model/versions/3"
        report = links["_link_ReportLink"]
        assert report.startswith("https://airflow.example.com/base/mlops/files/linked/reports/linked/")
        assert report.endswith("/ripen/ripen.html")
        assert ran.xcoms("rejected")["_link_ReportLink"].endswith("/rejected/ripen.html")

    def test_links_without_an_address_find_something_to_look_into(self, run_dag, capfd, caplog):
        with dag("unlinked") as built:
            RipenOperator(task_id="ripen", fruit="fig", weather="wrong")
        ran = run_dag(built)
        assert ran.xcoms("ripen")["links"] == {}
        told = caplog.text + "".join(capfd.readouterr())
        assert "XCom not found" not in told


class TestAssets:
    def test_an_event_carries_the_lineage_and_starts_consumers(self, run_dag):
        from airflow.models.asset import AssetDagRunQueue
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with dag("producer") as producer:
            RipenOperator(task_id="ripen", fruit="fig", days=9)
        with DAG(
            dag_id="consumer", schedule=Asset("mlops://models/fig%20model"), is_paused_upon_creation=False
        ) as consumer:
            RipenOperator(task_id="ripen", fruit="fig")
        ran = run_dag(producer, consumer)
        ((uri, extra),) = ran.asset_events()
        assert uri == "mlops://models/fig%20model"
        assert extra == {
            "dag_id": "producer",
            "run_id": ran.run_id,
            "task_id": "ripen",
            "map_index": -1,
            "version": 9,
            "mlflow_run_id": "abc123",
            "weather": "fine",
        }
        with create_session() as session:
            assert session.scalars(select(AssetDagRunQueue.target_dag_id)).all() == ["consumer"]
