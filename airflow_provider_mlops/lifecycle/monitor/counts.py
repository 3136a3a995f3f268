"""Count the columns of a window in the bins of the profiles, which is all that the drift tests need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.monitor.window import FEATURE, PROBABILITY

if TYPE_CHECKING:
    import ibis

    from airflow_provider_mlops.data.profile import BinCounts, ColumnProfile, Profile
    from airflow_provider_mlops.lifecycle.monitor.window import Window
    from airflow_provider_mlops.stats.drift.feature_counts import FeatureCounts


@dataclass(frozen=True)
class WindowCounts:
    """The columns of a window, counted in the bins of a profile.

    Parameters
    ----------
    rows, labeled_rows
        Number of predictions in the window, and of those that have a label.
    features
        Counts for the drift tests, one for each column.
    bins
        Counts of the reference and of the window, by column.
    left_out
        Reasons why columns cannot be compared, by column.
    """

    rows: int
    labeled_rows: int = 0
    features: tuple[FeatureCounts, ...] = ()
    bins: dict[str, tuple[BinCounts, BinCounts]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def count_window(window: Window, profile: Profile, prediction_profile: Profile | None) -> WindowCounts:
    """Count the features and, if they have a profile, the predictions."""
    features = count_features(window, profile)
    if prediction_profile is None:
        left_out = features.left_out | {"prediction": "the version has no profile of its predictions"}
        return WindowCounts(window.rows, window.labeled_rows, features.features, features.bins, left_out)
    names = {counts.name for counts in features.features}
    predictions = count_predictions(window, prediction_profile)
    # A feature can have the same name as a column of the prediction profile; then the feature is used.
    added = tuple(counts for counts in predictions.features if counts.name not in names)
    return WindowCounts(
        window.rows,
        window.labeled_rows,
        (*added, *features.features),
        predictions.bins | features.bins,
        features.left_out | predictions.left_out,
    )


def count_features(window: Window, profile: Profile) -> WindowCounts:
    """Count every logged feature in the bins of the profile."""
    names = {name.removeprefix(FEATURE): name for name in window.table.columns if name.startswith(FEATURE)}
    table = window.table.select(**{name: window.table[column] for name, column in names.items()})
    return _count(table, profile, window)


def count_predictions(window: Window, profile: Profile) -> WindowCounts:
    """Count the outputs, and those probabilities that are in both the log and the prediction profile.

    The columns of the profile are `prediction`, and `probability_<class>` for the probabilities. If there are two
    classes, only the probability of the second is counted, because the first adds no information.
    """
    columns = {"prediction": window.table.output}
    classes = window.classes[1:] if len(window.classes) == 2 else window.classes
    columns |= {PROBABILITY + name: window.table[PROBABILITY + name] for name in classes}
    known = {name: column for name, column in columns.items() if name in profile.names}
    if not known:
        left_out = {"prediction": "the prediction profile does not have this column"}
        return WindowCounts(window.rows, window.labeled_rows, left_out=left_out)
    return _count(window.table.select(**known), profile, window)


def _count(table: ibis.Table, profile: Profile, window: Window) -> WindowCounts:
    from airflow_provider_mlops.data.binning import bins_like

    left_out: dict[str, str] = {}
    compared: list[ColumnProfile] = []
    references: dict[str, BinCounts] = {}
    for name in table.columns:
        if name not in profile.names:
            left_out[name] = "the profile does not have this column"
            continue
        column = profile.column(name)
        reference = column.bin_counts
        if reference is None:
            left_out[name] = f"the profile has no bins for this column ({column.kind}, {column.values} values)"
        elif column.identifier_like and column.kind == "categorical":
            left_out[name] = "the column identifies rows, so new values are expected"
        else:
            compared.append(column)
            references[name] = reference
    counted = bins_like(table, compared) if compared else {}
    bins = {name: (reference, counted[name]) for name, reference in references.items()}
    features = tuple(feature_counts(column, *bins[column.name]) for column in compared)
    return WindowCounts(window.rows, window.labeled_rows, features, bins, left_out)


def feature_counts(column: ColumnProfile, reference: BinCounts, current: BinCounts) -> FeatureCounts:
    """Return the counts of one column for the drift tests: numbers in as many bins as suit the smaller sample."""
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
