"""Drift detection for all features of a table, with one false alarm rate for all of them together."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from airflow_provider_mlops.stats.drift.feature_counts import FeatureCounts
from airflow_provider_mlops.stats.drift.feature_tests import FeatureTest, feature_tests
from airflow_provider_mlops.stats.drift.multiple_testing import holm
from airflow_provider_mlops.stats.drift.report import DriftReport, DriftThresholds, FeatureDrift, Verdict
from airflow_provider_mlops.stats.drift.sample_size import detectable_drift, rows_to_detect_drift

log = logging.getLogger(__name__)

# The test of a feature for which the counts allow no test.
_NO_TEST = FeatureTest("distribution", 1.0, 0.0, 0.0, 1, 0.0, 0.0)


def detect_drift(features: Iterable[FeatureCounts], thresholds: DriftThresholds | None = None) -> DriftReport:
    """Compare features with their reference. The probability of any false alarm is `thresholds.false_alarm_rate`.

    Up to three aspects of a feature are tested (`feature_tests`): its distribution by a chi-square test that treats
    the reference as a sample with noise of its own, its missing values and its unseen values by exact tests. The p
    values of all tests of all features are adjusted together by `holm`. No fixed level of the PSI is involved, so 50
    rows raise a false alarm no more often than 5000.

    A significant difference is not always worth an alarm: with millions of rows every difference is significant. The
    PSI of a significant test, without the part that chance adds, must therefore also reach `thresholds.min_effect`.

    Parameters
    ----------
    features
        Counts of each feature, with different names.
    thresholds
        Limits that decide whether a feature has drifted; by default those of `DriftThresholds`.

    Raises
    ------
    ValueError
        If two features have the same name.

    Examples
    --------
    >>> same = FeatureCounts.numeric("age", [250, 500, 250], [102, 196, 102])
    >>> moved = FeatureCounts.categorical("color", {"red": 600, "blue": 400}, {"red": 60, "blue": 140})
    >>> report = detect_drift([same, moved])
    >>> report.verdict, report.drifted
    ('drifted', ('color',))
    >>> print(report.features[0].reason)
    no drift; 400 rows are enough to detect a PSI of 0.061
    """
    limits = thresholds or DriftThresholds()
    family = list(features)
    names = [counts.name for counts in family]
    if len(set(names)) < len(names):
        duplicates = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"features must have different names, got two or more of {', '.join(duplicates)}")
    tests_of_features = [feature_tests(counts) for counts in family]
    adjusted = iter(holm([test.p_value for tests in tests_of_features for test in tests]).tolist())
    # The level at which a test is significant whatever the p values of the others.
    level = limits.false_alarm_rate / max(1, sum(len(tests) for tests in tests_of_features))
    verdicts = tuple(
        _judge(counts, tests, [next(adjusted) for _ in tests], limits, level)
        for counts, tests in zip(family, tests_of_features, strict=True)
    )
    report = DriftReport(verdicts, limits)
    log.info(
        "Compared features with their reference: %d in total, %d drifted, %d without a verdict because of too few rows",
        len(verdicts),
        len(report.drifted),
        len(report.inconclusive),
    )
    return report


def _judge(
    counts: FeatureCounts,
    tests: tuple[FeatureTest, ...],
    adjusted: list[float],
    limits: DriftThresholds,
    level: float,
) -> FeatureDrift:
    reference_rows, current_rows = counts.reference_rows, counts.current_rows
    cells = max(2, tests[0].cells if tests else 2)
    detectable = detectable_drift(reference_rows, current_rows, cells, false_alarm_rate=level, power=limits.power)
    needed = rows_to_detect_drift(
        limits.detectable_effect,
        max(2, counts.filled_cells),
        reference_rows=reference_rows,
        false_alarm_rate=level,
        power=limits.power,
    )
    decisive, p_value, drifted = _decisive_test(tests, adjusted, limits)
    verdict: Verdict = "stable" if detectable <= limits.detectable_effect else "inconclusive"
    if drifted:
        verdict = "drifted"
    return FeatureDrift(
        name=counts.name,
        verdict=verdict,
        aspect=decisive.aspect,
        statistic=decisive.psi,
        effect=decisive.effect,
        p_value=min(1.0, max(1, len(tests)) * decisive.p_value),
        adjusted_p_value=p_value,
        detectable_effect=detectable,
        rows_needed=needed,
        reference_rows=reference_rows,
        current_rows=current_rows,
        reason=_reason(verdict, decisive, p_value, detectable, needed, current_rows, limits),
        tests=tests,
    )


def _decisive_test(
    tests: tuple[FeatureTest, ...], adjusted: list[float], limits: DriftThresholds
) -> tuple[FeatureTest, float, bool]:
    """Return the test that decides, its adjusted p value, and whether it shows drift."""
    pairs = list(zip(tests, adjusted, strict=True)) or [(_NO_TEST, 1.0)]
    alarms = [
        (test, p_value)
        for test, p_value in pairs
        if p_value <= limits.false_alarm_rate and test.effect >= limits.min_effect
    ]
    if alarms:
        return *max(alarms, key=lambda pair: pair[0].effect), True
    return *min(pairs, key=lambda pair: (pair[0].p_value, -pair[0].effect)), False


def _reason(
    verdict: Verdict,
    decisive: FeatureTest,
    p_value: float,
    detectable: float,
    needed: int | None,
    current_rows: int,
    limits: DriftThresholds,
) -> str:
    change = f"from {decisive.reference_proportion:.1%} to {decisive.current_proportion:.1%} of the rows"
    what = {
        "distribution": "the distribution moved",
        "missing": f"missing values went {change}",
        "unseen": f"values that are not in the reference went {change}",
    }[decisive.aspect]
    if verdict == "drifted":
        chance = "below 0.001" if p_value < 0.001 else f"{p_value:.2g}"
        return f"{what}: PSI {decisive.effect:.2f} beyond chance, adjusted p-value {chance}, {current_rows:,} rows"
    if p_value <= limits.false_alarm_rate:
        size = f"a PSI of {decisive.effect:.2g} is below the minimum for an alarm, {limits.min_effect:.2g}"
        return f"{what}, which is significant but too little for an alarm: {size}"
    if verdict == "stable":
        return f"no drift; {current_rows:,} rows are enough to detect a PSI of {detectable:.2g}"
    if current_rows == 0:
        return "there are no current rows"
    rows = "1 row" if current_rows == 1 else f"{current_rows:,} rows"
    hint = "the reference has too few rows for any verdict" if needed is None else f"{needed:,} rows are needed"
    limit = f"with {rows}, only a PSI of at least {detectable:.2g} can be detected"
    return f"no drift detected, but {limit}; {hint}"
