"""Gate on drift: do a candidate's predictions stay close to the champion's?"""

from __future__ import annotations

from airflow_provider_mlops.stats.checks import check_open_unit_interval
from airflow_provider_mlops.stats.sequences.comparison import SequentialComparison, judge_with_limit
from airflow_provider_mlops.stats.sequences.drift import DriftSequence


def compare_drift(
    drift: DriftSequence, max_distance: float, *, min_count: int = 0, confidence: float = 0.95
) -> SequentialComparison:
    """Compare how far predictions have moved with how far they may move.

    Parameters
    ----------
    drift
        Result of `drift_sequence`.
    max_distance
        Largest fraction of predictions that may be in other cells than the champion's, between 0 and 1.
    min_count
        Predictions required of each arm; with fewer the verdict is inconclusive.
    confidence
        Confidence level of `drift`, for the sentence.

    Examples
    --------
    >>> from airflow_provider_mlops.stats.sequences.drift import drift_sequence
    >>> comparison = compare_drift(drift_sequence([900, 100], [600, 400]), 0.1)
    >>> print(comparison.sentence)
    Proportion of predictions that moved is not below 0.1: 0.3, 95% interval 0.2295 to 0.3703, on 1,000 observations.
    """
    check_open_unit_interval(max_distance=max_distance)
    return judge_with_limit(
        drift.interval,
        drift.estimate,
        (drift.candidate_count, drift.champion_count),
        max_distance,
        what="proportion of predictions that moved",
        greater_is_better=False,
        min_count=min_count,
        confidence=confidence,
    )
