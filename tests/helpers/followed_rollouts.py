"""Rollouts in a store, and the routes of a gateway that follows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rollouts.router import Router
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import canary

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def following(store: RolloutStore, **options: Any) -> Router:
    router = Router(store, by="gateway 1", **options)
    router.poll()
    return router


def route_of(router: Router) -> Route:
    route = router.route("churn")
    assert route is not None
    return route


def versions(router: Router, requests: int = 300) -> set[int]:
    return {route_of(router).choose().version for _ in range(requests)}


def limited(**fields: Any) -> RolloutPlan:
    strategy = {"kind": "canary", "steps": [0.5, 1.0]}
    limits = {"error_rate": 0.2, "min_requests": 10, "window_seconds": 30}
    return canary(**{"strategy": strategy, "hard_limits": limits, **fields})


def fail(router: Router, count: int, *, of: int = 1) -> None:
    """So many failures of the candidate, each one of `of` requests."""
    for _ in range(count):
        choice = next(choice for choice in iter(route_of(router).choose, None) if choice.version == 2)
        for _ in range(of - 1):
            router.answered("churn", choice)
        router.failed("churn", choice)
