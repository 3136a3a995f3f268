"""Gates on rates: a candidate against the champion, or against a fixed limit."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_mlops.stats.checks import check_unit_interval
from airflow_provider_mlops.stats.sequences.comparison import (
    Goal,
    SequentialComparison,
    judge_difference,
    judge_with_limit,
)
from airflow_provider_mlops.stats.sequences.concurrent_rates import ConcurrentCounts, concurrent_rate_difference
from airflow_provider_mlops.stats.sequences.rate import rate_sequence
from airflow_provider_mlops.stats.sequences.rate_difference import rate_difference_sequence


def compare_rates(
    candidate_successes: int,
    candidate_trials: int,
    champion_successes: int,
    champion_trials: int,
    *,
    what: str,
    greater_is_better: bool,
    margin: float = 0.0,
    goal: Goal = "non_inferior",
    paired: bool = False,
    min_trials: int = 0,
    confidence: float = 0.95,
    expected_n: float = 1000,
) -> SequentialComparison:
    """Compare two rates, such as rates of errors, conversions or slow requests, with `rate_difference_sequence`.

    Parameters
    ----------
    candidate_successes, candidate_trials, champion_successes, champion_trials
        Counts of each arm.
    what
        Name of the rate for the sentence, such as `error rate`.
    greater_is_better
        False for errors.
    margin
        Difference by which the candidate may be worse (`non_inferior`), or must be better (`superior`). Not negative.
    goal
        `non_inferior` or `superior`.
    paired
        Whether both arms answered the same requests, as in a shadow rollout.
    min_trials
        Trials required of each arm; with fewer the verdict is inconclusive.
    confidence, expected_n
        As for `rate_difference_sequence`.

    Examples
    --------
    >>> comparison = compare_rates(9, 5000, 40, 5000, what="error rate", greater_is_better=False, margin=0.002)
    >>> comparison.verdict, [round(end, 4) for end in comparison.interval]
    ('better', [-0.0123, -0.0012])
    >>> comparison.sentence[:67]
    'Error rate: candidate minus champion is below 0.2 points; it is -0.'
    """
    interval = rate_difference_sequence(
        candidate_successes,
        candidate_trials,
        champion_successes,
        champion_trials,
        paired=paired,
        confidence=confidence,
        expected_n=expected_n,
    )
    estimate = candidate_successes / max(candidate_trials, 1) - champion_successes / max(champion_trials, 1)
    return judge_difference(
        interval,
        estimate,
        (candidate_trials, champion_trials),
        what=what,
        greater_is_better=greater_is_better,
        margin=margin,
        goal=goal,
        min_count=min_trials,
        confidence=confidence,
        format_value=points,
    )


def compare_concurrent_rates(
    stretches: Sequence[ConcurrentCounts],
    *,
    what: str,
    greater_is_better: bool,
    margin: float = 0.0,
    margin_for_now: float | None = None,
    confidence: float = 0.95,
) -> SequentialComparison:
    """Compare two rates of requests that were assigned at random, with `concurrent_rate_difference`.

    It is valid even if both rates vary together. Only stretches in which both versions answered are compared.

    Parameters
    ----------
    stretches
        Counts of each stretch of time with a constant share.
    margin_for_now
        As for `judge_difference`.
    what, greater_is_better, margin, confidence
        As for `compare_rates`.

    Examples
    --------
    >>> counts = ConcurrentCounts(9, 5000, 40, 5000, share=0.5)
    >>> compare_concurrent_rates([counts], what="error rate", greater_is_better=False, margin=0.002).verdict
    'better'
    """
    compared = [stretch for stretch in stretches if 0 < stretch.share < 1]
    n1, n0 = (round(sum(stretch[place] for stretch in compared)) for place in (1, 3))
    weights = [
        stretch.candidate_trials * stretch.champion_trials / total
        for stretch in compared
        if (total := stretch.candidate_trials + stretch.champion_trials)
    ]
    differences = [
        stretch.candidate_successes / max(stretch.candidate_trials, 1)
        - stretch.champion_successes / max(stretch.champion_trials, 1)
        for stretch in compared
        if stretch.candidate_trials + stretch.champion_trials
    ]
    total = sum(weights)
    estimate = sum(w * d for w, d in zip(weights, differences, strict=True)) / total if total else 0.0
    return judge_difference(
        concurrent_rate_difference(compared, confidence=confidence),
        estimate,
        (n1, n0),
        what=what,
        greater_is_better=greater_is_better,
        margin=margin,
        goal="non_inferior",
        min_count=0,
        confidence=confidence,
        format_value=points,
        margin_for_now=margin_for_now,
    )


def compare_rate_with_limit(
    successes: float,
    trials: int,
    limit: float,
    *,
    what: str,
    greater_is_better: bool,
    min_trials: int = 0,
    confidence: float = 0.95,
    expected_n: float = 1000,
) -> SequentialComparison:
    """Compare one rate with a fixed limit, with `rate_sequence`: agreement with the champion, or slow requests.

    In a shadow rollout both versions answer the same requests, so the proportion of equal answers is a single rate.

    Parameters
    ----------
    successes, trials
        Counts of the candidate; for values between 0 and 1 their sum and their number.
    limit
        Limit that the rate must be above (`greater_is_better`) or below, between 0 and 1.
    what, greater_is_better, min_trials, confidence, expected_n
        As for `compare_rates`.

    Examples
    --------
    >>> agreement = compare_rate_with_limit(4950, 5000, 0.97, what="agreement", greater_is_better=True)
    >>> print(agreement.sentence)
    Agreement is above 0.97: 0.99, 95% interval 0.985 to 0.9939, on 5,000 observations.
    """
    check_unit_interval(limit=limit)
    interval = rate_sequence(successes, trials, confidence=confidence, expected_n=expected_n)
    return judge_with_limit(
        interval,
        successes / trials if trials else float("nan"),
        (trials,),
        limit,
        what=what,
        greater_is_better=greater_is_better,
        min_count=min_trials,
        confidence=confidence,
    )


def points(value: float) -> str:
    """Format a difference of rates in percentage points.

    >>> points(-0.0062)
    '-0.62 points'
    """
    return f"{100 * value:.3g} points"
