"""Rewards and the decisions that they belong to. The one that comes first waits in the store for the other.

A decision is deleted once the rewards of all its rows have been counted. A second reward then finds no decision, so
that a reward counts once. What waits in vain is deleted by `ageing`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import (
    Decision,
    Feedback,
    Key,
    merge_feedback,
    observed_reward,
    statistics_of_rewards,
)
from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.tables import CLOCK, CLOCK_NAME, DECISIONS, REWARDS, ROLLOUTS

log = logging.getLogger(__name__)

RewardOutcome = Literal["counted", "late", "unmatched", "missing"]
"""What became of a reward.

`counted`; `late`: it arrived after the reward window; `unmatched`: no prediction of a rollout waited for it, as for a
repeated reward; `missing`: it did not arrive within the reward window.
"""

MAX_WAITING_REWARDS = 100_000
"""Number of rewards that wait for their decision at most. The oldest ones make room for new ones."""

_CHUNK_SIZE = 500
Item = TypeVar("Item")


@dataclass(frozen=True)
class RewardedRollout:
    """A rollout in progress that has rewards."""

    id: str
    number: int
    plan: RolloutPlan
    reward: Reward
    started_at: datetime


@dataclass
class _Waiting:
    """A decision and the rows whose rewards have been counted, as a bit set."""

    rollout: RewardedRollout
    decision: Decision
    rewarded: int

    @property
    def is_complete(self) -> bool:
        return self.rewarded == (1 << self.decision.rows) - 1


def rewarded_rollouts(connection: Connection, plans: dict[str, RolloutPlan | None]) -> list[RewardedRollout]:
    """Return the rollouts in progress that have rewards.

    Parameters
    ----------
    plans
        Plans that are already known, by the rollout's id; None if this release cannot read the plan. Others are added.
    """
    columns = (ROLLOUTS.c.id, ROLLOUTS.c.number, ROLLOUTS.c.plan, ROLLOUTS.c.started_at)
    found = []
    for row in connection.execute(select(*columns).where(ROLLOUTS.c.over_at.is_(None))).all():
        if row.id not in plans:
            plans[row.id] = parse_plan(row.id, row.plan)
        plan = plans[row.id]
        if plan is not None and plan.reward is not None:
            started_at = datetime.fromisoformat(row.started_at)
            found.append(RewardedRollout(row.id, row.number, plan, plan.reward, started_at))
    return found


def parse_plan(rollout: str, text: str) -> RolloutPlan | None:
    """Return the plan of a rollout; None if this release cannot read it."""
    try:
        return RolloutPlan.model_validate_json(text)
    except ValidationError as error:
        log.error(
            "This gateway does not count the evidence of rollout %s, because this release cannot read the rollout "
            "(%s). End the rollout with the release that started it",
            rollout,
            error,
        )
        return None


def read_clock(connection: Connection) -> int:
    """Return the time of the store's clock in seconds; see `ageing`."""
    return connection.scalar(select(CLOCK.c.seconds).where(CLOCK.c.name == CLOCK_NAME)) or 0


def match_rewards(
    connection: Connection,
    decisions: Iterable[Decision],
    feedback: Iterable[Feedback],
    rollouts: Sequence[RewardedRollout],
) -> tuple[dict[Key, ArmStatistics], Counter[RewardOutcome]]:
    """Count the rewards whose decision is known, and store what has to wait for the other.

    Decisions of rollouts that are not among `rollouts` are left out. Returns the statistics of the rewards, and the
    number of rewards by outcome.
    """
    outcomes: Counter[RewardOutcome] = Counter()
    if not rollouts:
        return {}, outcomes
    now = read_clock(connection)
    by_id, by_number = {each.id: each for each in rollouts}, {each.number: each for each in rollouts}
    new = {
        decision.prediction_id: _Waiting(by_id[decision.rollout], decision, 0)
        for decision in decisions
        if decision.rollout in by_id
    }
    entries = merge_feedback([*_take_waiting(connection, new), *feedback])
    stored = _stored(connection, {name for name, _ in entries} - new.keys(), by_number)
    rewards: dict[tuple[str, int, int], list[tuple[Decision, float]]] = defaultdict(list)
    unmatched = []
    changed = set()
    for (name, place), entry in entries.items():
        waiting = new.get(name) or stored.get(name)
        if waiting is None:
            unmatched.append(entry)
            continue
        decision = waiting.decision
        row = prediction_id.row_of(place, decision.rows)
        is_given = entry.reward if waiting.rollout.reward.source == "reward" else entry.label
        if row is None or waiting.rewarded >> row & 1 or is_given is None:
            continue
        waiting.rewarded |= 1 << row
        changed.add(name)
        output = None if decision.outputs is None else _output(decision.outputs, row)
        reward = observed_reward(waiting.rollout.reward, output, entry.label, entry.reward)
        if reward is not None:
            rewards[decision.rollout, decision.step, decision.arm].append((decision, reward))
            outcomes["counted"] += 1
    _insert_new(connection, [waiting for waiting in new.values() if not waiting.is_complete], now)
    _update_stored(connection, [stored[name] for name in changed if name in stored])
    _let_wait(connection, unmatched, rollouts, now, outcomes)
    statistics = {
        (rollout, step, by_id[rollout].plan.all_arms[arm].name): statistics_of_rewards(by_id[rollout].plan, values)
        for (rollout, step, arm), values in rewards.items()
    }
    return statistics, outcomes


