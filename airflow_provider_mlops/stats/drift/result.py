"""The result of a drift test between two samples of one feature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriftTestResult:
    """The result of one drift test.

    Parameters
    ----------
    statistic
        Statistic of the test, as its function defines it.
    p_value
        Probability of a statistic at least as large if nothing has drifted.
    threshold
        Statistic above which the test detects drift at `false_alarm_rate`. It depends on both numbers of rows: this is
        what makes the test calibrated.
    effect
        Size of the difference, on a scale that does not grow with the number of rows.
    degrees_of_freedom
        Degrees of freedom of the null distribution; 0 for tests that have none, or if nothing could be compared.
    reference_rows, current_rows
        Rows of each sample.
    false_alarm_rate
        Probability of a false alarm at `threshold`.

    Examples
    --------
    >>> DriftTestResult(0.21, 0.002, 0.15, 0.16, 9, 10_000, 120, 0.01).drifted
    True
    """

    statistic: float
    p_value: float
    threshold: float
    effect: float
    degrees_of_freedom: int
    reference_rows: int
    current_rows: int
    false_alarm_rate: float

    @classmethod
    def not_comparable(cls, reference_rows: int, current_rows: int, false_alarm_rate: float) -> DriftTestResult:
        """Create the result for samples with too few rows to compare anything."""
        return cls(0.0, 1.0, float("inf"), 0.0, 0, reference_rows, current_rows, false_alarm_rate)

    @property
    def drifted(self) -> bool:
        """Whether the p value is at most the false alarm rate."""
        return self.p_value <= self.false_alarm_rate
