"""Whether features drifted: a calibrated verdict for each, with one false alarm rate for all of them together."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_mlops.stats.drift import defaults
from airflow_provider_mlops.stats.drift.feature_counts import FeatureCounts
from airflow_provider_mlops.stats.drift.multiple_testing import holm
from airflow_provider_mlops.stats.drift.parts import DriftPart, Question, drift_parts
from airflow_provider_mlops.stats.drift.sample_size import detectable_drift, rows_to_detect_drift

__all__ = ["DriftReport", "DriftThresholds", "FeatureCounts", "FeatureDrift", "Verdict", "detect_drift"]

log = logging.getLogger(__name__)

Verdict = Literal["drifted", "stable", "inconclusive"]


@dataclass(frozen=True, slots=True)
class DriftThresholds:
    """What counts as drift.

    Parameters
    ----------
    false_alarm_rate
        Chance of one or more verdicts of drift in the family when no feature has drifted.
    min_effect
        Least PSI worth an alarm. A normal feature that moves by d standard deviations has a PSI of about d squared:
        0.1 is a third of a deviation.
    detectable_effect
        PSI that must not have gone unseen for a verdict of stable; 0.5 is 0.7 standard deviations.
    power
        Chance with which it must have been seen.

    Raises
    ------
    ValueError
        If a rate or an effect is out of its range.

    >>> DriftThresholds(false_alarm_rate=0)
    Traceback (most recent call last):
    ...
    ValueError: power must exceed false_alarm_rate, and both lie between 0 and 1
    """

    false_alarm_rate: float = 0.01
    min_effect: float = defaults.MIN_EFFECT
    detectable_effect: float = defaults.DETECTABLE_EFFECT
    power: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.false_alarm_rate < self.power < 1:
            raise ValueError("power must exceed false_alarm_rate, and both lie between 0 and 1")
        if not self.min_effect >= 0 or not self.detectable_effect > 0:
            raise ValueError("min_effect must not be negative, and detectable_effect must be above 0")


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """The verdict on one feature.

    Parameters
    ----------
    name
        The feature.
    verdict
        `drifted`: significant in the family and at least the minimum effect. `stable`: not so, and the rows sufficed
        to see a drift worth seeing. `inconclusive`: not so, but the rows did not suffice.
    question
        What decided: the `distribution`, `missing` or `unseen` values.
    statistic, effect
        PSI as observed, and less what chance adds, of that question.
    p_value, adjusted_p_value
        Of the feature on its own, and adjusted for the whole family.
    detectable_effect
        Smallest PSI the rows would have shown with the wanted power.
    rows_needed
        Current rows for a verdict of stable; None if the reference is too small for any number of them.
    reference_rows, current_rows
        Rows on either side, with and without a value.
    reason
        One sentence for people.
    parts
        Each question with its own numbers.
    """

    name: str
    verdict: Verdict
    question: Question
    statistic: float
    effect: float
    p_value: float
    adjusted_p_value: float
    detectable_effect: float
    rows_needed: int | None
    reference_rows: int
    current_rows: int
    reason: str
    parts: tuple[DriftPart, ...]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The verdicts on a family of features, in the order given, and what they were measured against."""

    features: tuple[FeatureDrift, ...]
    thresholds: DriftThresholds

    @property
    def verdict(self) -> Verdict:
        """`drifted` if any feature is, else `inconclusive` if any is or there are none, else `stable`."""
        if self.drifted:
            return "drifted"
        return "stable" if self.features and not self.inconclusive else "inconclusive"

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the drifted features, the largest effect first."""
        found = [feature for feature in self.features if feature.verdict == "drifted"]
        return tuple(feature.name for feature in sorted(found, key=lambda feature: (-feature.effect, feature.name)))

    @property
    def inconclusive(self) -> tuple[str, ...]:
        """Names of the features with too few rows."""
        return tuple(feature.name for feature in self.features if feature.verdict == "inconclusive")


def detect_drift(features: Iterable[FeatureCounts], thresholds: DriftThresholds | None = None) -> DriftReport:
    """Compare features with their reference, the chance of any false alarm being `thresholds.false_alarm_rate`.

    Up to three questions are asked of a feature (`drift_parts`): its distribution by a chi-square test in which the
    reference is a sample with noise of its own, its missing values and its unseen values by exact tests. The p values
    of all questions of all features are adjusted together by `holm`. No fixed level of the PSI is involved, so 50
    rows raise a false alarm no more often than 5000.

    Significant is not yet worth an alarm: with millions of rows everything is. So the PSI of a significant question,
    less what chance adds to it, must reach `thresholds.min_effect` too.

    Parameters
    ----------
    features
        Counts of each feature, under different names.
    thresholds
        What counts as drift; the defaults of `DriftThresholds` if None.

    Raises
    ------
    ValueError
        If two features have the same name.

    >>> same = FeatureCounts.numeric("age", [250, 500, 250], [102, 196, 102])
    >>> moved = FeatureCounts.categorical("colour", {"red": 600, "blue": 400}, {"red": 60, "blue": 140})
    >>> report = detect_drift([same, moved])
    >>> report.verdict, report.drifted
    ('drifted', ('colour',))
    >>> print(report.features[0].reason)
    no drift found; 400 rows would have shown a PSI of 0.061
    """
    limits = thresholds or DriftThresholds()
    family = list(features)
    if len({counts.name for counts in family}) < len(family):
        raise ValueError("two features have the same name")
    asked = [drift_parts(counts) for counts in family]
    adjusted = iter(holm([part.p_value for parts in asked for part in parts]).tolist())
    # The level at which a question is sure to be called, whatever the answers to the others.
    level = limits.false_alarm_rate / max(1, sum(len(parts) for parts in asked))
    found = tuple(
        _judge(counts, parts, [next(adjusted) for _ in parts], limits, level)
        for counts, parts in zip(family, asked, strict=True)
    )
    report = DriftReport(found, limits)
    log.info(
        "Compared %d features with their reference: %d drifted, %d have too few rows to tell.",
        len(found),
        len(report.drifted),
        len(report.inconclusive),
    )
    return report


def _judge(
    counts: FeatureCounts,
    parts: tuple[DriftPart, ...],
    adjusted: list[float],
    limits: DriftThresholds,
    level: float,
) -> FeatureDrift:
    reference_rows, current_rows = counts.reference_rows, counts.current_rows
    cells = max(2, parts[0].cells if parts else 2)
    detectable = detectable_drift(reference_rows, current_rows, cells, false_alarm_rate=level, power=limits.power)
    needed = rows_to_detect_drift(
        limits.detectable_effect,
        max(2, counts.filled_cells),
        reference_rows=reference_rows,
        false_alarm_rate=level,
        power=limits.power,
    )
    called = [
        (part, p_value)
        for part, p_value in zip(parts, adjusted, strict=True)
        if p_value <= limits.false_alarm_rate and part.effect >= limits.min_effect
    ]
    verdict: Verdict
    if called:
        verdict = "drifted"
        decisive, p_value = max(called, key=lambda pair: pair[0].effect)
    else:
        verdict = "stable" if detectable <= limits.detectable_effect else "inconclusive"
        nothing = DriftPart("distribution", 1.0, 0.0, 0.0, 1, 0.0, 0.0)
        pairs = list(zip(parts, adjusted, strict=True)) or [(nothing, 1.0)]
        decisive, p_value = min(pairs, key=lambda pair: (pair[0].p_value, -pair[0].effect))
    return FeatureDrift(
        name=counts.name,
        verdict=verdict,
        question=decisive.question,
        statistic=decisive.psi,
        effect=decisive.effect,
        p_value=min(1.0, max(1, len(parts)) * decisive.p_value),
        adjusted_p_value=p_value,
        detectable_effect=detectable,
        rows_needed=needed,
        reference_rows=reference_rows,
        current_rows=current_rows,
        reason=_reason(verdict, decisive, p_value, detectable, needed, current_rows, limits),
        parts=parts,
    )


def _reason(
    verdict: Verdict,
    decisive: DriftPart,
    p_value: float,
    detectable: float,
    needed: int | None,
    current_rows: int,
    limits: DriftThresholds,
) -> str:
    shares = f"{decisive.reference_share:.1%} to {decisive.current_share:.1%}"
    what = {
        "distribution": "the distribution moved",
        "missing": f"missing values went from {shares} of the rows",
        "unseen": f"values the reference does not know went from {shares}",
    }[decisive.question]
    if verdict == "drifted":
        return f"{what}: PSI {decisive.effect:.2f} beyond chance, adjusted p {p_value:.2g}, {current_rows} rows"
    if p_value <= limits.false_alarm_rate:
        size = f"a PSI of {decisive.effect:.2g} is below the least worth an alarm, {limits.min_effect:.2g}"
        return f"{what}, significantly but little: {size}"
    if verdict == "stable":
        return f"no drift found; {current_rows} rows would have shown a PSI of {detectable:.2g}"
    if current_rows == 0:
        return "there are no current rows"
    hint = "the reference has too few rows for any verdict" if needed is None else f"{needed} rows are needed"
    return f"no drift found, but {current_rows} rows show a PSI of {detectable:.2g} or more only; {hint}"
