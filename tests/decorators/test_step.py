"""The mechanism of the decorators, with a step of the tests' own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_mlops.decorators.step import StepDecorator
from airflow_provider_mlops.errors import InvalidSpecError
from tests.helpers.airflow.ripen import RipenOperator

ripen_task: StepDecorator[Any] = StepDecorator(RipenOperator, "turn")


def dag(name: str) -> DAG:
    return DAG(dag_id=name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_function_is_the_code_of_a_task_and_calls_take_fields(run_dag):
    with dag("decorated") as built:

        @ripen_task(days=4)
        def slowly(fruit: str) -> str:
            """Turn it slowly."""
            return f"slow {fruit}"

        @task
        def pick() -> str:
            return "fig"

        first = slowly(fruit=pick())
        second = slowly.override(task_id="other")(fruit=first["fruit"], days=5)
        slowly(fruit="pear")
    assert second.operator.upstream_task_ids == {"slowly"}
    assert built.task_dict["slowly"].doc_md == "Turn it slowly."
    assert set(built.task_ids) == {"slowly", "pick", "other", "slowly__1"}
    ran = run_dag(built)
    assert ran.state == "success"
    assert ran.xcoms("slowly")["turned"] == "slow fig"
    assert ran.xcoms("slowly")["spec"]["days"] == 4
    assert ran.xcoms("other")["spec"]["days"] == 5
    assert ran.xcoms("slowly__1")["turned"] == "slow pear"


def test_without_arguments_and_mapped(run_dag):
    with dag("decorated_mapped") as built:

        @ripen_task
        def turn(fruit: str) -> str:
            return f"turned {fruit}"

        turn.partial(days=2).expand(fruit=["fig", "plum"])
        turn.override(task_id="dicts").expand_kwargs([{"fruit": "kiwi", "days": 8}])
    ran = run_dag(built)
    assert ran.state == "success"
    assert [ran.xcoms("turn", index)["turned"] for index in range(2)] == ["turned fig", "turned plum"]
    assert ran.xcoms("turn", 1)["spec"]["days"] == 2
    assert ran.xcoms("dicts", 0)["spec"] | {"fruit": "kiwi", "days": 8} == ran.xcoms("dicts", 0)["spec"]


def test_an_unknown_field_fails_when_the_dag_is_parsed():
    with dag("decorated_wrong"):

        @ripen_task(dayz=4)
        def turn(fruit: str) -> str:
            return fruit

        with pytest.raises(InvalidSpecError, match="Did you mean 'days'"):
            turn(fruit="fig")
