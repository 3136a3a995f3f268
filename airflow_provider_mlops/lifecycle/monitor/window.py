"""What the gateway was asked and what it answered in a span of time, counted in the bins of the profiles."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import ibis
    import pyarrow

    from airflow_provider_mlops.data.profile import BinCounts, ColumnProfile, Profile
    from airflow_provider_mlops.stats.drift.feature_counts import FeatureCounts

log = logging.getLogger(__name__)

LABELLED_AT_MOST = 50_000
"""How many labelled rows are brought into memory for the performance; the newest ones if there are more."""

_FEATURE = "feature_"
_PROBABILITY = "probability_"
_KEPT = ("prediction_id", "time", "output", "label")


@dataclass(frozen=True)
class Window:
    """The predictions of one version between two times.

    :param table: the rows of the prediction log, held by the engine.
    :param since: where the window begins (included).
    :param until: where it ends (left out).
    :param rows: how many predictions there are.
    :param labelled_rows: how many of them have a label.
    """

    table: ibis.Table
    since: datetime
    until: datetime
    rows: int
    labelled_rows: int

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes for which the log holds probabilities; empty if it holds none."""
        return tuple(name.removeprefix(_PROBABILITY) for name in self.table.columns if name.startswith(_PROBABILITY))

    def labelled(self) -> pyarrow.Table:
        """Output, label and probabilities of the rows that have a label, the newest `LABELLED_AT_MOST`."""
        import ibis

        columns = ["output", "label", *(_PROBABILITY + name for name in self.classes)]
        rows = self.table.filter(self.table.label.notnull()).order_by(ibis.desc("time"), "prediction_id")
        return rows.limit(LABELLED_AT_MOST).select(*columns).to_pyarrow()


@dataclass(frozen=True)
class Counted:
    """Columns of a window in the bins of a profile.

    :param features: what the drift tests take, one for each column.
    :param bins: the reference's counts and the window's, by column.
    :param left_out: the columns that cannot be compared, and why.
    """

    features: tuple[FeatureCounts, ...]
    bins: dict[str, tuple[BinCounts, BinCounts]]
    left_out: dict[str, str] = field(default_factory=dict)


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
    """Bring the window's rows into the engine, which spills to disk what it cannot hold.

    Raises InvalidSpecError if the model has no prediction in the log at all, whenever and by whichever version.
    """
    from airflow_provider_mlops.serving.log import prediction_log

    logged = prediction_log.read(
        storage_uri, model_name, version=version, since=since, until=until, connection=connection
    )
    kept = [name for name in logged.columns if name in _KEPT or name.startswith((_FEATURE, _PROBABILITY))]
    table = connection.create_table("monitored_window", _arms(logged, include_pinned).select(kept), temp=True)
    counts = table.aggregate(rows=table.count(), labelled=table.label.count()).to_pyarrow().to_pylist()[0]
    if not counts["rows"]:
        anything = prediction_log.read(storage_uri, model_name, connection=connection)
        if not anything.count().to_pyarrow().as_py():
            raise InvalidSpecError(
                "model_name",
                model_name,
                f"the prediction log under {storage_uri} has nothing of this model: see that the gateway has answered "
                "for it, and that it was started with this storage URI",
            )
    return Window(table, since, until, int(counts["rows"]), int(counts["labelled"]))


def count_features(window: Window, profile: Profile) -> Counted:
    """Count every logged feature in the bins that the profile has of it."""
    names = {name.removeprefix(_FEATURE): name for name in window.table.columns if name.startswith(_FEATURE)}
    table = window.table.select(**{name: window.table[column] for name, column in names.items()})
    return _count(table, profile, window.rows)


def count_predictions(window: Window, profile: Profile) -> Counted:
    """Count the outputs, and the probabilities where both know them, in the bins of the prediction profile.

    The columns of the profile are called `prediction`, and `probability_<class>` for the probabilities. Of two classes
    only the second one's probability is counted: the first one's says the same.
    """
    columns = {"prediction": window.table.output}
    classes = window.classes[1:] if len(window.classes) == 2 else window.classes
    columns |= {_PROBABILITY + name: window.table[_PROBABILITY + name] for name in classes}
    known = {name: column for name, column in columns.items() if name in profile.names}
    if not known:
        return Counted((), {}, {"prediction": "the prediction profile does not know it"})
    return _count(window.table.select(**known), profile, window.rows)


def _count(table: ibis.Table, profile: Profile, rows: int) -> Counted:
    from airflow_provider_mlops.data.binning import bins_like

    left_out: dict[str, str] = {}
    compared: list[ColumnProfile] = []
    for name in table.columns:
        if name not in profile.names:
            left_out[name] = "the profile does not know it"
            continue
        column = profile.column(name)
        if column.bin_counts is None:
            left_out[name] = f"the profile has no bins of it: it is {column.kind}, with {column.values} values"
        elif column.identifier_like and column.kind == "categorical":
            left_out[name] = "it names rows, so that new values are what one expects"
        else:
            compared.append(column)
    counted = bins_like(table, compared) if compared else {}
    bins = {}
    for column in compared:
        reference = column.bin_counts
        assert reference is not None
        bins[column.name] = (reference, counted[column.name])
    features = tuple(feature_counts(column, *bins[column.name]) for column in compared)
    return Counted(features, bins, left_out)


def feature_counts(column: ColumnProfile, reference: BinCounts, current: BinCounts) -> FeatureCounts:
    """The counts of one column as the drift tests take them: numbers in as many bins as suit the smaller sample."""
    from airflow_provider_mlops.stats.drift.binning import choose_bin_count, merge_bins
    from airflow_provider_mlops.stats.drift.feature_counts import FeatureCounts

    missing = (reference.counts[0], current.counts[0])
    if column.bins is not None:
        before, now = reference.counts[2:-1], current.counts[2:-1]
        groups = merge_bins(before, choose_bin_count(min(reference.rows, current.rows)))
        return FeatureCounts.numeric(
            column.name,
            [sum(before[start:end]) for start, end in groups],
            [sum(now[start:end]) for start, end in groups],
            below=(reference.counts[1], current.counts[1]),
            above=(reference.counts[-1], current.counts[-1]),
            missing=missing,
        )
    return FeatureCounts.categorical(
        column.name,
        dict(zip(reference.labels[1:-1], reference.counts[1:-1], strict=True)),
        dict(zip(current.labels[1:-1], current.counts[1:-1], strict=True)),
        other=(reference.counts[-1], current.counts[-1]),
        missing=missing,
    )


def _arms(table: ibis.Table, include_pinned: bool) -> ibis.Table:
    from airflow_provider_mlops.serving.policy.policy import PINNED, SHADOW, VERIFICATION

    unwanted = [VERIFICATION, SHADOW] if include_pinned else [VERIFICATION, SHADOW, PINNED]
    return table.filter(table.arm.notin(unwanted))
