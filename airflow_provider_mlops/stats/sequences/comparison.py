"""Better, worse or inconclusive: what a confidence sequence says about a candidate, in a verdict and a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_mlops.stats.intervals.interval import Interval

Verdict = Literal["better", "worse", "inconclusive"]
Goal = Literal["non_inferior", "superior"]


@dataclass(frozen=True, slots=True)
class SequentialComparison:
    """What may be said now about a candidate, and could have been said at any time before with the same confidence.

    Parameters
    ----------
    verdict
        `better`: it reaches what is required. `worse`: it does not. `inconclusive`: more requests would tell.
    estimate, interval
        Of candidate less champion, or of the candidate's own rate, as measured: greater is not always better.
    required
        The value that the interval has to lie on the good side of.
    greater_is_better
        Which side is the good one.
    candidate_count, champion_count
        Observations of either arm; no champion: 0.
    sentence
        The same in plain words.
    """

    verdict: Verdict
    estimate: float
    interval: Interval
    required: float
    greater_is_better: bool
    candidate_count: int
    champion_count: int
    sentence: str


def judge(interval: Interval, required: float, greater_is_better: bool) -> Verdict:
    """On which side of what is required an interval lies.

    Non-inferiority and superiority differ only in what is required: a difference of minus or of plus the margin.
    Piaggio et al. (2012), *Reporting of noninferiority and equivalence randomized trials*, JAMA 308(24).

    >>> [judge(Interval(low, high), 0.0, True) for low, high in [(0.1, 0.3), (-0.1, 0.3), (-0.3, -0.1)]]
    ['better', 'inconclusive', 'worse']
    >>> judge(Interval(0.1, 0.3), 0.0, False)
    'worse'
    """
    if interval.low > required:
        return "better" if greater_is_better else "worse"
    if interval.high < required:
        return "worse" if greater_is_better else "better"
    return "inconclusive"


def required_difference(margin: float, goal: Goal, greater_is_better: bool) -> float:
    """The difference, candidate less champion, that has to be passed.

    >>> required_difference(0.1, "non_inferior", True), required_difference(0.1, "non_inferior", False)
    (-0.1, 0.1)
    """
    if not margin >= 0:
        raise ValueError(f"margin must not be negative, not {margin}")
    if goal not in ("non_inferior", "superior"):
        raise ValueError(f"goal must be non_inferior or superior, not {goal!r}")
    return margin if (goal == "superior") == greater_is_better else -margin


def with_required_difference(
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
    show: Callable[[float], str],
) -> SequentialComparison:
    """What an interval of candidate less champion says of the difference that has to be passed.

    Parameters
    ----------
    interval, estimate
        Of candidate less champion.
    counts
        Observations of the candidate and of the champion.
    what, greater_is_better, margin, goal, confidence
        As for `compare_rates`.
    min_count
        Of either arm; with fewer the verdict is inconclusive.
    show
        Writes a difference in the sentence.
    """
    required = required_difference(margin, goal, greater_is_better)
    least = max(min_count, 1)
    enough = min(counts) >= least
    verdict = judge(interval, required, greater_is_better) if enough else "inconclusive"
    on = f"{counts[0]:,} observations of the candidate and {counts[1]:,} of the champion"
    if enough:
        sentence = (
            f"candidate less champion {_outcome(verdict, greater_is_better)} {show(required)}; it is {show(estimate)}, "
            f"{100 * confidence:g} % interval {show(interval.low)} to {show(interval.high)}, on {on}."
        )
    else:
        sentence = f"too few observations, {on}; at least {least:,} of each are needed."
    return SequentialComparison(
        verdict, estimate, interval, required, greater_is_better, *counts, f"{_capitalized(what)}: {sentence}"
    )


def with_limit(
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
    """What an interval says of a fixed limit.

    Parameters
    ----------
    interval, estimate
        Of the candidate's value.
    counts
        Observations of the candidate, and of the champion where the value depends on both.
    limit
        What the value must be above (`greater_is_better`) or below.
    what, greater_is_better, min_count, confidence
        As for `with_required_difference`.

    >>> found = with_limit(
    ...     Interval(0.98, 0.995), 0.99, (5000,), 0.97, what="agreement", greater_is_better=True, min_count=100,
    ...     confidence=0.95,
    ... )
    >>> found.sentence
    'Agreement is above 0.97: 0.99, 95 % interval 0.98 to 0.995, on 5,000 observations.'
    """
    count, least = min(counts), max(min_count, 1)
    verdict = judge(interval, limit, greater_is_better) if count >= least else "inconclusive"
    if count >= least:
        sentence = (
            f" {_outcome(verdict, greater_is_better)} {limit:.4g}: {estimate:.4g}, {100 * confidence:g} % interval "
            f"{interval.low:.4g} to {interval.high:.4g}, on {count:,} observations."
        )
    else:
        sentence = f": too few observations, {count:,} of at least {least:,}."
    champion_count = counts[1] if len(counts) == 2 else 0
    return SequentialComparison(
        verdict, estimate, interval, limit, greater_is_better, counts[0], champion_count, _capitalized(what) + sentence
    )


def _outcome(verdict: Verdict, greater_is_better: bool) -> str:
    known = {"better": "is", "worse": "is not", "inconclusive": "is not known to be"}[verdict]
    return f"{known} {'above' if greater_is_better else 'below'}"


def _capitalized(what: str) -> str:
    return what[0].upper() + what[1:]
