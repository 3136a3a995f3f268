"""The regret that no bandit can beat in the long run."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


def lai_robbins_rates(rates: ArrayLike, decisions: float) -> float:
    r"""The bound of Lai and Robbins for arms that succeed at given rates.

    .. math:: \log T \sum_{a: p_a < p^*} \frac{p^* - p_a}{\mathrm{kl}(p_a, p^*)}

    Lai and Robbins (1985), *Asymptotically efficient adaptive allocation rules*, Advances in Applied Mathematics 6(1).
    The regret of any policy that is good for all problems, divided by :math:`\log T`, stays above the sum *as T grows*;
    for a given number of decisions it may lie below.

    Parameters
    ----------
    rates
        Between 0 and 1, not both.
    decisions
        How many, at least 1.

    >>> round(lai_robbins_rates([0.5, 0.6], 10_000), 1)
    45.1
    """
    rate = np.asarray(rates, dtype=np.float64)
    if not np.all((rate > 0) & (rate < 1)) or not decisions >= 1:
        raise ValueError(f"rates must lie between 0 and 1 and decisions be at least 1, not {rates!r} and {decisions}")
    best = rate.max()
    worse = rate[rate < best]
    information = special.rel_entr(worse, best) + special.rel_entr(1 - worse, 1 - best)
    return float(np.log(decisions) * np.sum((best - worse) / information))


def lai_robbins_means(means: ArrayLike, noise: float, decisions: float) -> float:
    r"""The bound for normal rewards of one known deviation: :math:`\log T \sum_a 2\sigma^2/(\mu^* - \mu_a)`.

    >>> round(lai_robbins_means([0.0, 1.0], 1.0, 10_000), 1)
    18.4
    """
    mean = np.asarray(means, dtype=np.float64)
    if not noise > 0 or not decisions >= 1:
        raise ValueError(f"noise must be above 0 and decisions be at least 1, not {noise} and {decisions}")
    gaps = mean.max() - mean
    return float(np.log(decisions) * np.sum(2 * noise**2 / gaps[gaps > 0]))
