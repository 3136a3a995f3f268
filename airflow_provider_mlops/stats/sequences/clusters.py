"""Confidence sequences for clustered observations: rewards of one request, requests of one user."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_confidence, check_positive
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations

CLUSTERS = 1024
"""Number of clusters that units, such as requests or users, are divided among by a hash."""
MIN_CLUSTERS = 30
"""Clusters with observations that each arm needs; with fewer, the variance between them is hardly known."""
MIN_SPREAD = 5.0
"""Clusters that the variance of a mean must come from; with fewer, a few large values decide."""


@dataclass(frozen=True, slots=True, eq=False)
class ClusterSums:
    """Sums of the observations in each cluster. The sums of several replicas can be added.

    A unit is what was randomized: a request with all its rows, or a user with all their requests. All observations of a
    unit are in the same cluster, which a hash of the unit selects, so that clusters do not depend on each other. A
    cluster may contain many units. This is the bucket method: Chamandy, Muralidharan, Najmi and Naidu (2012),
    *Estimating uncertainty for massive data streams*, Google technical report.

    Parameters
    ----------
    weight, total
        Sum of the weights (1 for each observation, or the inverse of its propensity), and weighted sum of the values,
        both of shape `(..., strata, clusters)`. A stratum is a stretch of time with constant shares.

    Examples
    --------
    >>> sums = ClusterSums.of([{0: (3, 2.0), 5: (1, 1.0)}], clusters=8)
    >>> sums.weight.sum(), sums.total.sum(), sums.occupied
    (np.float64(4.0), np.float64(3.0), 2)
    """

    weight: Floats
    total: Floats

    @classmethod
    def of(cls, strata: Sequence[Mapping[int, tuple[float, float]]], clusters: int = CLUSTERS) -> ClusterSums:
        """Create the sums from a mapping of cluster to weight and total for each stratum."""
        sums = np.zeros((2, max(len(strata), 1), clusters))
        for number, stratum in enumerate(strata):
            if stratum:
                sums[:, number, list(stratum)] = np.array(list(stratum.values())).T
        return cls(sums[0], sums[1])

    def __add__(self, other: ClusterSums) -> ClusterSums:
        return ClusterSums(self.weight + other.weight, self.total + other.total)

    @property
    def occupied(self) -> int:
        """Number of clusters with observations in any stratum."""
        return int(np.any(self.weight > 0, axis=-2).sum(axis=-1))

    @property
    def pooled(self) -> ClusterSums:
        """The sums over all strata, as one stratum."""
        return ClusterSums(self.weight.sum(axis=-2, keepdims=True), self.total.sum(axis=-2, keepdims=True))


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredEstimate:
    """A mean or a difference of means, with a variance that is robust to dependence within clusters.

    Parameters
    ----------
    value, variance
        The estimate and the estimated variance of it, for several problems at once if the sums were.
    clusters
        Clusters with observations, of the arm that has fewer.
    spread
        Clusters that the variance comes from: its effective number, :math:`(\\sum \\psi^2)^2 / \\sum \\psi^4`.
    """

    value: Floats
    variance: Floats
    clusters: Floats
    spread: Floats

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Whether there are enough clusters, and enough spread between them, for the variance to be known."""
        enough = (self.clusters >= MIN_CLUSTERS) & (self.spread >= MIN_SPREAD) & (self.variance > 0)
        return np.asarray(enough & np.isfinite(self.value), dtype=np.bool_)


