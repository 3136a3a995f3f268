"""The Jensen-Shannon distance between two histograms over the same cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from airflow_provider_mlops.stats.drift.counts import Counts, filled_pair


def jensen_shannon_distance(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    r"""The square root of the Jensen-Shannon divergence in bits: 0 for equal shares, 1 for nothing in common.

    .. math:: \sqrt{\tfrac12 \mathrm{KL}(p \,\|\, \bar p) + \tfrac12 \mathrm{KL}(q \,\|\, \bar p)},
              \quad \bar p = \tfrac12(p + q)

    Lin (1991), *Divergence measures based on the Shannon entropy*, IEEE Transactions on Information Theory 37(1); a
    metric: Endres and Schindelin (2003), *A new metric for probability distributions*, same journal 49(7). Unlike the
    PSI it is bounded, and empty cells need no smoothing. Like it, it is above zero by chance: compare values only for
    similar numbers of rows, or test with `chi_square_test`.

    Parameters and what is raised as for `filled_pair`.

    >>> jensen_shannon_distance([10, 0], [0, 3])
    1.0
    >>> round(jensen_shannon_distance([50, 50], [80, 20]), 4)
    0.2704
    """
    reference, current = filled_pair(reference_counts, current_counts)
    first, second = reference / reference.sum(), current / current.sum()
    middle = (first + second) / 2
    divergence = (_relative_entropy(first, middle) + _relative_entropy(second, middle)) / 2
    return float(np.sqrt(min(1.0, max(0.0, divergence / np.log(2)))))


def _relative_entropy(shares: Counts, other: Counts) -> float:
    return float(np.sum(special.rel_entr(shares, other)))
