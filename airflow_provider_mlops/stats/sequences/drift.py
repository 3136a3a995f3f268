"""Confidence sequence for how far predictions have moved from those of the champion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_confidence
from airflow_provider_mlops.stats.drift.counts import validate_count_pair
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate_difference import rate_difference_bounds


@dataclass(frozen=True, slots=True)
class DriftSequence:
    """The proportion of predictions in other cells than the champion's, with its interval.

    Parameters
    ----------
    estimate
        Total variation distance of the two histograms, from 0 to 1. It is above 0 even without drift.
    interval
        Interval of the true distance, valid at all times at once.
    candidate_count, champion_count
        Number of predictions of each arm.
    """

    estimate: float
    interval: Interval
    candidate_count: int
    champion_count: int


def drift_sequence(
    candidate_counts: ArrayLike,
    champion_counts: ArrayLike,
    expected_proportions: ArrayLike | None = None,
    *,
    paired: bool = False,
    confidence: float = 0.95,
    expected_n: float = 1000,
) -> DriftSequence:
    r"""Return an interval of the total variation distance between two arms' predictions, valid at all times at once.

    With enough requests any two versions differ, so a gate should not ask whether there is any difference. This
    function bounds *how much* they differ, by :math:`\mathrm{TV} = \frac12\sum_j |p_j - q_j|`: the proportion of
    predictions that would have to change their cell. It intersects two bounds, each at half the error:

    - Over all cells: for any distribution :math:`p` of an arm there is the Dirichlet-multinomial mixture :math:`M(p) =
      \frac{B(\alpha + c)}{B(\alpha)} / \prod_j p_j^{c_j}` for counts :math:`c` (Robbins' mixture; a mixture e-value in
      the sense of Grünwald, de Heide and Koolen (2024), *Safe testing*, JRSS B 86(5)). If the prior does not depend on
      :math:`p`, :math:`M(p) < 1/\alpha` is a ball :math:`n\,\mathrm{KL}(\hat p\,\|\,p) < \beta`. The product of both
      arms' martingales gives :math:`n_0 \mathrm{KL}_0 + n_1 \mathrm{KL}_1 < \beta`, and the inequalities of Pinsker and
      of Cauchy and Schwarz give

      .. math:: |\mathrm{TV} - \widehat{\mathrm{TV}}| \le
                \sqrt{\tfrac{\beta}{2}\left(\tfrac1{n_0} + \tfrac1{n_1}\right)}

    - Over single cells: a `rate_difference_sequence` in each of :math:`k` cells, at an error of :math:`\alpha/2k`
      (union bound). TV is at least the sum of the differences that are certainly positive, and at least that of the
      certainly negative ones.

    The first bound shows that there is little drift; the second finds drift early if it is in a few cells. Both hold
    however requests are divided between the arms, if the division depends on the past only. Counts of replicas add. A
    request with several predictions counts once, divided among the cells of its predictions: by the inequality of
    weighted means its factor :math:`\prod_j (\theta_j/p_j)^{c_j}` is on average at most that of one prediction.

    Parameters
    ----------
    candidate_counts, champion_counts
        Predictions in each cell, shape `(cells,)`; at least two cells that were declared before the data.
    expected_proportions
        Distribution of the champion as known before, for example from its prediction profile, shape `(cells,)`. The
        mixture is centered at it; it does not have to be right. By default all cells are equal.
    paired
        Whether both arms answered the same requests, as in a shadow rollout. Their martingales must not be multiplied
        then; the error is divided between them instead.
    confidence, expected_n
        As for `rate_difference_sequence`.

    Examples
    --------
    >>> drift = drift_sequence([9000, 10_500, 10_500], [10_000, 10_000, 10_000], expected_n=10_000)
    >>> round(drift.estimate, 3), [round(end, 3) for end in drift.interval]
    (0.033, [0.018, 0.049])
    """
    candidate, champion = validate_count_pair(candidate_counts, champion_counts)
    if candidate.size < 2:
        raise ValueError(f"candidate_counts and champion_counts must have at least two cells, got {candidate.size}")
    check_confidence(confidence)
    expected = (
        np.ones_like(candidate) if expected_proportions is None else np.asarray(expected_proportions, dtype=np.float64)
    )
    if expected.shape != candidate.shape or not np.all(expected >= 0) or not expected.sum() > 0:
        raise ValueError(
            "expected_proportions must have one non-negative number per cell, and at least one must be positive, "
            f"got shape {expected.shape} for {candidate.size} cells"
        )
    counts = np.array([candidate.sum(), champion.sum()])
    if not np.all(counts > 0):
        return DriftSequence(0.0, Interval(0.0, 1.0), round(counts[0]), round(counts[1]))
    error = (1 - confidence) / 2
    difference = candidate / counts[0] - champion / counts[1]
    estimate = float(np.abs(difference).sum() / 2)
    # Half a prediction per cell keeps cells possible that the profile had not seen.
    prior = prior_observations(expected_n, error) * expected / expected.sum() + 0.5
    budgets = np.array([log_likelihood_gap(candidate, prior), log_likelihood_gap(champion, prior)])
    if paired:
        radius = float(np.sum(np.sqrt((budgets - np.log(error / 2)) / (2 * counts))))
    else:
        radius = float(np.sqrt((budgets.sum() - np.log(error)) / 2 * np.sum(1 / counts)))
    low, high = _distance_bounds_from_cells(candidate, champion, paired, error, expected_n)
    return DriftSequence(
        estimate,
        Interval(max(0.0, estimate - radius, low), min(1.0, estimate + radius, high)),
        round(counts[0]),
        round(counts[1]),
    )


def log_likelihood_gap(counts: ArrayLike, prior: ArrayLike) -> float:
    r"""Return how much the best-fitting distribution exceeds the Dirichlet-multinomial mixture in log likelihood.

    A distribution :math:`p` is kept while :math:`n\,\mathrm{KL}(\hat p\,\|\,p)` is below this value minus
    :math:`\log\alpha`.

    Parameters
    ----------
    counts, prior
        Counts and parameters of the prior, shape `(cells,)`; those of the prior are above 0.

    Examples
    --------
    >>> round(log_likelihood_gap([30, 70], [0.5, 0.5]), 3)
    2.531
    """
    seen, alpha = np.asarray(counts, dtype=np.float64), np.asarray(prior, dtype=np.float64)
    best = float(special.xlogy(seen, seen / max(seen.sum(), 1.0)).sum())
    mixture = float(np.sum(special.gammaln(alpha + seen) - special.gammaln(alpha)))
    return best - (mixture + float(special.gammaln(alpha.sum()) - special.gammaln(alpha.sum() + seen.sum())))


def log_evidence_of_drift(counts: ArrayLike, proportions: ArrayLike, prior: ArrayLike) -> float:
    r"""Return the log of the mixture e-value against one known distribution.

    Above :math:`-\log\alpha` there is *some* drift, at all times at once.

    Parameters
    ----------
    counts
        Predictions in each cell, shape `(cells,)`.
    proportions
        The known distribution, shape `(cells,)`. A prediction in a cell with proportion 0 is infinite evidence.
    prior
        Parameters of the mixture, shape `(cells,)`, above 0; declared before the data.

    Examples
    --------
    >>> round(log_evidence_of_drift([30, 70], [0.5, 0.5], [0.5, 0.5]), 2)
    5.7
    """
    seen, known = np.asarray(counts, dtype=np.float64), np.asarray(proportions, dtype=np.float64)
    if np.any((known == 0) & (seen > 0)):
        return np.inf
    observed = seen / max(seen.sum(), 1.0)
    return float(special.rel_entr(observed, known).sum() * seen.sum()) - log_likelihood_gap(seen, prior)


def _distance_bounds_from_cells(
    candidate: Floats, champion: Floats, paired: bool, error: float, expected_n: float
) -> tuple[float, float]:
    """Return bounds of the distance from bounds of the difference in each cell."""
    cells = candidate.size
    trials = np.full(cells, candidate.sum()), np.full(cells, champion.sum())
    low, high = rate_difference_bounds(
        candidate, trials[0], champion, trials[1], paired=paired, confidence=1 - error / cells, expected_n=expected_n
    )
    # The differences sum to 0: the distance is the sum of the positive ones, and also that of the negative ones.
    least = max(float(np.maximum(low, 0).sum()), float(np.maximum(-high, 0).sum()))
    most = min(float(np.maximum(high, 0).sum()), float(np.maximum(-low, 0).sum()))
    return least, most
