"""Evidence of rollouts in the store: one transaction for a stretch of a log, with the cursor behind it.

**Rewards.** The first label or the first reward of a prediction counts, depending on the rollout's `reward`, in the
order of ingestion. Later ones for the same prediction change nothing, so that sending feedback twice counts once.
Feedback may be ingested before its decision; it then waits in the store. In a request with several rows, each row has a
reward of its own.
"""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection, insert, select, update

from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import EvidenceDelta, Key
from airflow_provider_mlops.serving.rollouts.evidence.reward_matching import (
    RewardOutcome,
    insert_for,
    match_rewards,
    parse_plan,
    rewarded_rollouts,
)
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import increment
from airflow_provider_mlops.serving.rollouts.store_engine import StoreEngine
from airflow_provider_mlops.serving.rollouts.tables import ARM_STATISTICS, CURSORS, ROLLOUTS, STATISTICS_CHANGED

Cursor = tuple[int, int]
"""Number of a segment, and the position in it up to which it has been read."""

BEGINNING: Cursor = (0, 0)


class CursorMovedError(Exception):
    """Another process has ingested the stretch."""


def write_evidence(
    engine: StoreEngine,
    writer: str,
    delta: EvidenceDelta,
    cursors: tuple[Cursor, Cursor],
    plans: dict[str, RolloutPlan | None],
) -> Counter[RewardOutcome]:
    """Add the evidence of a stretch to the store, and move the writer's cursor.

    Returns the number of rewards by outcome. Raises CursorMovedError if the cursor is not where the stretch begins, and
    any exception of the database; in both cases, nothing is written.

    Parameters
    ----------
    cursors
        Cursor before and after the stretch.
    plans
        Plans that are already known, by the rollout's id. Others are added.
    """
    before, after = cursors
    with engine.writing() as connection:
        if read_cursor(connection, writer) != before:
            raise CursorMovedError
        statistics = delta.statistics()
        outcomes: Counter[RewardOutcome] = Counter()
        if delta.decisions or delta.feedback:
            rollouts = rewarded_rollouts(connection, plans)
            rewards, outcomes = match_rewards(connection, delta.decisions, delta.feedback, rollouts)
            for key, added in rewards.items():
                statistics[key] = statistics.get(key, ArmStatistics()) + added
        _add(connection, statistics)
        position = {"writer": writer, "segment": after[0], "position": after[1]}
        upsert = insert_for(connection, CURSORS).values(position)
        connection.execute(upsert.on_conflict_do_update(index_elements=["writer"], set_=position))
    return outcomes


def read_cursor(connection: Connection, writer: str) -> Cursor:
    """Return the position up to which a writer's log has been ingested."""
    row = connection.execute(select(CURSORS.c.segment, CURSORS.c.position).where(CURSORS.c.writer == writer)).first()
    return BEGINNING if row is None else (row.segment, row.position)


def read_plan(connection: Connection, rollout: str) -> RolloutPlan | None:
    """Return the plan of a rollout; None if the store does not contain it or this release cannot read it."""
    text = connection.scalar(select(ROLLOUTS.c.plan).where(ROLLOUTS.c.id == rollout))
    return None if text is None else parse_plan(rollout, text)


def _add(connection: Connection, statistics: dict[Key, ArmStatistics]) -> None:
    if not statistics:
        return
    for (rollout, step, arm), added in statistics.items():
        is_arm = (ARM_STATISTICS.c.rollout == rollout) & (ARM_STATISTICS.c.step == step) & (ARM_STATISTICS.c.arm == arm)
        before = connection.scalar(select(ARM_STATISTICS.c.statistics).where(is_arm))
        if before is None:
            connection.execute(
                insert(ARM_STATISTICS).values(rollout=rollout, step=step, arm=arm, statistics=added.to_json())
            )
        else:
            total = ArmStatistics.from_json(before) + added
            connection.execute(update(ARM_STATISTICS).where(is_arm).values(statistics=total.to_json()))
    increment(connection, STATISTICS_CHANGED)
