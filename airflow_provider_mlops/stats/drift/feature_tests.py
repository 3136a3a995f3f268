"""The three questions asked of a feature: its distribution, its missing values and its unseen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scipy import stats

from airflow_provider_mlops.stats.drift.cell_comparison import compare_bins
from airflow_provider_mlops.stats.drift.feature_counts import FeatureCounts
from airflow_provider_mlops.stats.drift.psi import debiased_psi, population_stability_index
from airflow_provider_mlops.stats.drift.truncated_categories import compare_listed_values, rows_owed_to_others

Question = Literal["distribution", "missing", "unseen"]


@dataclass(frozen=True, slots=True)
class DriftPart:
    """The answer to one question.

    Parameters
    ----------
    question
        `distribution`, `missing` or `unseen`.
    p_value
        Of this question alone.
    psi, effect
        Population stability index of the whole feature's rows as far as this question goes: as observed, and less
        what chance adds to it.
    cells
        Cells that were compared.
    reference_share, current_share
        Share of the rows that are missing, or of the rows with a value that are unseen; for the distribution, the
        share of the rows that have a value.
    """

    question: Question
    p_value: float
    psi: float
    effect: float
    cells: int
    reference_share: float
    current_share: float


def drift_parts(counts: FeatureCounts) -> tuple[DriftPart, ...]:
    """Ask all questions that the counts allow. Which ones depends on the totals over both samples only.

    >>> counts = FeatureCounts.numeric("age", [50, 50], [24, 26], missing=(0, 20))
    >>> [(part.question, round(part.p_value, 4)) for part in drift_parts(counts)]
    [('distribution', 0.8173), ('missing', 0.0), ('unseen', 1.0)]
    """
    if counts.reference_rows == 0 or counts.current_rows == 0:
        return ()
    parts = []
    if counts.reference.sum() and counts.current.sum():
        parts.append(distribution_part(counts))
    if sum(counts.missing):
        parts.append(missing_part(counts))
    if counts.reference.sum() and counts.current.sum():
        parts.append(unseen_part(counts))
    return tuple(parts)


def distribution_part(counts: FeatureCounts) -> DriftPart:
    """Chi-square test over the rows that have a value: `compare_bins` or `compare_listed_values`.

    The PSI counts by the share of rows that have a value: a change among one row in a thousand changes the feature
    by a thousandth.
    """
    reference_share = float(counts.reference.sum()) / counts.reference_rows
    current_share = float(counts.current.sum()) / counts.current_rows
    weight = (reference_share + current_share) / 2
    found = (compare_bins if counts.ordered else compare_listed_values)(counts.reference, counts.current)
    return DriftPart(
        question="distribution",
        p_value=found.p_value,
        psi=weight * found.psi,
        effect=weight * found.effect,
        cells=found.degrees_of_freedom + 1,
        reference_share=reference_share,
        current_share=current_share,
    )


def missing_part(counts: FeatureCounts) -> DriftPart:
    """Fisher's exact test on the rows without a value, two-sided by doubling the smaller tail.

    Fisher (1935), *The logic of inductive inference*, Journal of the Royal Statistical Society 98(1).
    """
    reference_missing, current_missing = counts.missing
    rows = counts.reference_rows + counts.current_rows
    law = rows, reference_missing + current_missing, counts.current_rows
    tails = stats.hypergeom.cdf(current_missing, *law), stats.hypergeom.sf(current_missing - 1, *law)
    reference = [reference_missing, counts.reference_rows - reference_missing]
    current = [current_missing, counts.current_rows - current_missing]
    psi = population_stability_index(reference, current)
    return DriftPart(
        question="missing",
        p_value=min(1.0, 2 * float(min(tails))),
        psi=psi,
        effect=debiased_psi(psi, 2, counts.reference_rows, counts.current_rows),
        cells=2,
        reference_share=reference_missing / counts.reference_rows,
        current_share=current_missing / counts.current_rows,
    )


def unseen_part(counts: FeatureCounts) -> DriftPart:
    r"""Exact one-sided test whether more current rows lie outside the reference's range than chance puts there.

    The range usually is the reference's own minimum and maximum, beyond which the reference has no rows by
    construction. Of :math:`m` reference and :math:`n` current rows, the number :math:`J` of current ones beyond the
    two extremes is negative hypergeometric, which is

    .. math:: P(J \ge j) = P(H \le 1), \quad H \sim \mathrm{Hypergeometric}(m + n;\; m;\; j + 1)

    David and Nagaraja (2003), *Order Statistics*, 3rd edition, on exceedances. With :math:`u` reference rows outside
    too, 1 becomes :math:`u + 1`. For edges that were fixed in advance this is a little conservative. For listed
    values, `rows_owed_to_others` are added to u, so that it is conservative there too.
    """
    reference_unseen, current_unseen = counts.unseen
    if not counts.ordered:
        reference_unseen += rows_owed_to_others(counts.reference)
    reference_rows, current_rows = int(counts.reference.sum()), int(counts.current.sum())
    allowed = reference_unseen + 1
    drawn = min(current_unseen + allowed, reference_rows + current_rows)
    p_value = (
        1.0
        if current_unseen == 0
        else float(stats.hypergeom.cdf(allowed, reference_rows + current_rows, reference_rows, drawn))
    )
    reference = [reference_unseen, reference_rows - reference_unseen]
    current = [current_unseen, current_rows - current_unseen]
    weight = (reference_rows / counts.reference_rows + current_rows / counts.current_rows) / 2
    psi = population_stability_index(reference, current)
    return DriftPart(
        question="unseen",
        p_value=p_value,
        psi=weight * psi,
        effect=weight * debiased_psi(psi, 2, reference_rows, current_rows),
        cells=2,
        reference_share=counts.unseen[0] / reference_rows,
        current_share=current_unseen / current_rows,
    )
