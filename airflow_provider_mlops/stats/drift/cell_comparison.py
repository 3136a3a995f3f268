"""Chi-square statistic and PSI of the same pooled cells."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike
from scipy import special

from airflow_provider_mlops.stats.drift.chi_square import chi_square_statistic
from airflow_provider_mlops.stats.drift.counts import pool_cells
from airflow_provider_mlops.stats.drift.psi import debiased_psi, population_stability_index


@dataclass(frozen=True, slots=True)
class CellComparison:
    """The difference between two samples over the same cells.

    Parameters
    ----------
    statistic, degrees_of_freedom
        Chi-square test of homogeneity; 0 degrees of freedom if nothing can be compared.
    psi, effect
        Population stability index, as observed and without the part that chance adds.
    """

    statistic: float
    degrees_of_freedom: int
    psi: float
    effect: float

    @property
    def p_value(self) -> float:
        """Probability of a statistic at least as large without drift; 1 if nothing can be compared."""
        return float(special.chdtrc(self.degrees_of_freedom, self.statistic)) if self.degrees_of_freedom else 1.0


def compare_cells(reference_counts: ArrayLike, current_counts: ArrayLike, *, ordered: bool) -> CellComparison:
    """Pool small cells with `pool_cells`, then compare.

    Parameters
    ----------
    reference_counts, current_counts
        Counts, shape `(cells,)`.
    ordered
        Whether adjacent cells may be pooled, or only rare cells.

    Examples
    --------
    >>> round(compare_cells([500, 300, 200], [40, 35, 25], ordered=True).p_value, 3)
    0.157
    """
    reference, current = pool_cells(reference_counts, current_counts, ordered=ordered)
    if reference.size < 2:
        return CellComparison(0.0, 0, 0.0, 0.0)
    psi = population_stability_index(reference, current)
    return CellComparison(
        chi_square_statistic(reference, current),
        reference.size - 1,
        psi,
        debiased_psi(psi, reference.size, float(reference.sum()), float(current.sum())),
    )


def compare_bins(reference_counts: ArrayLike, current_counts: ArrayLike) -> CellComparison:
    """Compare the ordered bins of a number with `compare_cells`.

    >>> compare_bins([500, 300, 200], [50, 30, 20]).statistic
    0.0
    """
    return compare_cells(reference_counts, current_counts, ordered=True)
