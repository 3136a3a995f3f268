"""McNemar's exact test of which of two classifiers is right more often on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True, slots=True)
class McNemarResult:
    """The result of McNemar's test.

    Parameters
    ----------
    only_candidate, only_champion
        Rows that only the candidate, or only the champion, got right.
    rows
        Number of all rows.
    gain
        Accuracy of the candidate minus accuracy of the champion.
    p_value
        Two-sided p value.
    """

    only_candidate: int
    only_champion: int
    rows: int
    gain: float
    p_value: float


def mcnemar_test(candidate_right: ArrayLike, champion_right: ArrayLike) -> McNemarResult:
    r"""Compare two classifiers by the rows on which exactly one of them is right.

    If both are wrong equally often, the number of these rows on which the candidate is right is distributed like the
    number of heads of a fair coin:

    .. math:: p = \min\left(1,\; 2\,P\left(B_{b+c,\,1/2} \le \min(b, c)\right)\right)

    McNemar (1947), *Note on the sampling error of the difference between correlated proportions or percentages*,
    Psychometrika 12(2); recommended for models that are trained only once by Dietterich (1998), *Approximate
    statistical tests for comparing supervised classification learning algorithms*, Neural Computation 10(7). Exact for
    any number of rows.

    Parameters
    ----------
    candidate_right, champion_right
        Whether each model is right, shape `(rows,)`.

    Raises
    ------
    ValueError
        If the shapes differ or there are no rows.

    Examples
    --------
    >>> candidate = [True] * 9 + [False] * 1
    >>> champion = [True] * 3 + [False] * 7
    >>> test = mcnemar_test(candidate, champion)
    >>> test.only_candidate, test.only_champion, test.p_value
    (6, 0, 0.03125)
    """
    first, second = np.asarray(candidate_right, dtype=bool), np.asarray(champion_right, dtype=bool)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise ValueError(
            "candidate_right and champion_right must be one-dimensional, non-empty and of equal length, "
            f"got shapes {first.shape} and {second.shape}"
        )
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(~first & second))
    discordant = only_first + only_second
    p_value = min(1.0, 2 * float(stats.binom.cdf(min(only_first, only_second), discordant, 0.5)))
    return McNemarResult(only_first, only_second, first.size, (only_first - only_second) / first.size, p_value)
