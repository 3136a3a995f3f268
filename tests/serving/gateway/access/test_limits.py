"""Limits of a client: what is left, how long to wait, and how many clients are remembered."""

from __future__ import annotations

import contextlib

import pytest

from airflow_provider_mlops.serving.gateway.access.limits import Budget, Budgets, LimitError


def test_requests_are_let_in_at_the_rate_over_a_long_time() -> None:
    now = [0.0]
    budget = Budget({"requests": 7.0}, clock=lambda: now[0])
    accepted = 0
    for step in range(10_000):
        now[0] = step * 0.01
        with contextlib.suppress(LimitError):
            budget.check(["requests"])
            accepted += 1
            budget.spend("requests", 1)
    # 7 at once, and then 7 per second for 100 seconds.
    assert 700 <= accepted <= 708


def test_a_rate_below_one_lets_one_request_in_and_says_how_long_to_wait() -> None:
    now = [0.0]
    budget = Budget({"requests": 0.1}, clock=lambda: now[0])
    budget.check(["requests"])
    budget.spend("requests", 1)
    with pytest.raises(LimitError) as raised:
        budget.check(["requests"])
    assert raised.value.headers["Retry-After"] == "10"
    now[0] = 10.0
    budget.check(["requests"])


def test_more_than_is_left_is_made_up_for() -> None:
    now = [0.0]
    budget = Budget({"labels": 100.0}, clock=lambda: now[0])
    budget.spend("labels", 5000)
    with pytest.raises(LimitError, match="100 labels per second") as raised:
        budget.check(["labels", "bytes"])
    assert (raised.value.status, raised.value.headers["Retry-After"]) == (429, "49")
    # Rest is not saved up: after an hour there is one second's worth.
    now[0] = 3600.0
    budget.check(["labels"])
    budget.spend("labels", 150)
    assert budget.wait("labels") == pytest.approx(0.5)


def test_a_huge_debt_is_asked_back_after_an_hour_at_most() -> None:
    budget = Budget({"rows": 0.001}, clock=lambda: 0.0)
    budget.spend("rows", 1e9)
    with pytest.raises(LimitError) as raised:
        budget.check(["rows"])
    assert raised.value.headers["Retry-After"] == "3600"


def test_clients_are_forgotten_from_the_one_that_was_not_seen_longest() -> None:
    budgets = Budgets(max_budgets=2)
    first, second = budgets.of("a", {"rows": 1}), budgets.of("b", {"rows": 1})
    assert budgets.of("a", {"rows": 1}) is first
    budgets.of("c", {"rows": 1})
    assert budgets.of("a", {"rows": 1}) is first
    assert budgets.of("b", {"rows": 1}) is not second
    # A change of the limits in the key file takes effect.
    assert budgets.of("a", {"rows": 2}).limits == {"rows": 2}
