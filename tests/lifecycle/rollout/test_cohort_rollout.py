"""Rollouts that start with a cohort, from beginning to end: real requests, gateway, MLflow, store and step."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pandas as pd
import pytest
from rich.console import Console

from airflow_provider_mlops.data import engine
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.monitor.window import open_window
from airflow_provider_mlops.lifecycle.rollout import report
from airflow_provider_mlops.lifecycle.rollout.counterfactual import logged_decisions
from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import customers, records
from tests.helpers.serving.live_rollouts import Rollouts

ROW = {"age": 40.0, "income": 30_000.0, "plan": "basic"}
STAFF = {"name": "X-Group", "values": ["staff", "beta"], "min_requests": 20, "gates": []}
LIMIT = [{"kind": "error_rate", "max_rate": 0.5}]


class Callers:
    """Callers of a model, who remember which versions have answered."""

    def __init__(self, gateway: LiveGateway, name: str) -> None:
        self._url = f"{gateway.url}/models/{name}/invocations"
        self.ids: list[str] = []

    def ask(self, times: int, *, headers: Any = None, **fields: Any) -> Counter[str]:
        with httpx.Client(timeout=60) as client:
            body = {"dataframe_records": [{**ROW, **fields}]}
            answers = [client.post(self._url, json=body, headers=headers) for _ in range(times)]
        assert {answer.status_code for answer in answers} == {200}, answers[0].text
        self.ids = [answer.headers["x-prediction-id"] for answer in answers]
        return Counter(answer.headers["x-model-version"] for answer in answers)


def follow(gateway: LiveGateway, rollouts: Rollouts) -> Rollout:
    """The rollout as it is now, once the gateway follows this state."""
    current = rollouts.current()

    def is_followed() -> bool:
        with gateway.client() as client:
            status = client.model(current.model)["rollout"]
        return status is not None and (status["id"], status["step"]) == (current.id, current.state.step)

    gateway.wait(is_followed, "the step is followed")
    return current


def counts(rollouts: Rollouts, rollout: Rollout, step: int) -> dict[str, ArmStatistics]:
    return {arm: sums for (number, arm), sums in rollouts.store.statistics(rollout.id).items() if number == step}


def requests(rollouts: Rollouts, rollout: Rollout, step: int) -> dict[str, int]:
    return {arm: sums.requests for arm, sums in counts(rollouts, rollout, step).items()}


def log_of(gateway: LiveGateway, name: str) -> pd.DataFrame:
    return prediction_log.read(str(gateway.storage), name).execute()


def test_a_canary_starts_with_the_staff_by_a_header(
    rollouts: Rollouts, gateway: LiveGateway, caplog: pytest.LogCaptureFixture
) -> None:
    name = rollouts.versions.name
    callers = Callers(gateway, name)
    steps = {"kind": "canary", "steps": [0.5, 1.0]}
    fields: dict[str, Any] = {"cohort": {**STAFF, "gates": LIMIT}, "strategy": steps, "min_requests": 10}
    with caplog.at_level("INFO"):
        begun = rollouts.run(**fields)
    assert (begun.status, begun.step, begun.findings[0].arm) == ("running", 0, "cohort")
    assert "requests in which the header 'X-Group' is 'staff' or 'beta' get version 2" in caplog.text
    rollout = follow(gateway, rollouts)
    with gateway.client() as client:
        status = client.model(name)["rollout"]
    assert status is not None
    assert status["arms"] == {"champion": 1, "candidate": 2, "cohort": 2}
    assert status["weights"] == {"champion": 1.0, "candidate": 0.0}
    assert status["cohort"] == "the header 'X-Group' is 'staff' or 'beta'"
    assert status["step_text"].startswith("step 1 of 3 (candidate gets only the cohort")

    assert callers.ask(30, headers={"X-Group": "customer"}) == {"1": 30}
    assert callers.ask(5) == {"1": 5}
    for sent in ({"x-group": "staff"}, {"X-GROUP": "staff"}, {"X-Group": "other, beta"}):
        assert callers.ask(3, headers=sent) == {"2": 3}
    assert callers.ask(1, headers=[("X-Group", "other"), ("X-Group", "staff")]) == {"2": 1}
    assert callers.ask(1, headers=[("X-Group", "other"), ("X-Group", "Staff")]) == {"1": 1}
    gateway.wait(lambda: requests(rollouts, rollout, 0) == {"cohort": 10}, "only the cohort is counted")
    caplog.clear()
    with caplog.at_level("INFO"):
        assert rollouts.run(**fields).step == 0
    assert "too few requests of the cohort so far: 10 of at least 20 (a request belongs to the cohort if" in caplog.text
    assert "step 1 of 3 (candidate gets only the cohort" in caplog.text

    assert callers.ask(60, headers={"X-Group": "staff"}) == {"2": 60}
    gateway.wait(lambda: requests(rollouts, rollout, 0) == {"cohort": 70}, "they are counted")
    passed = rollouts.run(**fields)
    assert (passed.status, passed.step) == ("running", 1)
    assert passed.reason.startswith("cohort: ")
    follow(gateway, rollouts)
    assert callers.ask(20, headers={"X-Group": "staff"}) == {"2": 20}
    others = callers.ask(100)
    assert 20 < others["2"] < 80
    expected = {"cohort": 20, "candidate": others["2"], "champion": others["1"]}
    gateway.wait(lambda: requests(rollouts, rollout, 1) == expected, "each arm is counted by itself")

    logged = log_of(gateway, name)
    of_cohort = logged[logged["arm"] == "cohort"]
    assert (len(of_cohort), set(of_cohort["version"]), set(of_cohort["propensity"])) == (90, {2}, {1.0})
    assert set(of_cohort["rollout"]) == {rollout.id}
    assert logged[logged["arm"] == "champion"]["rollout"].isna().sum() == 36
    assert set(logged[logged["arm"] == "candidate"]["propensity"]) == {0.5}

    # The hard limit holds for the cohort too, and a rollback reaches it at once.
    rollouts.store.change(
        rollout.id,
        lambda seen: transitions.rolled_back(seen.plan, seen.state, datetime.now(UTC), "ada", "the staff complained"),
    )

    def is_over() -> bool:
        with gateway.client() as client:
            return client.model(name)["rollout"] is None

    gateway.wait(is_over, "the gateway stops following it")
    assert callers.ask(10, headers={"X-Group": "staff"}) == {"1": 10}
    over = rollouts.run(**fields)
    assert (over.status, over.version) == ("rolled_back", 1)
    (entry,) = rollouts.trail()
    assert "the staff complained" in entry.reason


def test_an_ab_test_starts_with_a_field_and_rewards_the_cohort_apart(rollouts: Rollouts, gateway: LiveGateway) -> None:
    name = rollouts.versions.name
    callers = Callers(gateway, name)
    fields: dict[str, Any] = {
        "cohort": {"source": "field", "name": "plan", "values": ["gold"], "min_requests": 20, "gates": []},
        "strategy": {"kind": "ab"},
        "sticky": {"name": "X-User"},
        "reward": {"binary": True},
        "gates": [{"kind": "metric"}],
    }
    rollouts.run(**fields)
    rollout = follow(gateway, rollouts)

    def reward(value: float, ids: Sequence[str]) -> None:
        with gateway.client() as client:
            for each in ids:
                client.reward(each, value)

    assert callers.ask(10) == {"1": 10}
    reward(1.0, callers.ids)
    assert callers.ask(25, plan="gold", headers={"X-User": "ada"}) == {"2": 25}
    reward(1.0, callers.ids)
    gateway.wait(lambda: counts(rollouts, rollout, 0).get("cohort", ArmStatistics()).reward_count == 25, "rewarded")
    # The champion alone had all others, so they are not part of the test.
    assert requests(rollouts, rollout, 0) == {"cohort": 25}
    assert rollouts.run(**fields).step == 1
    follow(gateway, rollouts)
    # The cohort comes before the key, and the key before chance.
    users = {f"user-{number}": callers.ask(2, headers={"X-User": f"user-{number}"}) for number in range(12)}
    assert all(len(versions) == 1 for versions in users.values())
    assert {version for versions in users.values() for version in versions} == {"1", "2"}
    for user in users:
        assert callers.ask(1, plan="gold", headers={"X-User": user}) == {"2": 1}
        reward(1.0, callers.ids)
    assert callers.ask(8, headers={"X-User": "user-0"}).total() == 8
    reward(0.0, callers.ids)
    gateway.wait(
        lambda: sum(arm.reward_count for arm in counts(rollouts, rollout, 1).values()) == 20, "rewards are counted"
    )
    rewards = {arm: (sums.reward_count, sums.reward_total) for arm, sums in counts(rollouts, rollout, 1).items()}
    assert rewards.pop("cohort") == (12, 12.0)
    assert sum(count for count, _ in rewards.values()) == 8
    assert all(total == 0 for _, total in rewards.values())

    # Estimates for other policies, and those who wait for or monitor the random share, leave the cohort out.
    decisions = logged_decisions(str(gateway.storage), rollout)
    assert (decisions.rewards.size, set(decisions.propensities), set(decisions.rewards)) == (8, {0.5}, {0.0})
    logged = log_of(gateway, name)
    of_test = logged[(logged["version"] == 2) & (logged["arm"] == "candidate")]
    now = datetime.now(UTC)
    window = open_window(
        str(gateway.storage), name, 2, now - timedelta(hours=1), now + timedelta(hours=1), engine.connect()
    )
    assert window.rows == len(of_test) > 0
    console = Console(file=io.StringIO(), width=200)
    report.show(console, rollouts.store, str(gateway.storage), rollouts.store.get(rollout.id))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Cohort: requests in which the field 'plan' is 'gold'" in text
    assert "step 2 of 2" in text
    assert "8 decisions" in text
    rollouts.store.change(
        rollout.id, lambda seen: transitions.ended(seen.plan, seen.state, datetime.now(UTC), "ada", "enough")
    )
    rollouts.run(**fields)


def test_a_field_that_the_champion_does_not_have_is_refused_before_the_start(rollouts: Rollouts) -> None:
    with pytest.raises(InvalidSpecError, match=r"cohort.name='plans'.*must be a column of .*Did you mean 'plan'"):
        rollouts.run(cohort={"source": "field", "name": "plans", "values": ["gold"]})
    with pytest.raises(InvalidSpecError, match=r"sticky.name='user'"):
        rollouts.run(sticky={"source": "field", "name": "user"})
    assert rollouts.store.current(rollouts.versions.name) is None


def test_a_missing_field_belongs_to_no_cohort_and_rows_after_the_first_do_not_decide(
    rollouts: Rollouts, gateway: LiveGateway
) -> None:
    rollouts.run(cohort={"source": "field", "name": "income", "values": [30000], "gates": []})
    follow(gateway, rollouts)
    callers = Callers(gateway, rollouts.versions.name)
    assert callers.ask(2) == {"2": 2}
    assert callers.ask(2, income=30_000) == {"2": 2}
    assert callers.ask(2, income=None) == {"1": 2}
    rows = records(customers(1, seed=3))
    body = {"dataframe_records": [*rows, ROW]}
    answer = httpx.post(f"{gateway.url}/models/{rollouts.versions.name}/invocations", json=body)
    assert answer.headers["x-model-version"] == "1"