def insert_for(connection: Connection, table: Any) -> Any:
    """Return an insert statement that can say what happens if the row exists."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _output(outputs: str, row: int) -> Any:
    return json.loads(outputs)[row]


def _take_waiting(connection: Connection, new: Mapping[bytes, _Waiting]) -> list[Feedback]:
    """Delete and return the feedback that has waited for new decisions."""
    if not new or connection.scalar(select(REWARDS.c.row).limit(1)) is None:
        return []
    found: list[Feedback] = []
    for ids in _chunks(sorted(new)):
        mine = REWARDS.c.prediction_id.in_(ids)
        rows = connection.execute(
            select(REWARDS.c.prediction_id, REWARDS.c.row, REWARDS.c.label, REWARDS.c.reward).where(mine)
        ).all()
        if rows:
            found += [Feedback(bytes(row.prediction_id), row.row, row.label, row.reward, 0) for row in rows]
            connection.execute(delete(REWARDS).where(mine))
    return found


def _stored(
    connection: Connection, names: set[bytes], by_number: Mapping[int, RewardedRollout]
) -> dict[bytes, _Waiting]:
    """Return the decisions in the store with these ids."""
    found = {}
    for ids in _chunks(sorted(names)):
        query = select(DECISIONS).where(DECISIONS.c.rollout.in_(by_number), DECISIONS.c.prediction_id.in_(ids))
        for row in connection.execute(query):
            rollout, name = by_number[row.rollout], bytes(row.prediction_id)
            decision = Decision(
                name,
                rollout.id,
                row.step,
                row.arm,
                row.rows,
                row.context,
                row.outputs,
                row.cluster,
                row.propensity,
            )
            found[name] = _Waiting(rollout, decision, int.from_bytes(row.rewarded or b"", "little"))
    return found


def _insert_new(connection: Connection, waiting: Sequence[_Waiting], now: int) -> None:
    if not waiting:
        return
    rows = [
        {
            "rollout": each.rollout.number,
            "prediction_id": each.decision.prediction_id,
            "step": each.decision.step,
            "arm": each.decision.arm,
            "since": now,
            "rows": each.decision.rows,
            "rewarded": _bits(each),
            "context": each.decision.context,
            "outputs": each.decision.outputs,
            "cluster": each.decision.cluster,
            "propensity": each.decision.propensity,
        }
        for each in waiting
    ]
    connection.execute(insert_for(connection, DECISIONS).on_conflict_do_nothing(), rows)


def _update_stored(connection: Connection, changed: Sequence[_Waiting]) -> None:
    """Write which rows have their rewards, and delete the decisions that wait for no more."""
    is_it = (DECISIONS.c.rollout == bindparam("number")) & (DECISIONS.c.prediction_id == bindparam("name"))
    complete = [each for each in changed if each.is_complete]
    partial = [each for each in changed if not each.is_complete]
    if complete:
        keys = [{"number": each.rollout.number, "name": each.decision.prediction_id} for each in complete]
        connection.execute(delete(DECISIONS).where(is_it), keys)
    if partial:
        rows = [
            {"number": each.rollout.number, "name": each.decision.prediction_id, "bits": _bits(each)}
            for each in partial
        ]
        connection.execute(update(DECISIONS).where(is_it).values(rewarded=bindparam("bits")), rows)


def _bits(waiting: _Waiting) -> bytes | None:
    if not waiting.rewarded:
        return None
    return waiting.rewarded.to_bytes((waiting.decision.rows + 7) // 8, "little")


def _let_wait(
    connection: Connection,
    feedback: Sequence[Feedback],
    rollouts: Sequence[RewardedRollout],
    now: int,
    outcomes: Counter[RewardOutcome],
) -> None:
    """Store feedback whose decision may still come. No decision comes for what is older than any reward window."""
    window = max(rollout.reward.window for rollout in rollouts) / timedelta(milliseconds=1)
    started = min(rollout.started_at for rollout in rollouts).timestamp() * 1000
    rows = []
    for entry in feedback:
        made = prediction_id.milliseconds(entry.prediction_id)
        if entry.time / 1000 - made <= window:
            rows.append({**entry._asdict(), "since": now})
        else:
            # A prediction from before all rollouts belongs to none of them, so its label is not late for one.
            outcomes["late" if made >= started else "unmatched"] += 1
    if not rows:
        return
    for row in rows:
        del row["time"]
    upsert = insert_for(connection, REWARDS)
    first = {name: func.coalesce(REWARDS.c[name], upsert.excluded[name]) for name in ("label", "reward")}
    connection.execute(upsert.on_conflict_do_update(index_elements=["prediction_id", "row"], set_=first), rows)
    excess = (connection.scalar(select(func.count()).select_from(REWARDS)) or 0) - MAX_WAITING_REWARDS
    if excess > 0:
        outcomes["unmatched"] += _drop_oldest(connection, excess)


def _drop_oldest(connection: Connection, excess: int) -> int:
    """Delete the feedback that has waited longest, and return how many rows."""
    key = (REWARDS.c.since, REWARDS.c.prediction_id)
    last = connection.execute(select(*key).order_by(*key).offset(excess - 1).limit(1)).one()
    is_older = (REWARDS.c.since < last.since) | (
        (REWARDS.c.since == last.since) & (REWARDS.c.prediction_id <= last.prediction_id)
    )
    return connection.execute(delete(REWARDS).where(is_older)).rowcount


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield parts of the items: databases limit the number of parameters of a statement."""
    for start in range(0, len(items), _CHUNK_SIZE):
        yield items[start : start + _CHUNK_SIZE]