def clustered_difference(candidate: ClusterSums, champion: ClusterSums, *, is_rate: bool = False) -> ClusteredEstimate:
    r"""Estimate candidate's mean minus champion's at the same times, from clusters that both arms share.

    In each stratum :math:`s`, the means of both arms are ratios of sums, and their differences are weighted by
    :math:`w_s \propto n_{1s} n_{0s} / (n_{1s} + n_{0s})` (Mantel and Haenszel 1959). The variance is that of the sums
    of linearized deviations in each cluster,

    .. math:: \psi_b = \sum_s w_s \Big[\frac{t_{1sb} - \bar x_{1s} n_{1sb}}{n_{1s}}
              - \frac{t_{0sb} - \bar x_{0s} n_{0sb}}{n_{0s}}\Big], \qquad \hat V = \frac{k}{k - 1} \sum_b \psi_b^2

    (Liang and Zeger 1986; Deng, Knoblich and Lu 2018, *Applying the delta method in metric analytics*, KDD). The same
    user may have observations in several strata and in both arms: the sum over :math:`s` within a cluster accounts for
    it. An arm whose values happen to vary little is not trusted: the variance is at least the one that follows from the
    values of both arms together.

    Parameters
    ----------
    candidate, champion
        Sums of both arms with the same strata and clusters.
    is_rate
        Whether values are 0 or 1. The variance is then that with two more units in each arm that differ from the rest,
        so that an estimate of 0 or 1 is never certain. Until some units differ, they do in all their observations.

    Examples
    --------
    >>> generator = np.random.default_rng(1)
    >>> arms = [ClusterSums(np.full((1, 200), 5.0), generator.normal(5, 3, (1, 200))) for _ in range(2)]
    >>> estimate = clustered_difference(*arms)
    >>> round(float(estimate.value), 2), round(float(np.sqrt(estimate.variance)), 2)
    (0.01, 0.05)
    """
    counts = [arm.weight.sum(axis=-1) for arm in (candidate, champion)]
    both = (counts[0] > 0) & (counts[1] > 0)
    n1, n0 = (np.where(both, count, 1.0) for count in counts)
    weight = np.where(both, n1 * n0 / (n1 + n0), 0.0)
    total = weight.sum(axis=-1, keepdims=True)
    weight = weight / np.where(total > 0, total, 1.0)
    means = [arm.total.sum(axis=-1) / n for arm, n in ((candidate, n1), (champion, n0))]
    value = np.where(total[..., 0] > 0, (weight * (means[0] - means[1])).sum(axis=-1), np.nan)
    scale = [(weight / n)[..., None] for n in (n1, n0)]
    deviations = [
        arm.total - mean[..., None] * arm.weight for arm, mean in zip((candidate, champion), means, strict=True)
    ]
    influence = (scale[0] * deviations[0] - scale[1] * deviations[1]).sum(axis=-2)
    occupied = [_occupied(arm, both) for arm in (candidate, champion)]
    clusters = np.minimum(*occupied)
    correction = clusters / np.maximum(clusters - 1, 1)
    variance = correction * np.square(influence).sum(axis=-1)
    # Around the common mean of a stratum, both arms' values have the same variance if the versions are equal.
    common = (means[0] * n1 + means[1] * n0) / (n1 + n0)
    squares = sum(np.square(arm.total - common[..., None] * arm.weight).sum(axis=-1) for arm in (candidate, champion))
    alike = correction * (weight**2 * squares / (n1 + n0) * (1 / n1 + 1 / n0)).sum(axis=-1)
    variance = np.maximum(variance, alike)
    if is_rate:
        variance = variance + sum(
            _two_more(*(np.where(both[..., None], part, 0.0).sum(axis=-2) for part in (arm.weight, arm.total)))
            for arm in (candidate, champion)
        )
    spread = np.minimum(
        *(
            effective_clusters((part * deviation).sum(axis=-2))
            for part, deviation in zip(scale, deviations, strict=True)
        )
    )
    # An arm without any spread has that of the common mean, if the other arm has some.
    joint = effective_clusters(influence)
    return ClusteredEstimate(value, variance, clusters, clusters if is_rate else np.where(spread > 0, spread, joint))


def clustered_mean(sums: ClusterSums, *, is_rate: bool = False) -> ClusteredEstimate:
    """Estimate the mean of one arm, with all strata together and the variance of `clustered_difference`.

    >>> estimate = clustered_mean(ClusterSums(np.ones((1, 100)), np.tile([0.0, 1.0], (1, 50))))
    >>> float(estimate.value), round(float(estimate.variance), 4)
    (0.5, 0.0025)
    """
    pooled = sums.pooled
    weight, total = pooled.weight[..., 0, :], pooled.total[..., 0, :]
    count = weight.sum(axis=-1)
    known = np.where(count > 0, count, 1.0)
    value = np.where(count > 0, total.sum(axis=-1) / known, np.nan)
    influence = (total - np.nan_to_num(value)[..., None] * weight) / known[..., None]
    clusters = np.asarray((weight > 0).sum(axis=-1), dtype=np.float64)
    variance = clusters / np.maximum(clusters - 1, 1) * np.square(influence).sum(axis=-1)
    if is_rate:
        variance = variance + _two_more(weight, total)
    return ClusteredEstimate(value, variance, clusters, clusters if is_rate else effective_clusters(influence))


def effective_clusters(influence: Floats) -> Floats:
    """Return the number of clusters that a variance comes from; a third of them for normal values, 0 without spread.

    >>> float(effective_clusters(np.array([1.0, -1.0, 0.0, 0.0])))
    2.0
    """
    squares = np.square(influence)
    fourth = np.square(squares).sum(axis=-1)
    return np.asarray(np.where(fourth > 0, squares.sum(axis=-1) ** 2 / np.where(fourth > 0, fourth, 1.0), 0.0))


def estimated_units(clusters: ArrayLike, width: int = CLUSTERS) -> Floats:
    """Estimate the number of units from the number of clusters that they occupy, by linear counting.

    Whang, Vander-Zanden and Taylor (1990), *A linear-time probabilistic counting algorithm for database applications*,
    ACM Transactions on Database Systems 15(2). Once all clusters are occupied, it is a lower bound.

    >>> estimated_units([10, 1024]).round(1)
    array([  10. , 7097.8])
    """
    occupied = np.minimum(np.asarray(clusters, dtype=np.float64), width - 1)
    return np.asarray(-width * np.log1p(-occupied / width))


