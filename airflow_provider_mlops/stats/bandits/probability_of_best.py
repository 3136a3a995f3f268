"""The probability that each arm is the best one, given a distribution of what each is worth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Floats = NDArray[np.float64]

# Between the quantiles of all arms at these levels, every arm's density is smooth enough for a few nodes.
LEVELS = special.ndtr(np.linspace(-6.5, 6.5, 27))
NODES, WEIGHTS = np.polynomial.legendre.leggauss(5)


def probability_of_best(quantile: Callable[[Floats], Floats], density: Callable[[Floats], Floats],
                        below: Callable[[Floats], Floats]) -> Floats:  # fmt: skip
    r"""By numerical integration of :math:`P(i\text{ is best}) = \int f_i(x) \prod_{j \ne i} F_j(x)\,dx`.

    Gauss-Legendre quadrature between the quantiles of all arms, so that narrow and wide distributions are both
    resolved. The error is below 1e-7 for the distributions below; what is left out beyond the outermost quantiles is
    less than 1e-9 for ten arms.

    Parameters
    ----------
    quantile
        Takes levels of shape `(levels,)` and returns quantiles of each arm, of shape `(arms, levels)`.
    density, below
        Take points of shape `(points,)` and return densities, and probabilities of being below, of shape
        `(arms, points)`.

    Returns
    -------
    Of shape `(arms,)`, summing to one.
    """
    ends = np.unique(quantile(LEVELS))
    half = np.diff(ends)[:, None] / 2
    points = (ends[:-1, None] + half + half * NODES).ravel()
    weights = (half * WEIGHTS).ravel()
    f, lower = density(points), below(points)
    # The product over the others: running products from either side, so that nothing is divided by 0.
    ahead = np.cumprod(np.vstack([np.ones_like(points), lower[:-1]]), axis=0)
    after = np.cumprod(np.vstack([np.ones_like(points), lower[:0:-1]]), axis=0)[::-1]
    best = (f * ahead * after) @ weights
    if not best.sum() > 0:
        # All are narrower than numbers of their size can tell apart: what is left is the order of their middles.
        middle = quantile(np.array([0.5]))[:, 0]
        best = (middle == middle.max()).astype(np.float64)
    return np.asarray(best / best.sum(), dtype=np.float64)


def beta_best(a: ArrayLike, b: ArrayLike) -> Floats:
    """Of independent beta distributions with parameters of shape `(arms,)`.

    >>> beta_best([1, 1], [1, 1])
    array([0.5, 0.5])
    >>> beta_best([2, 1], [1, 1]).round(6)
    array([0.666667, 0.333333])
    """
    first, second = (np.asarray(part, dtype=np.float64)[:, None] for part in (a, b))

    # Over log odds, where the density has no poles: near 0 and 1 a distribution may have infinite density.
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


def normal_best(means: ArrayLike, deviations: ArrayLike) -> Floats:
    """Of independent normal distributions with parameters of shape `(arms,)`, deviations above 0.

    >>> normal_best([0.0, 1.0], [1.0, 1.0]).round(6)
    array([0.23975, 0.76025])
    """
    mean, std = (np.asarray(part, dtype=np.float64)[:, None] for part in (means, deviations))
    return probability_of_best(
        lambda level: np.asarray(mean + std * special.ndtri(level)),
        lambda x: np.asarray(np.exp(-0.5 * ((x - mean) / std) ** 2) / std / np.sqrt(2 * np.pi)),
        lambda x: np.asarray(special.ndtr((x - mean) / std)),
    )


def student_best(means: ArrayLike, scales: ArrayLike, freedom: ArrayLike) -> Floats:
    """Of independent Student distributions with parameters of shape `(arms,)`, scales above 0.

    >>> student_best([0.0, 0.0], [1.0, 5.0], [3.0, 9.0]).round(6)
    array([0.5, 0.5])
    """
    mean, scale, degrees = (np.asarray(part, dtype=np.float64)[:, None] for part in (means, scales, freedom))
    return probability_of_best(
        lambda level: np.asarray(mean + scale * special.stdtrit(degrees, level)),
        lambda x: np.asarray(stats.t.pdf(x, degrees, mean, scale)),
        lambda x: np.asarray(special.stdtr(degrees, (x - mean) / scale)),
    )
