"""Who belongs to a cohort, what a cohort may be, and which requests take part in a rollout that starts with one."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.rollout.spec import RolloutSpec
from airflow_provider_mlops.lifecycle.rollout.step import STEP
from airflow_provider_mlops.serving.gateway.predict.routed_request import first_value
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.policy.canary import Canary
from airflow_provider_mlops.serving.policy.cohort import CohortFirst
from airflow_provider_mlops.serving.policy.policy import Arm, Choice, Policy, RoutingRequest
from airflow_provider_mlops.serving.policy.split import Split
from airflow_provider_mlops.serving.protocols.headers import combined
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.build_policy import build_policy
from airflow_provider_mlops.serving.rollouts.cohort_members import CohortMembers
from airflow_provider_mlops.serving.rollouts.plan.cohort import Cohort
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan, RolloutState, step_text, step_weights
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
from tests.helpers.followed_rollouts import NOW
from tests.helpers.rollouts import canary, task

STAFF = {"name": "X-Group", "values": ["staff", "beta"]}
AB = {"strategy": {"kind": "ab"}, "reward": {"binary": True}, "gates": [{"kind": "metric"}]}
PAIR = (Arm("champion", 1), Arm("candidate", 2))


def header(*values: Any) -> CohortMembers:
    return CohortMembers(Cohort(name="X-Group", values=list(values)))


def field(*values: Any) -> CohortMembers:
    return CohortMembers(Cohort(source="field", name="tier", values=list(values)))


@pytest.mark.parametrize(
    ("values", "sent", "belongs"),
    [
        (["staff"], [b"staff"], True),
        (["staff"], [b"staffer"], False),
        (["staff"], [b"Staff"], False),
        (["staff"], [b" staff\t"], True),
        (["staff"], [b""], False),
        (["staff"], [], False),
        (["staff"], [b"beta", b"staff"], True),
        (["staff"], [b"beta, staff"], True),
        (["staff"], [b"beta,staff ,x"], True),
        (["staff"], [b"beta staff"], False),
        (["a, b"], [b"a, b"], True),
        (["a, b"], [b"a"], False),
        ([1], [b"1"], True),
        ([1], [b"1.0"], False),
        ([True], [b"true"], True),
        ([True], [b"True"], False),
        (["null"], [], False),
        (["Zürich"], ["Zürich".encode()], True),
        (["Zürich"], ["Zürich".encode("latin-1")], True),
        (["日本"], ["日本".encode()], True),
        (["日本"], [b"\xff\xfe"], False),
    ],
)
def test_a_header_belongs_to_the_cohort_by_its_exact_text(values: list[Any], sent: list[bytes], belongs: bool) -> None:
    headers = combined([(b"host", b"x"), *((b"x-group", value) for value in sent)])
    assert header(*values).include(headers) is belongs


@pytest.mark.parametrize(
    ("values", "value", "belongs"),
    [
        (["1"], 1, True),
        ([1], "1", True),
        ([1], 1.0, True),
        (["1.0"], 1, True),
        ([1], True, False),
        (["true"], True, True),
        ([True], "true", True),
        ([True], 1, False),
        (["True"], True, False),
        ([0.1], 0.1, True),
        (["north"], "north", True),
        (["north"], " north", False),
        (["north"], "North", False),
        ([""], "", True),
        (["é"], "é", True),
        (["null", "None", "nan", "NaN"], None, False),
        (["1_000"], 1000, False),
        # As floating-point numbers, both would be 2**53.
        ([2**53 + 1], 2**53, False),
        ([2**53 + 1], 2**53 + 1, True),
        (["1e400"], float("inf"), False),
    ],
)
def test_a_field_belongs_to_the_cohort_by_its_text_or_as_a_number(values: list[Any], value: Any, belongs: bool) -> None:
    assert field(*values).include({b"tier": b"1"}, {"tier": value}.get) is belongs


def test_a_column_matches_as_the_caller_wrote_it_whatever_its_type() -> None:
    written = {"long": 7, "integer": 7, "double": 0.1, "float": 0.1, "string": "7", "boolean": True}
    for kind, value in written.items():
        schema = InputSchema((Feature("tier", kind, nullable=True),))  # type: ignore[arg-type]
        for rows, belongs in (([value], True), ([value, None], True), ([None, value], False)):
            parsed = signature_check.from_records(schema, [{"tier": each} for each in rows])
            found = field(value).include({}, lambda name, parsed=parsed: first_value(parsed, name))
            assert found is belongs, (kind, rows)


@given(value=st.text(min_size=1), other=st.text(min_size=1))
@settings(max_examples=200, deadline=None)
def test_a_text_field_matches_only_itself(value: str, other: str) -> None:
    assert field(value).include({}, lambda name: value)
    assert field(value).include({}, lambda name: other) is (value == other)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gates": ["error_rate"]}, r"cohort.gates=.* was not chosen at random"),
        ({"gates": [{"kind": "latency"}]}, r"cohort.gates=.*max_latency_ms"),
        (
            {"gates": [{"kind": "error_rate", "max_rate": 0.1}, {"kind": "metric"}]},
            r"cohort.gates=.*remove other gates",
        ),
        ({"gates": [{"kind": "agreement"}]}, r"cohort.gates="),
        ({"gates": [{"kind": "drift", "edges": [1.0]}]}, r"cohort.gates="),
        ({"name": "X Group"}, r"cohort.name='X Group': no header can have this name"),
        ({"name": "Größe"}, r"cohort.name='Größe': no header"),
        ({"name": ""}, r"cohort.name=''"),
        ({"values": []}, r"cohort.values="),
        ({"values": [""]}, r"cohort.values=.*a header cannot have the value ''"),
        ({"values": [" staff"]}, r"cohort.values=.*' staff'"),
        ({"values": ["a\nb"]}, r"cohort.values=.*line breaks"),
        ({"values": [None]}, r"cohort.values=.*texts, numbers or booleans"),
        ({"values": [["staff"]]}, r"cohort.values=.*texts, numbers or booleans"),
        ({"min_requests": 0}, r"cohort.min_requests=0"),
        ({"source": "cookie"}, r"cohort.source='cookie'"),
        ({"weight": 1}, r"cohort.weight"),
    ],
)
def test_what_no_request_can_match_or_no_test_can_judge_is_refused(fields: dict[str, Any], message: str) -> None:
    model = {"name": "churn", "version": 2, "run_id": "r"}
    with pytest.raises(InvalidSpecError, match=message):
        STEP.parse({"model": model, "cohort": {**STAFF, **fields}})


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": "shadow"},
        {"strategy": "direct", "gates": []},
        {"strategy": {"kind": "bandit"}, "reward": {"binary": True}, "gates": []},
    ],
)
def test_only_a_canary_and_an_ab_test_start_with_a_cohort(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="only the strategies canary and ab can start with a cohort"):
        canary(cohort=STAFF, **fields)


def test_one_value_is_a_list_of_one_and_what_is_stored_reads_the_same() -> None:
    cohort = Cohort(name="X-Beta", values=True)  # type: ignore[arg-type]
    assert cohort.values == ("true",)
    assert Cohort.model_validate_json(cohort.model_dump_json()) == cohort
    assert "cohort" in RolloutSpec.model_fields


def state_at(plan: RolloutPlan, step: int) -> RolloutState:
    state = transitions.started(plan, NOW, "task")
    for _ in range(step):
        state = transitions.next_step(plan, state, NOW, "task", "ok")
    return state


def route_at(plan: RolloutPlan, step: int) -> Route:
    rollout = Rollout("f00d", "churn", task(), plan, state_at(plan, step), 1)
    return Route(rollout, build_policy(rollout, {}))


def test_the_cohort_is_the_first_step_before_all_shares() -> None:
    plan = canary(cohort=STAFF, strategy={"kind": "canary", "steps": [0.1, 1.0]})
    assert plan.step_count == 3
    assert [step_weights(plan, step) for step in range(3)] == [
        {"champion": 1.0, "candidate": 0.0},
        {"champion": 0.9, "candidate": 0.1},
        {"champion": 0.0, "candidate": 1.0},
    ]
    assert [step_text(plan, step) for step in range(3)] == [
        "step 1 of 3 (candidate gets only the cohort: the header 'X-Group' is 'staff' or 'beta')",
        "step 2 of 3 (candidate gets the cohort and 10% of the other requests)",
        "step 3 of 3 (candidate gets the cohort and 100% of the other requests)",
    ]
    with pytest.raises(ValueError, match="no step after step 3"):
        state_at(plan, 3)
    assert canary(cohort=STAFF, **AB).step_count == 2
    many = Cohort(name="X-User", values=list(range(10)))
    assert many.text == "the header 'X-User' is one of '0', '1', '2' and 7 more"


@pytest.mark.parametrize("fields", [{}, AB], ids=["canary", "ab"])
@pytest.mark.parametrize("sticky", [None, {"name": "X-User"}])
@pytest.mark.parametrize("step", [0, 1])
def test_the_cohort_comes_before_keys_and_chance_in_every_step(
    fields: dict[str, Any], sticky: dict[str, Any] | None, step: int
) -> None:
    route = route_at(canary(cohort=STAFF, sticky=sticky, **fields), step)
    for user in range(50):
        headers = {b"x-group": b"staff", b"x-user": b"%d" % user}
        choice = route.choose(route.request(headers, {}.get))
        assert (choice.version, choice.arm, choice.propensity) == (2, "cohort", 1.0)
        context = dict(choice.rollout_context or {})
        assert context.pop("key", None) is None or sticky is not None
        assert context == {"rollout": "f00d", "step": step}


@pytest.mark.parametrize("fields", [{}, AB], ids=["canary", "ab"])
def test_all_others_are_not_part_of_the_rollout_in_the_cohorts_step(fields: dict[str, Any]) -> None:
    plan = canary(cohort=STAFF, **fields)
    first = route_at(plan, 0)
    others = [first.choose(first.request({b"x-group": b"customer"}, {}.get)) for _ in range(300)]
    assert set(others) == {Choice(1, "champion", 1.0, None)}
    second = route_at(plan, 1)
    others = [second.choose(second.request({}, {}.get)) for _ in range(300)]
    assert {choice.arm for choice in others} == {"champion", "candidate"}
    assert all(choice.rollout_context == {"rollout": "f00d", "step": 1} for choice in others)


def test_after_a_rollback_the_cohort_gets_the_champion_and_counts_for_nobody() -> None:
    plan = canary(cohort=STAFF)
    for step in (0, 1):
        state = transitions.rolled_back(plan, state_at(plan, step), NOW, "task", "worse")
        rollout = Rollout("f00d", "churn", task(), plan, state, 3)
        route = Route(rollout, build_policy(rollout, {}))
        choice = route.choose(route.request({b"x-group": b"staff"}, {}.get))
        assert choice == Choice(1, "champion", 1.0, None)


@given(
    weight=st.floats(0.01, 0.99),
    key=st.none() | st.text(),
    number=st.floats(0, 1, exclude_max=True),
    in_cohort=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_a_cohort_changes_nothing_for_those_outside(
    weight: float, key: str | None, number: float, in_cohort: bool
) -> None:
    inner: list[Policy] = [Canary(*PAIR, weight, "a"), Split(PAIR, (1 - weight, weight), "a")]
    for policy in inner:
        first = CohortFirst(2, policy)
        request = RoutingRequest(key=key, in_cohort=in_cohort, random=lambda: number)
        expected = Choice(2, "cohort", 1.0) if in_cohort else policy.choose(request)
        assert first.choose(request) == expected
        assert first.weights() == policy.weights()


def test_the_propensities_of_those_outside_are_those_of_the_policy_alone() -> None:
    generator = random.Random(3)
    policy = CohortFirst(2, Canary(*PAIR, 0.2, "a"))
    requests = [RoutingRequest(in_cohort=generator.random() < 0.5, random=generator.random) for _ in range(4000)]
    outside = [policy.choose(request) for request in requests if not request.in_cohort]
    share = sum(choice.version == 2 for choice in outside) / len(outside)
    assert abs(share - 0.2) < 0.03
    assert {choice.propensity for choice in outside} == {0.2, 0.8}
