"""Verdicts from confidence sequences: is a candidate better, worse, or is the evidence inconclusive?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_mlops.stats.checks import check_not_negative
from airflow_provider_mlops.stats.intervals.interval import Interval

Verdict = Literal["better", "worse", "inconclusive"]
Goal = Literal["non_inferior", "superior"]


@dataclass(frozen=True, slots=True)
class SequentialComparison:
    """A verdict on a candidate. It holds at the stated confidence however often and whenever it is computed.

    Parameters
    ----------
    verdict
        `better`: the candidate reaches what is required. `worse`: it does not. `inconclusive`: more requests are
        needed.
    estimate, interval
        Candidate minus champion, or the candidate's own rate, as measured: greater is not always better.
    required
        Value that the whole interval must be above or below.
    greater_is_better
        Whether the interval must be above (True) or below (False) the required value.
    candidate_count, champion_count
        Number of observations of each arm; 0 without a champion.
    sentence
        The result in plain words.
    """

    verdict: Verdict
    estimate: float
    interval: Interval
    required: float
    greater_is_better: bool
    candidate_count: int
    champion_count: int
    sentence: str


def interval_verdict(interval: Interval, required: float, greater_is_better: bool) -> Verdict:
    """Return the verdict of an interval: on which side of the required value it is.

    Non-inferiority and superiority differ only in the required value: minus the margin, or plus the margin. Piaggio et
    al. (2012), *Reporting of noninferiority and equivalence randomized trials*, JAMA 308(24).

    >>> [interval_verdict(Interval(low, high), 0.0, True) for low, high in [(0.1, 0.3), (-0.1, 0.3), (-0.3, -0.1)]]
    ['better', 'inconclusive', 'worse']
    >>> interval_verdict(Interval(0.1, 0.3), 0.0, False)
    'worse'
    """
    if interval.low > required:
        return "better" if greater_is_better else "worse"
    if interval.high < required:
        return "worse" if greater_is_better else "better"
    return "inconclusive"


def required_difference(margin: float, goal: Goal, greater_is_better: bool) -> float:
    """Return the difference, candidate minus champion, that the candidate must pass.

    >>> required_difference(0.1, "non_inferior", True), required_difference(0.1, "non_inferior", False)
    (-0.1, 0.1)
    """
    check_not_negative(margin=margin)
    if goal not in ("non_inferior", "superior"):
        raise ValueError(f"goal must be 'non_inferior' or 'superior', got {goal!r}")
    return margin if (goal == "superior") == greater_is_better else -margin


def judge_difference(
    interval: Interval,
    estimate: float,
    counts: tuple[int, int],
    *,
    what: str,
    greater_is_better: bool,
    margin: float,
    goal: Goal,
    min_count: int,
    confidence: float,
    format_value: Callable[[float], str],
    margin_for_now: float | None = None,
) -> SequentialComparison:
    """Compare an interval of candidate minus champion with the difference that the candidate must pass.

    Parameters
    ----------
    interval, estimate
        Interval and estimate of candidate minus champion.
    counts
        Number of observations of the candidate and of the champion.
    what, greater_is_better, margin, goal, confidence
        As for `compare_rates`.
    min_count
        Observations required of each arm; with fewer the verdict is inconclusive.
    format_value
        Function that formats a difference for the sentence.
    margin_for_now
        Margin that is enough to be `better` for the moment, at least `margin`; None for `margin`. It does not change
        when the candidate is `worse`.
    """
    required = required_difference(margin, goal, greater_is_better)
    needed = max(min_count, 1)
    enough = min(counts) >= needed
    verdict = interval_verdict(interval, required, greater_is_better) if enough else "inconclusive"
    if verdict == "inconclusive" and enough and margin_for_now is not None:
        wider = required_difference(margin_for_now, goal, greater_is_better)
        if interval_verdict(interval, wider, greater_is_better) == "better":
            verdict, required = "better", wider
    if enough:
        sentence = (
            f"candidate minus champion {_outcome(verdict, greater_is_better)} {format_value(required)}; "
            f"it is {format_value(estimate)}, "
            f"{100 * confidence:g}% interval {format_value(interval.low)} to {format_value(interval.high)}, on "
            f"{_observations(counts[0])} of the candidate and {counts[1]:,} of the champion."
        )
    else:
        sentence = (
            f"too few observations ({counts[0]:,} of the candidate and {counts[1]:,} of the champion), required at "
            f"least {needed:,} of each."
        )
    return SequentialComparison(
        verdict, estimate, interval, required, greater_is_better, *counts, f"{_capitalized(what)}: {sentence}"
    )


def judge_with_limit(
    interval: Interval,
    estimate: float,
    counts: tuple[int] | tuple[int, int],
    limit: float,
    *,
    what: str,
    greater_is_better: bool,
    min_count: int,
    confidence: float,
) -> SequentialComparison:
    """Compare an interval with a fixed limit.

    Parameters
    ----------
    interval, estimate
        Interval and estimate of the candidate's value.
    counts
        Number of observations of the candidate, and of the champion if the value depends on both.
    limit
        Limit that the value must be above (`greater_is_better`) or below.
    what, greater_is_better, min_count, confidence
        As for `judge_difference`.

    Examples
    --------
    >>> comparison = judge_with_limit(
    ...     Interval(0.98, 0.995),
    ...     0.99,
    ...     (5000,),
    ...     0.97,
    ...     what="agreement",
    ...     greater_is_better=True,
    ...     min_count=100,
    ...     confidence=0.95,
    ... )
    >>> comparison.sentence
    'Agreement is above 0.97: 0.99, 95% interval 0.98 to 0.995, on 5,000 observations.'
    """
    count, needed = min(counts), max(min_count, 1)
    verdict = interval_verdict(interval, limit, greater_is_better) if count >= needed else "inconclusive"
    if count >= needed:
        sentence = (
            f" {_outcome(verdict, greater_is_better)} {limit:.4g}: {estimate:.4g}, {100 * confidence:g}% interval "
            f"{interval.low:.4g} to {interval.high:.4g}, on {_observations(count)}."
        )
    else:
        sentence = f": too few observations ({count:,}), required at least {needed:,}."
    champion_count = counts[1] if len(counts) == 2 else 0
    return SequentialComparison(
        verdict, estimate, interval, limit, greater_is_better, counts[0], champion_count, _capitalized(what) + sentence
    )


def _observations(count: int) -> str:
    return "1 observation" if count == 1 else f"{count:,} observations"


def _outcome(verdict: Verdict, greater_is_better: bool) -> str:
    phrase = {"better": "is", "worse": "is not", "inconclusive": "is not known to be"}[verdict]
    return f"{phrase} {'above' if greater_is_better else 'below'}"


def _capitalized(what: str) -> str:
    return what[0].upper() + what[1:]
