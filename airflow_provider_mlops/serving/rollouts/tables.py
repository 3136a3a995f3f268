"""The tables of the rollout store. JSON and times are stored as text, so that both databases keep them the same way."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

METADATA = MetaData()

ROLLOUTS = Table(
    "rollouts",
    METADATA,
    Column("id", String(32), primary_key=True),
    # A small number that identifies the rollout where one row is stored per request.
    Column("number", Integer, nullable=False, unique=True),
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
    # The last check by the task. It is not part of the state, whose changes are compared, kept and followed.
    Column("attended_at", String(40), nullable=False),
    Column("attended_by", String(1000), nullable=False),
    # The task instance and the revision of the state that the last question is about.
    Column("question", String(100)),
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

# A decision whose rewards have all been counted is deleted, and so is one whose rewards are overdue: see `ageing`.
DECISIONS = Table(
    "waiting_decisions",
    METADATA,
    Column("rollout", Integer, primary_key=True, autoincrement=False),
    Column("prediction_id", LargeBinary(16), primary_key=True),
    Column("step", Integer, nullable=False),
    # Position of the arm in the plan.
    Column("arm", Integer, nullable=False),
    # Time of the store's clock at which the decision was added.
    Column("since", BigInteger, nullable=False),
    # Number of rows of the request. Each earns a reward of its own.
    Column("rows", Integer, nullable=False),
    # Cluster of the user, for a sticky rollout; see `cluster_of`.
    Column("cluster", SmallInteger),
    # Probability with which the arm was chosen, if the statistics of rewards depend on it.
    Column("propensity", Float),
    # Bit set of the rows whose rewards have been counted; null if there are none.
    Column("rewarded", LargeBinary),
    # Values of the declared features, as JSON.
    Column("context", Text),
    # The predictions as JSON, if the reward depends on them.
    Column("outputs", Text),
    sqlite_with_rowid=False,
)

# Feedback whose decision is not known yet.
REWARDS = Table(
    "waiting_rewards",
    METADATA,
    Column("prediction_id", LargeBinary(16), primary_key=True),
    # Row of the request; -1 if the id names none.
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("label", Text),
    Column("reward", Float),
    Column("since", BigInteger, nullable=False),
    sqlite_with_rowid=False,
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

CLOCK = Table(
    "clock",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("seconds", BigInteger, nullable=False),
)

CLOCK_NAME = "running"
ROLLOUTS_CHANGED = "rollouts"
STATISTICS_CHANGED = "statistics"
