"""Probability that each arm is the best one, from the distribution of each arm's value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from airflow_provider_mlops.stats.arrays import Floats

# Between adjacent quantiles at these levels, every arm's density is smooth enough for a few nodes.
LEVELS = special.ndtr(np.linspace(-6.5, 6.5, 27))
NODES, WEIGHTS = np.polynomial.legendre.leggauss(5)


def probability_of_best(
    quantile: Callable[[Floats], Floats], density: Callable[[Floats], Floats], below: Callable[[Floats], Floats]
) -> Floats:
    r"""Compute :math:`P(i\text{ is best}) = \int f_i(x) \prod_{j \ne i} F_j(x)\,dx` by numerical integration.

    It uses Gauss-Legendre quadrature between the quantiles of all arms, so that narrow and wide distributions are both
    resolved. The error is below 1e-7 for the distributions of this module; the part beyond the outermost quantiles is
    less than 1e-9 for ten arms.

    Parameters
    ----------
    quantile
        Function of levels, shape `(levels,)`, that returns quantiles of each arm, shape `(arms, levels)`.
    density, below
        Functions of points, shape `(points,)`, that return densities and cumulative probabilities, shape `(arms,
        points)`.

    Returns
    -------
    Floats
        Shape `(arms,)`, summing to one.
    """
    ends = np.unique(quantile(LEVELS))
    half = np.diff(ends)[:, None] / 2
    points = (ends[:-1, None] + half + half * NODES).ravel()
    weights = (half * WEIGHTS).ravel()
    f, lower = density(points), below(points)
    # The product over all other arms, as running products from both sides, so that nothing is divided by 0.
    ahead = np.cumprod(np.vstack([np.ones_like(points), lower[:-1]]), axis=0)
    after = np.cumprod(np.vstack([np.ones_like(points), lower[:0:-1]]), axis=0)[::-1]
    best = (f * ahead * after) @ weights
    if not best.sum() > 0:
        # All distributions are narrower than the floating-point resolution, so only the order of their medians counts.
        median = quantile(np.array([0.5]))[:, 0]
        best = (median == median.max()).astype(np.float64)
    return np.asarray(best / best.sum(), dtype=np.float64)


def beta_probability_of_best(a: ArrayLike, b: ArrayLike) -> Floats:
    """Return each arm's probability of being best for independent beta distributions, parameters of shape `(arms,)`.

    >>> beta_probability_of_best([1, 1], [1, 1])
    array([0.5, 0.5])
    >>> beta_probability_of_best([2, 1], [1, 1]).round(6)
    array([0.666667, 0.333333])
    """
    first, second = (np.asarray(part, dtype=np.float64)[:, None] for part in (a, b))

    # Integrate over log odds, where the density has no poles: near 0 and 1 a beta density can be infinite.
    def quantile(level: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            odds = np.log(special.betaincinv(first, second, level))
            odds = odds - np.log(special.betaincinv(second, first, 1 - level))
        return np.asarray(np.clip(odds, -600, 600), dtype=np.float64)

    def density(odds: Floats) -> Floats:
        log = first * special.log_expit(odds) + second * special.log_expit(-odds) - special.betaln(first, second)
        return np.asarray(np.exp(log), dtype=np.float64)

    return probability_of_best(
        quantile, density, lambda odds: np.asarray(special.betainc(first, second, special.expit(odds)))
    )


def normal_probability_of_best(means: ArrayLike, stds: ArrayLike) -> Floats:
    """Return each arm's probability of being best for independent normal distributions, shape `(arms,)`.

    Parameters have shape `(arms,)`; standard deviations are above 0.

    >>> normal_probability_of_best([0.0, 1.0], [1.0, 1.0]).round(6)
    array([0.23975, 0.76025])
    """
    mean, std = (np.asarray(part, dtype=np.float64)[:, None] for part in (means, stds))
    return probability_of_best(
        lambda level: np.asarray(mean + std * special.ndtri(level)),
        lambda x: np.asarray(np.exp(-0.5 * ((x - mean) / std) ** 2) / std / np.sqrt(2 * np.pi)),
        lambda x: np.asarray(special.ndtr((x - mean) / std)),
    )


def student_probability_of_best(means: ArrayLike, scales: ArrayLike, degrees_of_freedom: ArrayLike) -> Floats:
    """Return each arm's probability of being best for independent Student distributions, shape `(arms,)`.

    Parameters have shape `(arms,)`; scales are above 0.

    >>> student_probability_of_best([0.0, 0.0], [1.0, 5.0], [3.0, 9.0]).round(6)
    array([0.5, 0.5])
    """
    mean, scale, degrees = (np.asarray(part, dtype=np.float64)[:, None] for part in (means, scales, degrees_of_freedom))
    return probability_of_best(
        lambda level: np.asarray(mean + scale * special.stdtrit(degrees, level)),
        lambda x: np.asarray(stats.t.pdf(x, degrees, mean, scale)),
        lambda x: np.asarray(special.stdtr(degrees, (x - mean) / scale)),
    )
