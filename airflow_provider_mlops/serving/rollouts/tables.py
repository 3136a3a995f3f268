"""The tables of the rollout store. JSON and times are stored as text, so that both databases keep them the same way."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

ROLLOUTS = Table(
    "rollouts",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("model", String(255), nullable=False),
    # The model while the rollout blocks a new one, and null afterwards: a model cannot have two of them at once.
    Column("active_model", String(255), unique=True),
    Column("task_key", String(1000), nullable=False),
    Column("task", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("started_at", String(40), nullable=False),
    Column("over_at", String(40)),
    Index("rollouts_by_model", "model", "started_at"),
)

HISTORY = Table(
    "rollout_history",
    METADATA,
    Column("rollout", String(32), ForeignKey("rollouts.id"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("state", Text, nullable=False),
)

ARM_STATISTICS = Table(
    "arm_statistics",
    METADATA,
    Column("rollout", String(32), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("arm", String(64), primary_key=True),
    Column("statistics", Text, nullable=False),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("prediction_id", String(32), primary_key=True),
    Column("rollout", String(32), nullable=False),
    Column("step", Integer, nullable=False),
    Column("arm", String(64), nullable=False),
    Column("propensity", Float, nullable=False),
    Column("time", BigInteger, nullable=False),
    # The cluster of the user or request that was assigned at random: rewards within it depend on each other.
    Column("cluster", Integer, nullable=False),
    Column("context", Text),
    # The predictions of the request, kept if the reward depends on them or if the request has several rows.
    Column("outputs", Text),
    Index("decisions_by_rollout", "rollout"),
)

REWARDS = Table(
    "rewards",
    METADATA,
    Column("prediction_id", String(48), primary_key=True),
    Column("decision_id", String(32), nullable=False),
    Column("label", Text),
    Column("reward", Float),
    Column("time", BigInteger, nullable=False),
    # The reward as it was counted; null until the decision is known.
    Column("counted", Float),
    Index("rewards_by_decision", "decision_id"),
)

CURSORS = Table(
    "cursors",
    METADATA,
    Column("writer", String(64), primary_key=True),
    Column("segment", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
)

CHANGES = Table(
    "changes",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("total", BigInteger, nullable=False),
)

ROLLOUTS_CHANGED = "rollouts"
STATISTICS_CHANGED = "statistics"
