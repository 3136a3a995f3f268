"""The predictions that the gateway logged for one version in a time window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import ibis
    import pyarrow

MAX_LABELED_ROWS = 50_000
"""Number of labeled rows that are read into memory for the performance; the newest ones if there are more."""

FEATURE = "feature_"
"""Prefix of the columns of the prediction log that hold features."""

PROBABILITY = "probability_"
"""Prefix of the columns of the prediction log that hold probabilities."""

_KEPT = ("prediction_id", "time", "output", "label")


@dataclass(frozen=True)
class Window:
    """The predictions of one version between two times.

    Parameters
    ----------
    table
        Rows of the prediction log, held by the engine.
    since, until
        Beginning of the window, which is included, and end, which is not.
    rows
        Number of predictions.
    labeled_rows
        Number of predictions that have a label.
    """

    table: ibis.Table
    since: datetime
    until: datetime
    rows: int
    labeled_rows: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes for which the log has probabilities."""
        return tuple(name.removeprefix(PROBABILITY) for name in self.table.columns if name.startswith(PROBABILITY))

    def labeled(self) -> pyarrow.Table:
        """Return output, label and probabilities of the newest `MAX_LABELED_ROWS` rows that have a label."""
        import ibis

        columns = ["output", "label", *(PROBABILITY + name for name in self.classes)]
        rows = self.table.filter(self.table.label.notnull()).order_by(ibis.desc("time"), "prediction_id")
        return rows.limit(MAX_LABELED_ROWS).select(*columns).to_pyarrow()


def open_window(
    storage_uri: str,
    model_name: str,
    version: int,
    since: datetime,
    until: datetime,
    connection: ibis.BaseBackend,
    *,
    include_pinned: bool = False,
) -> Window:
    """Read the rows of the window into the engine, which spills to disk what does not fit into memory.

    Raises InvalidSpecError if the log has no prediction of the model at all, at any time and of any version.
    """
    from airflow_provider_mlops.serving.log import prediction_log

    logged = prediction_log.read(
        storage_uri, model_name, version=version, since=since, until=until, connection=connection
    )
    kept = [name for name in logged.columns if name in _KEPT or name.startswith((FEATURE, PROBABILITY))]
    table = connection.create_table("monitored_window", _exclude_arms(logged, include_pinned).select(kept), temp=True)
    counts = table.aggregate(rows=table.count(), with_label=table.label.count()).to_pyarrow().to_pylist()[0]
    if not counts["rows"]:
        anything = prediction_log.read(storage_uri, model_name, connection=connection)
        if not anything.count().to_pyarrow().as_py():
            raise InvalidSpecError(
                "model_name",
                model_name,
                f"the prediction log in {storage_uri} has no predictions of this model. Check that the gateway has "
                "received requests for it and uses the same storage URI",
            )
    return Window(table, since, until, int(counts["rows"]), int(counts["with_label"]))


def _exclude_arms(table: ibis.Table, include_pinned: bool) -> ibis.Table:
    from airflow_provider_mlops.serving.policy.policy import COHORT, PINNED, SHADOW, VERIFICATION

    # A cohort is not a sample of the traffic: a window of a candidate's first days would hold nothing else.
    excluded = [VERIFICATION, SHADOW, COHORT]
    if not include_pinned:
        excluded.append(PINNED)
    return table.filter(table.arm.notin(excluded))