def information_radius(estimate: ClusteredEstimate, *, confidence: float = 0.95, expected_variance: float) -> Floats:
    r"""Return half the width of the interval for an estimate that contains the true value at all times at once.

    With the information :math:`I = 1/\hat V`, the estimate times the information is asymptotically a Brownian motion in
    information time (Scharfstein, Tsiatis and Robins 1997, *Semiparametric efficiency and its implication on the design
    and analysis of group-sequential studies*, JASA 92(440)). This stays true if more requests of the same users do not
    add any information. The normal mixture of `mean_sequence`, in this time, gives

    .. math:: \sqrt{2 \hat V (1 + c \hat V) \log\frac{\sqrt{1 + 1/(c\hat V)}}{\alpha}}

    It is widened to the quantile of Student's distribution with one degree of freedom less than there are clusters, or
    fewer if some clusters have much larger deviations than others: for normal deviations of equal size,
    `ClusteredEstimate.spread` is a third of the number of clusters. It is infinite as long as the variance is not known
    (`ClusteredEstimate.is_known`).

    Parameters
    ----------
    estimate
        Result of `clustered_difference` or `clustered_mean`.
    confidence
        Confidence level, between 0 and 1.
    expected_variance
        Variance of the estimate at which the interval should be tightest, which sets :math:`c`. Choose it before the
        data, for example with `variance_to_detect`.

    Examples
    --------
    >>> estimate = clustered_mean(ClusterSums(np.ones((1, 100)), np.tile([0.0, 1.0], (1, 50))))
    >>> round(float(information_radius(estimate, expected_variance=0.0025)), 3)
    0.157
    """
    check_confidence(confidence)
    check_positive(expected_variance=expected_variance)
    prior = prior_observations(1.0, 1 - confidence) / expected_variance
    ratio = prior * np.where(estimate.is_known, estimate.variance, 1.0)
    normal = np.sqrt(2 * (1 + ratio) * (np.log1p(1 / ratio) / 2 - math.log(1 - confidence)))
    degrees = np.maximum(np.minimum(estimate.clusters, 3 * estimate.spread) - 1, 1.0)
    with np.errstate(over="ignore"):
        student = -special.stdtrit(degrees, special.ndtr(-np.minimum(normal, 30.0)))
    half = np.maximum(student, normal) * np.sqrt(estimate.variance)
    return np.asarray(np.where(estimate.is_known, half, np.inf))


def information_interval(
    estimate: ClusteredEstimate, *, confidence: float = 0.95, expected_variance: float
) -> Interval:
    """Return the interval of `information_radius` around one estimate.

    >>> information_interval(clustered_mean(ClusterSums.of([])), expected_variance=1.0)
    Interval(low=-inf, high=inf)
    """
    half = float(information_radius(estimate, confidence=confidence, expected_variance=expected_variance))
    if math.isinf(half):
        return Interval(-math.inf, math.inf)
    return Interval(float(estimate.value) - half, float(estimate.value) + half)


def variance_to_detect(effect: float, confidence: float = 0.95) -> float:
    """Return the variance at which `information_radius`, tuned for this variance, equals `effect`.

    >>> round(variance_to_detect(0.1), 5)
    0.00109
    """
    check_positive(effect=effect)
    check_confidence(confidence)
    weight = prior_observations(1.0, 1 - confidence)
    return effect**2 / (2 * (1 + weight) * (math.log1p(1 / weight) / 2 - math.log(1 - confidence)))


def _occupied(arm: ClusterSums, both: NDArray[np.bool_]) -> Floats:
    """Return the number of an arm's clusters with observations in a stratum in which both arms have some."""
    return np.asarray(np.any((arm.weight > 0) & both[..., None], axis=-2).sum(axis=-1), dtype=np.float64)


def _two_more(weight: Floats, total: Floats) -> Floats:
    """Return the variance that two more units that differ from the rest add to a rate.

    With one, a rate without any failure would be bounded more tightly than the exact bound of a single look. Their size
    is the root mean square of the clusters that differ and of a whole unit. A user who fails does not always fail, but
    this is only known once some have failed.
    """
    count = weight.sum(axis=-1)
    units = np.maximum(estimated_units((weight > 0).sum(axis=-1), weight.shape[-1]), 1.0)
    # Ones are what is rare, or zeros are.
    sizes = (
        (np.square(count / units) + np.square(part).sum(axis=-1)) / (1 + (part > 0).sum(axis=-1))
        for part in (total, weight - total)
    )
    return np.asarray(2 * np.minimum(*sizes) / np.square(np.maximum(count, 1.0)))
