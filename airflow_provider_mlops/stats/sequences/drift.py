"""How far predictions have moved from those of the champion, in an interval that may be looked at all the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from airflow_provider_mlops.stats.drift.counts import count_pair
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate_difference import rate_difference_bounds

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DriftSequence:
    """The share of predictions that lie in other cells than the champion's would.

    Parameters
    ----------
    estimate
        Total variation distance of the two histograms, from 0 to 1. It is above 0 without any drift.
    interval
        Of the true distance, valid at all times at once.
    candidate_count, champion_count
        Predictions of either arm.
    """

    estimate: float
    interval: Interval
    candidate_count: int
    champion_count: int


def drift_sequence(
    candidate_counts: ArrayLike,
    champion_counts: ArrayLike,
    expected_shares: ArrayLike | None = None,
    *,
    paired: bool = False,
    confidence: float = 0.95,
    expected_n: float = 1000,
) -> DriftSequence:
    r"""An interval of the total variation distance between two arms' predictions, valid at all times at once.

    A difference of no size is not what a gate should look for: with enough requests any two versions differ. So this
    bounds *how much* they differ, by :math:`\mathrm{TV} = \frac12\sum_j |p_j - q_j|`: the share of predictions that
    would have to change their cell. Two bounds, at half the error each, are intersected:

    - Over all cells: against any distribution :math:`p` of an arm stands the Dirichlet-multinomial mixture
      :math:`M(p) = \frac{B(\alpha + c)}{B(\alpha)} / \prod_j p_j^{c_j}` for counts :math:`c` (Robbins' mixture; a
      mixture e-value in the sense of Grünwald, de Heide and Koolen (2024), *Safe testing*, JRSS B 86(5)). Where the
      prior does not depend on :math:`p`, :math:`M(p) < 1/\alpha` is a ball
      :math:`n\,\mathrm{KL}(\hat p\,\|\,p) < \beta`. The product of both arms' martingales gives
      :math:`n_0 \mathrm{KL}_0 + n_1 \mathrm{KL}_1 < \beta`, and Pinsker's inequality with that of Cauchy and Schwarz

      .. math:: |\mathrm{TV} - \widehat{\mathrm{TV}}| \le
                \sqrt{\tfrac{\beta}{2}\left(\tfrac1{n_0} + \tfrac1{n_1}\right)}

    - Over single cells: a `rate_difference_sequence` in each of :math:`k` cells, at an error of :math:`\alpha/2k`
      (union bound). TV is at least the sum of the differences that are surely positive, and of those surely negative.

    The first shows that there is little drift, the second finds it early where it sits in a few cells. Both hold for
    any sharing out of requests between the arms that depends on the past only. Counts of replicas add. A request of
    several predictions counts once, in shares of the cells that they lie in: by the inequality of weighted means its
    factor :math:`\prod_j (\theta_j/p_j)^{c_j}` is no greater on average than that of one prediction.

    Parameters
    ----------
    candidate_counts, champion_counts
        Predictions in each cell, of shape `(cells,)`, at least two cells that were declared before the data.
    expected_shares
        The champion's distribution as it was known before, such as from its prediction profile, of shape `(cells,)`;
        it centres the mixture and needs not be right. By default all cells alike.
    paired
        Whether both arms answered the same requests, as in a shadow rollout. Their martingales may then not be
        multiplied; the error is halved between them instead.
    confidence, expected_n
        As for `rate_difference_sequence`.

    >>> found = drift_sequence([9000, 10_500, 10_500], [10_000, 10_000, 10_000], expected_n=10_000)
    >>> round(found.estimate, 3), [round(end, 3) for end in found.interval]
    (0.033, [0.018, 0.049])
    """
    candidate, champion = count_pair(candidate_counts, champion_counts)
    if candidate.size < 2:
        raise ValueError("drift needs at least two cells")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    expected = np.ones_like(candidate) if expected_shares is None else np.asarray(expected_shares, dtype=np.float64)
    if expected.shape != candidate.shape or not np.all(expected >= 0) or not expected.sum() > 0:
        raise ValueError("expected_shares must be one share that is not negative for each cell")
    counts = np.array([candidate.sum(), champion.sum()])
    if not np.all(counts > 0):
        return DriftSequence(0.0, Interval(0.0, 1.0), round(counts[0]), round(counts[1]))
    error = (1 - confidence) / 2
    difference = candidate / counts[0] - champion / counts[1]
    estimate = float(np.abs(difference).sum() / 2)
    # Half a prediction for each cell keeps possible what the profile had not seen.
    prior = prior_observations(expected_n, error) * expected / expected.sum() + 0.5
    budgets = np.array([log_ball(candidate, prior), log_ball(champion, prior)])
    if paired:
        reach = float(np.sum(np.sqrt((budgets - np.log(error / 2)) / (2 * counts))))
    else:
        reach = float(np.sqrt((budgets.sum() - np.log(error)) / 2 * np.sum(1 / counts)))
    low, high = _over_cells(candidate, champion, paired, error, expected_n)
    return DriftSequence(
        estimate,
        Interval(max(0.0, estimate - reach, low), min(1.0, estimate + reach, high)),
        round(counts[0]),
        round(counts[1]),
    )


def log_ball(counts: ArrayLike, prior: ArrayLike) -> float:
    r"""By how much the best-fitting distribution beats the Dirichlet-multinomial mixture, in log likelihood.

    A distribution :math:`p` is kept while :math:`n\,\mathrm{KL}(\hat p\,\|\,p)` is below this less :math:`\log\alpha`.

    Parameters
    ----------
    counts, prior
        Of shape `(cells,)`; the prior's are above 0.

    >>> round(log_ball([30, 70], [0.5, 0.5]), 3)
    2.531
    """
    seen, alpha = np.asarray(counts, dtype=np.float64), np.asarray(prior, dtype=np.float64)
    best = float(special.xlogy(seen, seen / max(seen.sum(), 1.0)).sum())
    mixture = float(np.sum(special.gammaln(alpha + seen) - special.gammaln(alpha)))
    return best - (mixture + float(special.gammaln(alpha.sum()) - special.gammaln(alpha.sum() + seen.sum())))


def log_evidence_of_drift(counts: ArrayLike, shares: ArrayLike, prior: ArrayLike) -> float:
    r"""Log of the mixture e-value against one known distribution. Above :math:`-\log\alpha` there is *some* drift.

    Parameters
    ----------
    counts
        Predictions in each cell, of shape `(cells,)`.
    shares
        The distribution, of shape `(cells,)`. A prediction in a cell of share 0 is infinite evidence.
    prior
        Of the mixture, of shape `(cells,)`, above 0; declared before the data.

    >>> round(log_evidence_of_drift([30, 70], [0.5, 0.5], [0.5, 0.5]), 2)
    5.7
    """
    seen, known = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if np.any((known == 0) & (seen > 0)):
        return np.inf
    observed = seen / max(seen.sum(), 1.0)
    return float(special.rel_entr(observed, known).sum() * seen.sum()) - log_ball(seen, prior)


def _over_cells(
    candidate: Floats, champion: Floats, paired: bool, error: float, expected_n: float
) -> tuple[float, float]:
    """Bounds of the distance from bounds of the difference in each cell."""
    cells = candidate.size
    trials = np.full(cells, candidate.sum()), np.full(cells, champion.sum())
    low, high = rate_difference_bounds(
        candidate, trials[0], champion, trials[1], paired=paired, confidence=1 - error / cells, expected_n=expected_n
    )
    # The differences sum to 0: the distance is the sum of the positive ones, and that of the negative ones.
    least = max(float(np.maximum(low, 0).sum()), float(np.maximum(-high, 0).sum()))
    most = min(float(np.maximum(high, 0).sum()), float(np.maximum(-low, 0).sum()))
    return least, most
