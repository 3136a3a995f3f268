"""The lower bound on the regret of any bandit in the long run."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from airflow_provider_mlops.stats.checks import check_positive


def lai_robbins_bound_of_rates(rates: ArrayLike, decisions: float) -> float:
    r"""Return the bound of Lai and Robbins for arms that succeed at given rates.

    .. math:: \log T \sum_{a: p_a < p^*} \frac{p^* - p_a}{\mathrm{kl}(p_a, p^*)}

    Lai and Robbins (1985), *Asymptotically efficient adaptive allocation rules*, Advances in Applied Mathematics 6(1).
    The regret of any policy that is good for all problems, divided by :math:`\log T`, stays above the sum *as T grows*;
    for a given number of decisions it can be below.

    Parameters
    ----------
    rates
        Rates between 0 and 1, both excluded.
    decisions
        Number of decisions, at least 1.

    Examples
    --------
    >>> round(lai_robbins_bound_of_rates([0.5, 0.6], 10_000), 1)
    45.1
    """
    rate = np.asarray(rates, dtype=np.float64)
    if not np.all((rate > 0) & (rate < 1)):
        raise ValueError(f"rates must be between 0 and 1, got {rates!r}")
    _check_decisions(decisions)
    best = rate.max()
    worse = rate[rate < best]
    information = special.rel_entr(worse, best) + special.rel_entr(1 - worse, 1 - best)
    return float(np.log(decisions) * np.sum((best - worse) / information))


def lai_robbins_bound_of_means(means: ArrayLike, std: float, decisions: float) -> float:
    r"""Return the bound for normal rewards with a known standard deviation.

    It is :math:`\log T \sum_a 2\sigma^2/(\mu^* - \mu_a)`.

    >>> round(lai_robbins_bound_of_means([0.0, 1.0], 1.0, 10_000), 1)
    18.4
    """
    mean = np.asarray(means, dtype=np.float64)
    check_positive(std=std)
    _check_decisions(decisions)
    gaps = mean.max() - mean
    return float(np.log(decisions) * np.sum(2 * std**2 / gaps[gaps > 0]))


def _check_decisions(decisions: float) -> None:
    if not decisions >= 1:
        raise ValueError(f"decisions must be at least 1, got {decisions}")
