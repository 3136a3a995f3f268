"""Tuning of confidence sequences: the number of observations at which they are tightest."""

from __future__ import annotations

import numpy as np
from scipy import special

from airflow_provider_mlops.stats.checks import check_open_unit_interval, check_positive


def prior_observations(expected_n: float, error: float) -> float:
    r"""Return the weight, in observations, of the mixture that makes a sequence tightest at `expected_n`.

    A confidence sequence mixes likelihood ratios over alternatives. With a normal mixture that is worth :math:`c`
    observations, its radius after :math:`n` is

    .. math:: \sigma\sqrt{\frac{2(n + c)}{n^2}\,\log\frac{\sqrt{1 + n/c}}{\alpha}}

    which is smallest at :math:`n` for :math:`c = n / (-W_{-1}(-\alpha^2/e) - 1)`, with Lambert's :math:`W`: Howard,
    Ramdas, McAuliffe and Sekhon (2021), *Time-uniform, nonparametric, nonasymptotic confidence sequences*, Annals of
    Statistics 49(2), proposition 3. The other mixtures behave like it once there is some data. The choice hardly
    matters within a factor of ten: the sequence is valid for every :math:`n` whatever the tuning.

    Parameters
    ----------
    expected_n
        Number of observations, above 0.
    error
        Probability that the sequence ever misses, between 0 and 1; for a one-sided sequence, twice that probability.

    Examples
    --------
    >>> round(prior_observations(1000, 0.05), 1)
    121.8
    """
    check_positive(expected_n=expected_n)
    check_open_unit_interval(error=error)
    return float(expected_n / (-np.real(special.lambertw(-(error**2) / np.e, -1)) - 1))
