"""The rollouts in a store as rows of a table: what each does, and who looks after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.times import format_duration
from airflow_provider_mlops.serving.rollouts.attendance import read_attendances

if TYPE_CHECKING:
    from rich.table import Table

    from airflow_provider_mlops.serving.rollouts.store import RolloutStore


@dataclass(frozen=True)
class RolloutRow:
    """One rollout that is not over."""

    model: str
    id: str
    strategy: str
    state: str
    step: str
    weights: str
    age: str
    last_check: str
    by: str

    def to_json(self) -> dict[str, str]:
        """Return the columns by their names."""
        return asdict(self)


def rollout_rows(store: RolloutStore, now: datetime, model: str | None = None) -> list[RolloutRow]:
    """Return the rollouts that are not over, by model.

    Parameters
    ----------
    model
        Only the rollout of this model; None for all.
    """
    last_checks = read_attendances(store)
    rows = []
    for rollout in store.all_active():
        plan, state = rollout.plan, rollout.state
        if model not in (None, rollout.model):
            continue
        last = last_checks.get(rollout.id)
        weights = "from the rewards"
        if state.weights is not None:
            weights = ", ".join(f"{arm} {100 * share:.4g}%" for arm, share in state.weights.items())
        if plan.cohort is not None:
            weights = f"cohort to candidate, others: {weights}"
        rows.append(
            RolloutRow(
                rollout.model,
                rollout.id,
                plan.strategy.kind,
                state.status_text,
                f"{state.step + 1} of {plan.step_count}",
                weights,
                format_duration(now - state.started_at),
                "" if last is None else f"{format_duration(max(now - last.at, now - now))} ago",
                "" if last is None else last.by,
            )
        )
    return rows


def rollout_table(rows: list[RolloutRow]) -> Table:
    """Return the rows for a terminal."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("model", "id", "strategy", "state", "step", "weights", "age", "last check", "by"):
        table.add_column(title, no_wrap=True)
    for row in rows:
        table.add_row(*row.to_json().values())
    return table
