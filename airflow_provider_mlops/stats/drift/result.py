"""What a test for drift between two samples of one feature says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriftTest:
    """The outcome of one drift test.

    Parameters
    ----------
    statistic
        The test's statistic, as its function defines it.
    p_value
        How often a statistic at least as large would come up if nothing had drifted.
    threshold
        The statistic above which the test calls drift at `false_alarm_rate`. It depends on both row counts:
        that is what "calibrated" means here.
    effect
        The size of the difference on a scale that does not grow with the number of rows.
    degrees_of_freedom
        Of the statistic's null distribution; 0 for tests that have none, or when nothing could be compared.
    reference_rows, current_rows
        Rows on either side.
    false_alarm_rate
        The rate at which `threshold` was taken.

    >>> DriftTest(0.21, 0.002, 0.15, 0.16, 9, 10_000, 120, 0.01).drifted
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
    def of_nothing(cls, reference_rows: int, current_rows: int, false_alarm_rate: float) -> DriftTest:
        """The outcome where the rows do not suffice to compare anything."""
        return cls(0.0, 1.0, float("inf"), 0.0, 0, reference_rows, current_rows, false_alarm_rate)

    @property
    def drifted(self) -> bool:
        """Whether the p value is at most the false alarm rate."""
        return self.p_value <= self.false_alarm_rate
