"""Better, worse or inconclusive: what a confidence sequence says about a candidate, in a verdict and a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_mlops.stats.intervals import Interval

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
    Piaggio et al. (2012), *Reporting of noninferiority and equivalence randomized trials*, JAMA 308(24), figure 1.

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


def difference_sentence(
    what: str,
    verdict: Verdict,
    estimate: float,
    interval: Interval,
    required: float,
    greater_is_better: bool,
    candidate_count: int,
    champion_count: int,
    confidence: float,
    minimum: int,
    show: Callable[[float], str],
) -> str:
    """What a comparison found, as a sentence for a report or a log."""
    name = what[0].upper() + what[1:]
    on = f"{candidate_count:,} observations of the candidate and {champion_count:,} of the champion"
    if min(candidate_count, champion_count) < max(minimum, 1):
        return f"{name}: too few observations, {on}; at least {max(minimum, 1):,} of each are needed."
    need = f"{'above' if greater_is_better else 'below'} {show(required)}"
    outcome = {"better": "is", "worse": "is not", "inconclusive": "is not known to be"}[verdict]
    return (
        f"{name}: candidate less champion {outcome} {need}; it is {show(estimate)}, {100 * confidence:g} % interval "
        f"{show(interval.low)} to {show(interval.high)}, on {on}."
    )


def limit_sentence(
    what: str,
    verdict: Verdict,
    estimate: float,
    interval: Interval,
    limit: float,
    greater_is_better: bool,
    count: int,
    confidence: float,
    minimum: int,
) -> str:
    """What a comparison with a fixed limit found, as a sentence.

    >>> limit_sentence("agreement", "better", 0.99, Interval(0.98, 0.995), 0.97, True, 5000, 0.95, 100)
    'Agreement is above 0.97: 0.99, 95 % interval 0.98 to 0.995, on 5,000 observations.'
    """
    name = what[0].upper() + what[1:]
    if count < max(minimum, 1):
        return f"{name}: too few observations, {count:,} of at least {max(minimum, 1):,}."
    need = f"{'above' if greater_is_better else 'below'} {limit:.4g}"
    outcome = {"better": "is", "worse": "is not", "inconclusive": "is not known to be"}[verdict]
    return (
        f"{name} {outcome} {need}: {estimate:.4g}, {100 * confidence:g} % interval "
        f"{interval.low:.4g} to {interval.high:.4g}, on {count:,} observations."
    )
