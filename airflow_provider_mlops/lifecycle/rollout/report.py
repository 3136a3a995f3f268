"""A rollout on one page: where it stands, what came of each arm, and what other policies would have earned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.rollout.findings import Evidence, findings
from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
from airflow_provider_mlops.serving.rollouts.arm_statistics import LATENCY_EDGES
from airflow_provider_mlops.serving.rollouts.rollout import Rollout

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from airflow_provider_mlops.serving.rollouts.store import RolloutStore


def show(console: Console, store: RolloutStore, storage_uri: str, rollout: Rollout) -> None:
    """Print the page. Raises BackendUnavailableError if the store does not answer."""
    plan, state = rollout.plan, rollout.state
    console.print(
        f"[bold]Rollout {rollout.id}[/bold] of {rollout.model}, {plan.strategy.kind}, begun by {rollout.started_by.key}"
    )
    console.print(f"{state.status}, step {state.step + 1} of {plan.strategy.step_count}: {state.reason}", markup=False)
    sizes = sample_sizes(plan)
    if sizes is not None:
        console.print(f"Planned for {sizes[0]:,} rewards of the candidate and {sizes[1]:,} of the champion")
    evidence = Evidence.of(store.statistics(rollout.id), state.step)
    console.print(_history(store, rollout))
    console.print(_arms(rollout, evidence))
    for finding in findings(plan, evidence):
        console.print(f"{finding.arm}, {finding.gate}: {finding.verdict}. {finding.sentence}", markup=False)
    if plan.reward is not None:
        try:
            console.print(_counterfactuals(storage_uri, rollout))
        except InvalidSpecError as error:
            console.print(f"What other policies would have earned cannot be told: {error}", markup=False)


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, box=None, title_justify="left", padding=(0, 2))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    return table


def _history(store: RolloutStore, rollout: Rollout) -> Table:
    table = _table("History", "time (UTC)", "status", "step", "weights", "by")
    for state in store.history(rollout.id):
        weights = "from the rewards" if state.weights is None else " / ".join(f"{w:g}" for w in state.weights.values())
        moment = f"{state.changed_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(moment, state.status, str(state.step + 1), weights, state.changed_by)
    return table


def _arms(rollout: Rollout, evidence: Evidence) -> Table:
    from airflow_provider_mlops.stats.sequences.latency import quantile_sequence

    table = _table("Arms", "arm", "version", "requests", "errors", "median ms", "rewards", "mean reward")
    for arm in rollout.plan.arms:
        found = evidence.of_arm(arm.name)
        median = quantile_sequence(LATENCY_EDGES, found.latency_counts(), 0.5)
        answered = sum(found.latency.values())
        table.add_row(
            arm.name,
            str(arm.version),
            f"{found.requests:,}",
            f"{found.errors:,}",
            f"{median.low:.3g} to {median.high:.3g}" if answered else "",
            f"{found.reward_count:,}",
            f"{found.reward_total / found.reward_count:.4f}" if found.reward_count else "",
        )
    return table


def _counterfactuals(storage_uri: str, rollout: Rollout) -> Table:
    """Raises InvalidSpecError if too few rewards have come."""
    from airflow_provider_mlops.lifecycle.rollout.counterfactual import (
        always,
        counterfactual,
        logged_decisions,
        uniform,
    )

    plan = rollout.plan
    decisions = logged_decisions(storage_uri, rollout)
    policies = {f"always {arm.name}": always(plan, arm.name) for arm in plan.arms} | {"uniform": uniform(plan)}
    title = f"Reward of a request on {decisions.rewards.size:,} decisions, 95 % intervals for one look"
    table = _table(title, "policy", "self-normalized", "doubly robust", "effective decisions")
    table.add_row("as it was", f"{decisions.rewards.mean():.4f}", "", f"{decisions.rewards.size:,}")
    for name, policy in policies.items():
        try:
            found = counterfactual(decisions, policy)
        except ValueError as error:
            table.add_row(name, str(error), "", "0")
            continue
        cells = [
            f"{one.value:.4f} ({one.interval.low:.4f} to {one.interval.high:.4f})"
            for one in (found.self_normalized, found.doubly_robust)
        ]
        table.add_row(name, *cells, f"{found.self_normalized.effective_count:,.0f}")
    return table
