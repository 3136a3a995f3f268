"""A gate on drift: whether a candidate's predictions stay close to the champion's."""

from __future__ import annotations

from airflow_provider_mlops.stats.sequences.comparison import SequentialComparison, with_limit
from airflow_provider_mlops.stats.sequences.drift import DriftSequence


def compare_drift(
    drift: DriftSequence, largest: float, *, min_count: int = 0, confidence: float = 0.95
) -> SequentialComparison:
    """Compare how far predictions have moved with how far they may move.

    Parameters
    ----------
    drift
        Of `drift_sequence`.
    largest
        Share of predictions that may lie in other cells than the champion's, between 0 and 1.
    min_count
        Predictions of either arm; with fewer the verdict is inconclusive.
    confidence
        Of `drift`, for the sentence.

    >>> from airflow_provider_mlops.stats.sequences.drift import drift_sequence
    >>> found = compare_drift(drift_sequence([900, 100], [600, 400]), 0.1)
    >>> print(found.sentence)
    Share of predictions that moved is not below 0.1: 0.3, 95 % interval 0.2295 to 0.3703, on 1,000 observations.
    """
    if not 0 < largest < 1:
        raise ValueError(f"largest must lie between 0 and 1, not {largest}")
    return with_limit(
        drift.interval, drift.estimate, (drift.candidate_count, drift.champion_count), largest,
        what="share of predictions that moved", greater_is_better=False, min_count=min_count,
        confidence=confidence,
    )  # fmt: skip
