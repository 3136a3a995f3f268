"""Results of drift detection: the verdict on each feature, and the thresholds that it was judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_provider_mlops.stats.checks import check_not_negative, check_positive, check_power
from airflow_provider_mlops.stats.drift import defaults
from airflow_provider_mlops.stats.drift.feature_tests import Aspect, FeatureTest

Verdict = Literal["drifted", "stable", "inconclusive"]


@dataclass(frozen=True, slots=True)
class DriftThresholds:
    """Limits that decide whether a feature has drifted.

    Parameters
    ----------
    false_alarm_rate
        Probability that at least one feature of the family is called drifted if none has drifted.
    min_effect
        Smallest PSI that is worth an alarm. A normal feature that moves by d standard deviations has a PSI of about d
        squared: 0.1 is a move by a third of a standard deviation.
    detectable_effect
        PSI that the rows must be able to show for a verdict of `stable`; 0.5 is a move by 0.7 standard deviations.
    power
        Probability with which the rows must be able to show it.

    Raises
    ------
    ValueError
        If a rate or an effect is out of its range.

    Examples
    --------
    >>> DriftThresholds(false_alarm_rate=0)
    Traceback (most recent call last):
    ...
    ValueError: false_alarm_rate must be between 0 and 1, got 0
    """

    false_alarm_rate: float = 0.01
    min_effect: float = defaults.MIN_EFFECT
    detectable_effect: float = defaults.DETECTABLE_EFFECT
    power: float = 0.8

    def __post_init__(self) -> None:
        check_power(self.false_alarm_rate, self.power)
        check_not_negative(min_effect=self.min_effect)
        check_positive(detectable_effect=self.detectable_effect)


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """The verdict on one feature.

    Parameters
    ----------
    name
        Name of the feature.
    verdict
        `drifted`: significant in the family, with at least the minimum effect. `stable`: not drifted, and the rows
        sufficed to show a drift that matters. `inconclusive`: not drifted, but the rows did not suffice.
    aspect
        The aspect that decided: `distribution`, `missing` or `unseen` values.
    statistic, effect
        PSI of that aspect, as observed and without the part that chance adds.
    p_value, adjusted_p_value
        p value of the feature on its own, and adjusted for the whole family.
    detectable_effect
        Smallest PSI that the rows would have shown with the wanted power.
    rows_needed
        Current rows needed for a verdict of `stable`; None if the reference is too small for any number of rows.
    reference_rows, current_rows
        Rows of each sample, with and without a value.
    reason
        The verdict in one sentence.
    tests
        The test of each aspect.
    """

    name: str
    verdict: Verdict
    aspect: Aspect
    statistic: float
    effect: float
    p_value: float
    adjusted_p_value: float
    detectable_effect: float
    rows_needed: int | None
    reference_rows: int
    current_rows: int
    reason: str
    tests: tuple[FeatureTest, ...]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The verdicts on a family of features, in the order given, and the thresholds that they were judged by."""

    features: tuple[FeatureDrift, ...]
    thresholds: DriftThresholds

    @property
    def verdict(self) -> Verdict:
        """`drifted` if any feature drifted, else `inconclusive` if any is or there are none, else `stable`."""
        if self.drifted:
            return "drifted"
        return "stable" if self.features and not self.inconclusive else "inconclusive"

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the drifted features, the largest effect first."""
        drifted = [feature for feature in self.features if feature.verdict == "drifted"]
        return tuple(feature.name for feature in sorted(drifted, key=lambda feature: (-feature.effect, feature.name)))

    @property
    def inconclusive(self) -> tuple[str, ...]:
        """Names of the features with too few rows for a verdict."""
        return tuple(feature.name for feature in self.features if feature.verdict == "inconclusive")
