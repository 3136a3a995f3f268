"""Evidence of rollouts in the store: one transaction for a stretch of a log, with the cursor behind it.

**Rewards.** The first label or the first reward of a prediction counts, depending on the rollout's `reward`, in the
order of ingestion. Later ones for the same prediction change nothing, so that sending feedback twice counts once.
Feedback may be ingested before its decision; it then waits in the store. In a request with several rows, each row has a
reward of its own.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.evidence_delta import (
    CountedReward,
    EvidenceDelta,
    FeedbackEntry,
    Key,
    has_several_rows,
    merge_feedback,
    reward_of,
    statistics_of_rewards,
)
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import increment
from airflow_provider_mlops.serving.rollouts.store_engine import StoreEngine
from airflow_provider_mlops.serving.rollouts.tables import (
    ARM_STATISTICS,
    CURSORS,
    DECISIONS,
    REWARDS,
    ROLLOUTS,
    STATISTICS_CHANGED,
)

log = logging.getLogger(__name__)

Cursor = tuple[int, int]
"""Number of a segment, and the position in it up to which it has been read."""

BEGINNING: Cursor = (0, 0)
_CHUNK_SIZE = 500
Item = TypeVar("Item")


class CursorMovedError(Exception):
    """Another process has ingested the stretch."""


def write_evidence(
    engine: StoreEngine,
    writer: str,
    delta: EvidenceDelta,
    cursors: tuple[Cursor, Cursor],
    plans: Mapping[str, RolloutPlan | None],
) -> None:
    """Add the evidence of a stretch to the store, and move the writer's cursor.

    Raises CursorMovedError if the cursor is not where the stretch begins, and any exception of the database; in both
    cases, nothing is written.

    Parameters
    ----------
    cursors
        Cursor before and after the stretch.
    plans
        Plans that are already known, by the rollout's id.
    """
    before, after = cursors
    with engine.writing() as connection:
        if read_cursor(connection, writer) != before:
            raise CursorMovedError
        if delta.decisions:
            rows = cast("list[dict[str, Any]]", delta.decisions)
            connection.execute(_insert(connection, DECISIONS).on_conflict_do_nothing(), rows)
        statistics = delta.statistics()
        for key, added in _count_rewards(connection, delta, plans).items():
            statistics[key] = statistics.get(key, ArmStatistics()) + added
        _add(connection, statistics)
        position = {"writer": writer, "segment": after[0], "position": after[1]}
        upsert = _insert(connection, CURSORS).values(position)
        connection.execute(upsert.on_conflict_do_update(index_elements=["writer"], set_=position))


def read_cursor(connection: Connection, writer: str) -> Cursor:
    """Return the position up to which a writer's log has been ingested."""
    row = connection.execute(select(CURSORS.c.segment, CURSORS.c.position).where(CURSORS.c.writer == writer)).first()
    return BEGINNING if row is None else (row.segment, row.position)


def read_plan(connection: Connection, rollout: str) -> RolloutPlan | None:
    """Return the plan of a rollout; None if the store does not contain it or this release cannot read it."""
    text = connection.scalar(select(ROLLOUTS.c.plan).where(ROLLOUTS.c.id == rollout))
    try:
        return None if text is None else RolloutPlan.model_validate_json(text)
    except ValidationError as error:
        log.error(
            "This gateway does not count the evidence of rollout %s, because this release cannot read the rollout "
            "(%s). End the rollout with the release that started it",
            rollout,
            error,
        )
        return None


def _count_rewards(
    connection: Connection, delta: EvidenceDelta, plans: Mapping[str, RolloutPlan | None]
) -> dict[Key, ArmStatistics]:
    """Store the feedback, and return the statistics of rewards whose decision is known."""
    decided = {decision["prediction_id"] for decision in delta.decisions}
    feedback = merge_feedback(_relevant_feedback(connection, delta.feedback, decided))
    if feedback:
        upsert = _insert(connection, REWARDS)
        added = upsert.excluded
        first = {name: func.coalesce(REWARDS.c[name], added[name]) for name in ("label", "reward")}
        rows = cast("list[dict[str, Any]]", feedback)
        connection.execute(upsert.on_conflict_do_update(index_elements=["prediction_id"], set_=first), rows)
    changed = decided | {entry["decision_id"] for entry in feedback}
    rewards: dict[Key, list[CountedReward]] = defaultdict(list)
    plan_of: dict[str, RolloutPlan] = {}
    counted = []
    for ids in _chunks(sorted(changed)):
        query = (
            select(
                REWARDS.c.prediction_id,
                REWARDS.c.label,
                REWARDS.c.reward,
                DECISIONS.c.rollout,
                DECISIONS.c.step,
                DECISIONS.c.arm,
                DECISIONS.c.propensity,
                DECISIONS.c.cluster,
                DECISIONS.c.context,
                DECISIONS.c.outputs,
            )
            .join(DECISIONS, DECISIONS.c.prediction_id == REWARDS.c.decision_id)
            .where(REWARDS.c.decision_id.in_(ids), REWARDS.c.counted.is_(None))
        )
        for row in connection.execute(query).all():
            plan = plans.get(row.rollout) or read_plan(connection, row.rollout)
            if plan is None:
                continue
            reward = reward_of(plan, row.prediction_id, row.outputs, row.label, row.reward)
            if reward is not None:
                plan_of[row.rollout] = plan
                rewards[row.rollout, row.step, row.arm].append(
                    CountedReward(reward, row.cluster, row.propensity, has_several_rows(row.outputs), row.context)
                )
                counted.append({"name": row.prediction_id, "value": reward})
    if counted:
        count = update(REWARDS).where(REWARDS.c.prediction_id == bindparam("name"))
        connection.execute(count.values(counted=bindparam("value")), counted)
    return {key: statistics_of_rewards(plan_of[key[0]], parts) for key, parts in rewards.items()}


def _relevant_feedback(
    connection: Connection, feedback: Sequence[FeedbackEntry], decided: set[str]
) -> list[FeedbackEntry]:
    """Return the feedback for known decisions, or all of it while a rollout with a reward is in progress."""
    if not feedback:
        return []
    active = connection.scalars(select(ROLLOUTS.c.plan).where(ROLLOUTS.c.active_model.is_not(None))).all()
    if any(json.loads(text).get("reward") is not None for text in active):
        return list(feedback)
    known = set(decided)
    for ids in _chunks(sorted({entry["decision_id"] for entry in feedback})):
        known.update(connection.scalars(select(DECISIONS.c.prediction_id).where(DECISIONS.c.prediction_id.in_(ids))))
    return [entry for entry in feedback if entry["decision_id"] in known]


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


def _insert(connection: Connection, table: Any) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield parts of the items: databases limit the number of parameters of a statement."""
    for start in range(0, len(items), _CHUNK_SIZE):
        yield items[start : start + _CHUNK_SIZE]
