"""What a route knows of a request: its key and its context, read of headers and rows, and where its copies go."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson

from airflow_provider_mlops.serving.gateway.predict.routed_request import first_value
from airflow_provider_mlops.serving.models import signature_check
from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.build_policy import build_policy
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
from tests.helpers.followed_rollouts import NOW
from tests.helpers.rollouts import bandit, canary, task


def requested(plan: RolloutPlan, headers: dict[bytes, bytes], fields: dict[str, Any]) -> tuple[Route, Any]:
    rollout = Rollout("f00d", "churn", task(), plan, transitions.started(plan, NOW, "task"), 1)
    route = Route(rollout, build_policy(rollout, {}))
    return route, route.request(headers, fields.get)


def test_what_a_policy_knows_of_a_request() -> None:
    route, request = requested(canary(), {}, {})
    assert request is ANY_REQUEST
    assert not route.needs_fields
    route, request = requested(canary(sticky={"name": "X-User"}), {b"x-user": b"ada"}, {})
    assert (request.key, request.context, route.needs_fields) == ("ada", None, False)
    first = route.choose(request)
    logged = dict(first.rollout_context or {})
    assert len(logged.pop("key")) == 16
    assert logged == {"rollout": "f00d", "step": 0}
    assert b"ada" not in repr(first).encode()
    route, request = requested(canary(sticky={"source": "field", "name": "user"}), {}, {"user": 17})
    assert (request.key, route.needs_fields) == ("17", True)
    assert requested(canary(sticky={"source": "field", "name": "user"}), {}, {})[1].key is None
    features = [
        {"kind": "number", "name": "age"},
        {"kind": "category", "name": "X-Place", "source": "header", "values": ["north"]},
        {"kind": "number", "name": "hour", "source": "hour"},
    ]
    plan = bandit(strategy={"kind": "contextual_bandit", "features": features})
    route, request = requested(plan, {b"x-place": b"north"}, {"age": 40, "other": 1})
    hour = request.context["hour"]
    assert request.context == {"age": 40, "X-Place": "north", "hour": hour}
    assert 0 <= hour < 24
    assert route.choose(request).rollout_context == {"rollout": "f00d", "step": 0, "context": request.context}


def test_copies_go_to_the_shadow_only() -> None:
    route, request = requested(canary(strategy={"kind": "shadow", "share": 0.5}, gates=[]), {}, {})
    assert {route.choose(request).version for _ in range(50)} == {1}
    copies = Counter(copy and copy.version for copy in (route.copy(request) for _ in range(200)))
    assert copies.keys() == {None, 2}
    assert requested(canary(), {}, {})[0].copy() is None


def test_a_column_that_a_rollout_goes_by_can_be_logged_whatever_it_is() -> None:
    kinds = {"number": "double", "count": "long", "name": "string", "raw": "binary", "day": "datetime", "on": "boolean"}
    schema = InputSchema(tuple(Feature(name, kind, nullable=True) for name, kind in kinds.items()))
    row = {"number": 0.5, "count": 2, "name": "é", "raw": "aGk=", "day": "2026-01-02T03:04:05", "on": True}
    rows = signature_check.from_records(schema, [row])
    found = {name: first_value(rows, name) for name in [*kinds, "unknown"]}
    assert found == {**row, "raw": "hi", "day": "2026-01-02T03:04:05.000000", "unknown": None}
    assert json.loads(json.dumps(found)) == json.loads(orjson.dumps(found)) == found
    missing = signature_check.from_records(schema, [dict.fromkeys(kinds)])
    assert {first_value(missing, name) for name in kinds} == {None}


def test_a_key_reads_the_same_whatever_the_other_rows_hold() -> None:
    schema = InputSchema((Feature("user", "long", nullable=True), Feature("age", "double", nullable=True)))
    alone = signature_check.from_records(schema, [{"user": 7, "age": 7}])
    others = signature_check.from_records(schema, [{"user": 7, "age": 7}, {"user": None, "age": None}])
    for rows in (alone, others):
        assert [str(first_value(rows, name)) for name in ("user", "age")] == ["7", "7.0"]
