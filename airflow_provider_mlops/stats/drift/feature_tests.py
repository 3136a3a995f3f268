"""Tests of the three aspects of a feature: its distribution, its missing values and its unseen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scipy import stats

from airflow_provider_mlops.stats.drift.cell_comparison import compare_bins
from airflow_provider_mlops.stats.drift.feature_counts import FeatureCounts
from airflow_provider_mlops.stats.drift.psi import debiased_psi, population_stability_index
from airflow_provider_mlops.stats.drift.truncated_categories import compare_truncated_categories, other_rows_shortfall

Aspect = Literal["distribution", "missing", "unseen"]


@dataclass(frozen=True, slots=True)
class FeatureTest:
    """The result of testing one aspect of a feature.

    Parameters
    ----------
    aspect
        `distribution`, `missing` or `unseen`.
    p_value
        p value of this test alone.
    psi, effect
        Population stability index that this aspect contributes over all rows of the feature, as observed and without
        the part that chance adds.
    cells
        Number of cells that were compared.
    reference_proportion, current_proportion
        For `missing`, the proportion of rows without a value. For `unseen`, the proportion of unseen values among the
        rows with a value. For `distribution`, the proportion of rows with a value.
    """

    aspect: Aspect
    p_value: float
    psi: float
    effect: float
    cells: int
    reference_proportion: float
    current_proportion: float


def feature_tests(counts: FeatureCounts) -> tuple[FeatureTest, ...]:
    """Run all tests that the counts allow. Only the totals over both samples decide which tests these are.

    >>> counts = FeatureCounts.numeric("age", [50, 50], [24, 26], missing=(0, 20))
    >>> [(test.aspect, round(test.p_value, 4)) for test in feature_tests(counts)]
    [('distribution', 0.8173), ('missing', 0.0), ('unseen', 1.0)]
    """
    if counts.reference_rows == 0 or counts.current_rows == 0:
        return ()
    tests = []
    if counts.reference.sum() and counts.current.sum():
        tests.append(distribution_test(counts))
    if sum(counts.missing):
        tests.append(missing_values_test(counts))
    if counts.reference.sum() and counts.current.sum():
        tests.append(unseen_values_test(counts))
    return tuple(tests)


def distribution_test(counts: FeatureCounts) -> FeatureTest:
    """Compare the rows that have a value with a chi-square test: `compare_bins` or `compare_truncated_categories`.

    The PSI is weighted by the proportion of rows that have a value: a change of a value that one row in a thousand has
    changes the feature by a thousandth.
    """
    reference_proportion = float(counts.reference.sum()) / counts.reference_rows
    current_proportion = float(counts.current.sum()) / counts.current_rows
    weight = (reference_proportion + current_proportion) / 2
    comparison = (compare_bins if counts.ordered else compare_truncated_categories)(counts.reference, counts.current)
    return FeatureTest(
        aspect="distribution",
        p_value=comparison.p_value,
        psi=weight * comparison.psi,
        effect=weight * comparison.effect,
        cells=comparison.degrees_of_freedom + 1,
        reference_proportion=reference_proportion,
        current_proportion=current_proportion,
    )


def missing_values_test(counts: FeatureCounts) -> FeatureTest:
    """Compare the numbers of rows without a value with Fisher's exact test, two-sided by doubling the smaller tail.

    Fisher (1935), *The logic of inductive inference*, Journal of the Royal Statistical Society 98(1).
    """
    reference_missing, current_missing = counts.missing
    rows = counts.reference_rows + counts.current_rows
    distribution = rows, reference_missing + current_missing, counts.current_rows
    tails = stats.hypergeom.cdf(current_missing, *distribution), stats.hypergeom.sf(current_missing - 1, *distribution)
    reference = [reference_missing, counts.reference_rows - reference_missing]
    current = [current_missing, counts.current_rows - current_missing]
    psi = population_stability_index(reference, current)
    return FeatureTest(
        aspect="missing",
        p_value=min(1.0, 2 * float(min(tails))),
        psi=psi,
        effect=debiased_psi(psi, 2, counts.reference_rows, counts.current_rows),
        cells=2,
        reference_proportion=reference_missing / counts.reference_rows,
        current_proportion=current_missing / counts.current_rows,
    )


def unseen_values_test(counts: FeatureCounts) -> FeatureTest:
    r"""Test whether more current rows are outside the reference's range than chance explains, one-sided.

    The range usually ends at the reference's own minimum and maximum, beyond which the reference has no rows by
    construction. With :math:`m` reference and :math:`n` current rows, the number :math:`J` of current rows beyond the
    two extremes is negative hypergeometric, that is

    .. math:: P(J \ge j) = P(H \le 1), \quad H \sim \mathrm{Hypergeometric}(m + n;\; m;\; j + 1)

    David and Nagaraja (2003), *Order Statistics*, 3rd edition, on exceedances. If :math:`u` reference rows are outside
    too, 1 becomes :math:`u + 1`. For edges that were fixed in advance this is slightly conservative. For listed values,
    `other_rows_shortfall` is added to u, so that the test is conservative there too.
    """
    reference_unseen, current_unseen = counts.unseen
    if not counts.ordered:
        reference_unseen += other_rows_shortfall(counts.reference)
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
    return FeatureTest(
        aspect="unseen",
        p_value=p_value,
        psi=weight * psi,
        effect=weight * debiased_psi(psi, 2, reference_rows, current_rows),
        cells=2,
        reference_proportion=counts.unseen[0] / reference_rows,
        current_proportion=current_unseen / current_rows,
    )
