"""At how many observations a confidence sequence is to be tightest."""

from __future__ import annotations

import numpy as np
from scipy import special


def prior_observations(expected_n: float, error: float) -> float:
    r"""How many observations the mixing distribution of a sequence is worth, for it to be tightest at `expected_n`.

    A confidence sequence mixes likelihood ratios over alternatives. With a normal mixture that is worth :math:`c`
    observations, its radius after :math:`n` is

    .. math:: \sigma\sqrt{\frac{2(n + c)}{n^2}\,\log\frac{\sqrt{1 + n/c}}{\alpha}}

    which is least at :math:`n` for :math:`c = n / (-W_{-1}(-\alpha^2/e) - 1)`, with Lambert's :math:`W`: Howard,
    Ramdas, McAuliffe and Sekhon (2021), *Time-uniform, nonparametric, nonasymptotic confidence sequences*, Annals of
    Statistics 49(2), proposition 3. The other mixtures behave like it once there is some data. The choice hardly
    matters within a factor of ten: the sequence is valid for every :math:`n` whatever the tuning.

    Parameters
    ----------
    expected_n
        Observations, above 0.
    error
        Chance that the sequence ever misses, between 0 and 1; of a one-sided sequence, twice that.

    >>> round(prior_observations(1000, 0.05), 1)
    121.8
    """
    if not expected_n > 0:
        raise ValueError(f"expected_n must be above 0, not {expected_n}")
    if not 0 < error < 1:
        raise ValueError(f"error must lie between 0 and 1, not {error}")
    return float(expected_n / (-np.real(special.lambertw(-(error**2) / np.e, -1)) - 1))
