"""The report of a rollout: its history, the results of each arm, and what other policies would have earned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import findings
from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
from airflow_provider_mlops.serving.rollouts.arm_statistics import LATENCY_EDGES
from airflow_provider_mlops.serving.rollouts.rollout import Rollout

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from airflow_provider_mlops.serving.rollouts.store import RolloutStore
    from airflow_provider_mlops.stats.bandits.off_policy import OffPolicyEstimate


def show(console: Console, store: RolloutStore, storage_uri: str, rollout: Rollout) -> None:
    """Print the report. Raises BackendUnavailableError if the store is unavailable."""
    plan, state = rollout.plan, rollout.state
    console.print(f"[bold]Rollout {rollout.id}[/bold] of {rollout.model}")
    console.print(f"Strategy: {plan.strategy.kind}. Started by {rollout.started_by.key}.", markup=False)
    console.print(
        f"Status: {state.status_text} at step {state.step + 1} of {plan.step_count}: {state.reason}",
        markup=False,
    )
    if plan.cohort is not None:
        console.print(f"Cohort: requests in which {plan.cohort.text}", markup=False)
    sizes = sample_sizes(plan)
    if sizes is not None:
        console.print(f"Sample size: {sizes[0]:,} rewards of the candidate and {sizes[1]:,} of the champion.")
    evidence = Evidence.of(store.statistics(rollout.id), state.step)
    console.print(_history(store, rollout))
    console.print(_arms(rollout, evidence))
    for finding in findings(plan, evidence):
        console.print(f"Gate {finding.gate}, {finding.arm}: {finding.verdict}. {finding.sentence}", markup=False)
    if plan.reward is not None:
        try:
            console.print(_counterfactuals(storage_uri, rollout))
        except InvalidSpecError as error:
            console.print(f"No estimate of what other policies would have earned: {error}", markup=False)


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, box=None, title_justify="left", padding=(0, 2))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    return table


def _history(store: RolloutStore, rollout: Rollout) -> Table:
    table = _table("History", "time (UTC)", "status", "step", "weights", "changed by")
    for state in store.history(rollout.id):
        weights = (
            "from the rewards"
            if state.weights is None
            else " / ".join(f"{arm} {weight:.0%}" for arm, weight in state.weights.items())
        )
        moment = f"{state.changed_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(moment, state.status, str(state.step + 1), weights, state.changed_by)
    return table


def _arms(rollout: Rollout, evidence: Evidence) -> Table:
    from airflow_provider_mlops.stats.sequences.latency import quantile_sequence

    table = _table("Arms", "arm", "version", "requests", "errors", "median ms", "rewards", "mean reward")
    for arm in rollout.plan.all_arms:
        total = evidence.of_arm(arm.name)
        median = quantile_sequence(LATENCY_EDGES, total.latency_counts(), 0.5)
        answered = sum(total.latency.values())
        table.add_row(
            arm.name,
            str(arm.version),
            f"{total.requests:,}",
            f"{total.errors:,}",
            f"{median.low:.3g} to {median.high:.3g}" if answered else "",
            f"{total.reward_count:,}",
            f"{total.reward_total / total.reward_count:.4f}" if total.reward_count else "",
        )
    return table


def _counterfactuals(storage_uri: str, rollout: Rollout) -> Table:
    """Return the estimates for other policies. Raises InvalidSpecError if there are too few rewards."""
    from airflow_provider_mlops.lifecycle.rollout.counterfactual import (
        always,
        counterfactual,
        logged_decisions,
        uniform,
    )

    plan = rollout.plan
    decisions = logged_decisions(storage_uri, rollout)
    policies = {f"always {arm.name}": always(plan, arm.name) for arm in plan.arms} | {"uniform": uniform(plan)}
    title = (
        f"Estimated mean reward per request from {decisions.rewards.size:,} decisions, with 95% confidence intervals "
        "for a single evaluation"
    )
    table = _table(title, "policy", "self-normalized", "doubly robust", "effective decisions")
    table.add_row("actual policy", f"{decisions.rewards.mean():.4f}", "", f"{decisions.rewards.size:,}")
    for name, policy in policies.items():
        try:
            result = counterfactual(decisions, policy)
        except ValueError as error:
            table.add_row(name, str(error), "", "0")
            continue
        cells = [_with_interval(estimate) for estimate in (result.self_normalized, result.doubly_robust)]
        table.add_row(name, *cells, f"{result.self_normalized.effective_count:,.0f}")
    return table


def _with_interval(estimate: OffPolicyEstimate) -> str:
    if estimate.interval is None:
        return f"{estimate.value:.4f} (too few decisions for an interval)"
    return f"{estimate.value:.4f} ({estimate.interval.low:.4f} to {estimate.interval.high:.4f})"
