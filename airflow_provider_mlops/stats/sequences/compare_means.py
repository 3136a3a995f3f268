"""Gates on means, such as those of a business metric: a candidate against the champion."""

from __future__ import annotations

from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.bounded_mean import BoundedMoments, bounded_mean_sequence
from airflow_provider_mlops.stats.sequences.comparison import (
    Goal,
    SequentialComparison,
    judge_difference,
)
from airflow_provider_mlops.stats.sequences.mean import FIRST_LOOK, Moments, mean_difference_sequence


def compare_means(
    candidate: Moments,
    champion: Moments,
    *,
    what: str,
    greater_is_better: bool,
    margin: float = 0.0,
    goal: Goal = "non_inferior",
    min_count: int = FIRST_LOOK,
    confidence: float = 0.95,
    expected_n: float = 1000,
) -> SequentialComparison:
    """Compare two means, such as those of a business metric, with the asymptotic `mean_difference_sequence`.

    Parameters
    ----------
    candidate, champion
        Moments of each arm.
    min_count
        Values required of each arm, at least 2; with fewer the sequence is not used and the verdict is inconclusive.
    what, greater_is_better, margin, goal, confidence, expected_n
        As for `compare_rates`.

    Examples
    --------
    >>> candidate, champion = Moments(2000, 4400.0, 2000.0), Moments(2000, 4000.0, 2000.0)
    >>> compare_means(candidate, champion, what="order value", greater_is_better=True, goal="superior").verdict
    'better'
    """
    interval = mean_difference_sequence(
        candidate, champion, confidence=confidence, expected_n=expected_n, first_look=max(min_count, 2)
    )
    estimate = candidate.mean - champion.mean
    return judge_difference(
        interval,
        estimate,
        (candidate.count, champion.count),
        what=what,
        greater_is_better=greater_is_better,
        margin=margin,
        goal=goal,
        min_count=min_count,
        confidence=confidence,
        format_value="{:.4g}".format,
    )


def compare_bounded_means(
    candidate: BoundedMoments,
    champion: BoundedMoments,
    *,
    low: float,
    high: float,
    what: str,
    greater_is_better: bool,
    margin: float = 0.0,
    goal: Goal = "non_inferior",
    min_count: int = 0,
    confidence: float = 0.95,
    expected_n: float = 1000,
    expected_std: float | None = None,
) -> SequentialComparison:
    """Compare two means of bounded values without asymptotics: a `bounded_mean_sequence` per arm, at half the error.

    By the union bound, both contain their true mean at all times with the stated confidence. The difference of their
    ends therefore contains the true difference, however values are divided between the arms.

    Parameters
    ----------
    candidate, champion
        Moments of each arm.
    low, high, expected_std
        As for `bounded_mean_sequence`.
    what, greater_is_better, margin, goal, min_count, confidence, expected_n
        As for `compare_rates`, with `min_count` instead of `min_trials`.

    Examples
    --------
    >>> candidate = BoundedMoments(5000, 4000.0, 200.0)
    >>> champion = BoundedMoments(5000, 3500.0, 200.0)
    >>> compare_bounded_means(candidate, champion, low=0, high=1, what="score", greater_is_better=True).verdict
    'better'
    """
    ends = [
        bounded_mean_sequence(
            moments,
            low=low,
            high=high,
            confidence=(1 + confidence) / 2,
            expected_n=expected_n,
            expected_std=expected_std,
        )
        for moments in (candidate, champion)
    ]
    interval = Interval(ends[0].low - ends[1].high, ends[0].high - ends[1].low)
    estimate = candidate.total / max(candidate.count, 1) - champion.total / max(champion.count, 1)
    return judge_difference(
        interval,
        estimate,
        (candidate.count, champion.count),
        what=what,
        greater_is_better=greater_is_better,
        margin=margin,
        goal=goal,
        min_count=min_count,
        confidence=confidence,
        format_value="{:.4g}".format,
    )
