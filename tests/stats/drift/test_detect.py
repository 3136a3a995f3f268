"""The drift verdict: how often it is wrong without drift, how often right with one, and what it says at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.stats.drift.detect import detect_drift
from airflow_provider_mlops.stats.drift.feature_counts import FeatureCounts
from airflow_provider_mlops.stats.drift.report import DriftThresholds

FEATURES = 30
Generator = np.random.Generator


def normal_features(
    generator: Generator, reference_rows: int, current_rows: int, shift: float = 0.0
) -> list[FeatureCounts]:
    """Numbers in twenty bins of equal counts between the reference's own extremes; some values are missing."""
    features = []
    for number in range(FEATURES):
        reference, current = generator.normal(size=reference_rows), generator.normal(shift, size=current_rows)
        edges = np.quantile(reference, np.linspace(0, 1, 21))
        before, now = (
            np.bincount(np.searchsorted(edges, values, side="left"), minlength=22) for values in (reference, current)
        )
        # The smallest value of the reference belongs to its first bin.
        before[1] += before[0]
        before[0] = 0
        missing = (int(generator.binomial(reference_rows, 0.03)), int(generator.binomial(current_rows, 0.03)))
        features.append(
            FeatureCounts.numeric(
                f"x{number}",
                before[1:-1],
                now[1:-1],
                below=(int(before[0]), int(now[0])),
                above=(int(before[-1]), int(now[-1])),
                missing=missing,
            )
        )
    return features


def categorical_features(
    generator: Generator, reference_rows: int, current_rows: int, listed: int
) -> list[FeatureCounts]:
    """Forty values by Zipf's law, of which the most frequent ones of the reference are counted by name."""
    shares = 1 / np.arange(1, 41) ** 1.5
    shares /= shares.sum()
    features = []
    for number in range(FEATURES):
        before, now = generator.multinomial(reference_rows, shares), generator.multinomial(current_rows, shares)
        top = [value for value in np.argsort(-before)[:listed] if before[value]]
        features.append(
            FeatureCounts.categorical(
                f"c{number}",
                {str(value): int(before[value]) for value in top},
                {str(value): int(now[value]) for value in top},
                other=(int(reference_rows - before[top].sum()), int(current_rows - now[top].sum())),
            )
        )
    return features


def family_alarms(families: list[list[FeatureCounts]], false_alarm_rate: float) -> int:
    """How many families raise an alarm, whatever its size."""
    thresholds = DriftThresholds(false_alarm_rate=false_alarm_rate, min_effect=0.0)
    return sum(bool(detect_drift(family, thresholds).drifted) for family in families)


@pytest.mark.parametrize("reference_rows", [300, 3000])
@pytest.mark.parametrize("current_rows", [50, 100, 200, 500, 5000])
def test_a_family_without_drift_alarms_at_most_at_the_false_alarm_rate(current_rows: int, reference_rows: int) -> None:
    families, rate = 40, 0.05
    generator = np.random.default_rng([current_rows, reference_rows])
    drawn = [normal_features(generator, reference_rows, current_rows) for _ in range(families)]
    assert family_alarms(drawn, rate) <= stats.binom.ppf(0.999, families, rate)


@pytest.mark.parametrize("listed", [10, 40])
@pytest.mark.parametrize(("reference_rows", "current_rows"), [(200, 200), (200, 5000), (1000, 5000), (5000, 50)])
def test_listing_the_most_frequent_values_does_not_raise_alarms(
    reference_rows: int, current_rows: int, listed: int
) -> None:
    families, rate = 40, 0.05
    generator = np.random.default_rng([current_rows, reference_rows, listed])
    drawn = [categorical_features(generator, reference_rows, current_rows, listed) for _ in range(families)]
    assert family_alarms(drawn, rate) <= stats.binom.ppf(0.999, families, rate)


def test_all_those_families_together() -> None:
    """The bound of the single cases is loose, because each has few families; the sum over sizes is not."""
    families, rate, alarms = 25, 0.05, 0
    sizes = [(300, 50), (1000, 100), (1000, 200), (300, 500), (5000, 5000)]
    for reference_rows, current_rows in sizes:
        generator = np.random.default_rng([7, current_rows, reference_rows])
        alarms += family_alarms(
            [normal_features(generator, reference_rows, current_rows) for _ in range(families)], rate
        )
    assert alarms <= stats.binom.ppf(0.99, families * len(sizes), rate)


def test_half_a_deviation_in_one_of_thirty_features_is_found_on_five_hundred_rows() -> None:
    generator = np.random.default_rng(3)
    detected = 0
    for _ in range(15):
        features = normal_features(generator, 2000, 500)
        features[4] = normal_features(generator, 2000, 500, shift=0.5)[4]
        report = detect_drift(features)
        assert set(report.drifted) <= {"x4"}
        detected += report.drifted == ("x4",)
    assert detected >= 14


def test_half_a_deviation_in_every_feature_is_found_in_every_one() -> None:
    report = detect_drift(normal_features(np.random.default_rng(4), 2000, 500, shift=0.5))
    assert len(report.drifted) == FEATURES
    assert report.verdict == "drifted"


def test_a_value_that_becomes_frequent_is_found() -> None:
    generator = np.random.default_rng(8)
    features = categorical_features(generator, 2000, 300, listed=10)
    report = detect_drift([*features, FeatureCounts.categorical("c", {"a": 1800, "b": 200}, {"a": 200, "b": 100})])
    assert report.drifted == ("c",)


def test_a_value_that_is_not_listed_and_becomes_frequent_is_found() -> None:
    reference = {f"v{number}": 100 - number for number in range(10)}
    drifted = FeatureCounts.categorical("c", reference, {"v1": 40, "new": 60}, other=(400, 0))
    assert detect_drift([drifted]).drifted == ("c",)


def test_a_million_rows_do_not_alarm_on_a_trifle() -> None:
    edges = np.concatenate([[-np.inf], stats.norm.ppf(np.linspace(0, 1, 21)[1:-1]), [np.inf]])
    generator = np.random.default_rng(5)
    reference = generator.multinomial(1_000_000, np.diff(stats.norm.cdf(edges)))
    current = generator.multinomial(1_000_000, np.diff(stats.norm.cdf(edges, 0.03)))
    (feature,) = detect_drift([FeatureCounts.numeric("x", reference, current)]).features
    assert feature.adjusted_p_value < 1e-20
    assert feature.verdict == "stable"
    assert feature.effect == pytest.approx(0.03**2, abs=3e-4)
    assert "little" in feature.reason
    strict = DriftThresholds(min_effect=0.0)
    assert detect_drift([FeatureCounts.numeric("x", reference, current)], strict).verdict == "drifted"


def test_missing_values_are_a_question_of_their_own() -> None:
    counts = FeatureCounts.numeric("x", [500, 500], [80, 80], missing=(0, 40))
    (feature,) = detect_drift([counts]).features
    assert (feature.verdict, feature.aspect) == ("drifted", "missing")
    assert "0.0% to 20.0%" in feature.reason
    assert (feature.reference_rows, feature.current_rows) == (1000, 200)


def test_a_feature_that_is_missing_altogether() -> None:
    (feature,) = detect_drift([FeatureCounts.numeric("x", [500, 500], [0, 0], missing=(0, 60))]).features
    assert (feature.verdict, feature.aspect) == ("drifted", "missing")


def test_values_out_of_range_are_a_question_of_their_own() -> None:
    counts = FeatureCounts.numeric("x", [2500] * 4, [225] * 4, above=(0, 100))
    (feature,) = detect_drift([counts]).features
    assert feature.verdict == "drifted"
    assert {test.aspect: test.p_value < 1e-20 for test in feature.tests}["unseen"]


def test_missing_values_agree_with_fishers_exact_test() -> None:
    """Oracle: `scipy.stats.fisher_exact`, whose one-sided tails are doubled here."""
    counts = FeatureCounts.numeric("x", [50, 46], [40, 33], missing=(4, 12))
    (test,) = [test for test in detect_drift([counts]).features[0].tests if test.aspect == "missing"]
    tails = [stats.fisher_exact([[12, 73], [4, 96]], alternative=side).pvalue for side in ("less", "greater")]
    assert test.p_value == pytest.approx(2 * min(tails), rel=1e-9)


def test_rows_beyond_the_references_extremes_follow_the_exact_law() -> None:
    """The share of simulations with so many rows beyond both extremes is the p value of that number."""
    generator = np.random.default_rng(9)
    reference, current = generator.random((20_000, 20)), generator.random((20_000, 30))
    beyond = ((current > reference.max(axis=1)[:, None]) | (current < reference.min(axis=1)[:, None])).sum(axis=1)
    for number in (1, 3, 6, 10):
        counts = FeatureCounts.numeric("x", [20], [30 - number], above=(0, number))
        (test,) = [test for test in detect_drift([counts]).features[0].tests if test.aspect == "unseen"]
        assert test.p_value == pytest.approx(np.mean(beyond >= number), abs=0.012)


def test_too_few_rows_are_inconclusive_and_say_how_many_would_do() -> None:
    reference = [500] * 20
    few = FeatureCounts.numeric("x", reference, [1] * 20)
    (feature,) = detect_drift([few]).features
    assert feature.verdict == "inconclusive"
    assert feature.rows_needed is not None
    assert str(feature.rows_needed) in feature.reason
    each = -(-feature.rows_needed // 20)
    assert detect_drift([FeatureCounts.numeric("x", reference, [each] * 20)]).verdict == "stable"


def test_a_reference_that_is_too_small_says_so() -> None:
    (feature,) = detect_drift([FeatureCounts.numeric("x", [10, 10], [5000, 5000])]).features
    assert (feature.verdict, feature.rows_needed) == ("inconclusive", None)
    assert "reference has too few rows" in feature.reason


@pytest.mark.parametrize(
    "counts",
    [
        FeatureCounts.numeric("x", [100, 100], [0, 0]),
        FeatureCounts.numeric("x", [0, 0], [100, 100]),
        FeatureCounts.numeric("x", [], []),
        FeatureCounts.categorical("x", {}, {}),
    ],
)
def test_no_rows_are_inconclusive(counts: FeatureCounts) -> None:
    report = detect_drift([counts])
    assert (report.verdict, report.inconclusive) == ("inconclusive", ("x",))


def test_constant_and_empty_columns_are_stable() -> None:
    constant = FeatureCounts.categorical("constant", {"a": 5000}, {"a": 900})
    empty = FeatureCounts.numeric("empty", [0, 0], [0, 0], missing=(5000, 900))
    assert detect_drift([constant, empty]).verdict == "stable"
    assert detect_drift([]).verdict == "inconclusive"


def test_the_largest_effect_comes_first() -> None:
    little = FeatureCounts.categorical("little", {"a": 500, "b": 500}, {"a": 170, "b": 330})
    large = FeatureCounts.categorical("large", {"a": 500, "b": 500}, {"a": 50, "b": 450})
    report = detect_drift([little, large])
    assert report.drifted == ("large", "little")
    assert [feature.name for feature in report.features] == ["little", "large"]


COUNTS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=12)


@given(COUNTS, st.tuples(st.integers(0, 20), st.integers(0, 20)), st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_any_counts_get_a_verdict(
    cells: list[tuple[int, int]], unseen: tuple[int, int], missing: tuple[int, int]
) -> None:
    reference, current = [cell[0] for cell in cells], [cell[1] for cell in cells]
    numeric = FeatureCounts.numeric("n", reference, current, above=unseen, missing=missing)
    categorical = FeatureCounts.categorical(
        "c", {str(n): c for n, c in enumerate(reference)}, {str(n): c for n, c in enumerate(current)}, other=unseen
    )
    report = detect_drift([numeric, categorical])
    for feature in report.features:
        assert 0 <= feature.p_value <= 1
        assert feature.effect >= 0
        assert np.isfinite(feature.effect)
        assert feature.detectable_effect > 0
        assert feature.reason
        if feature.verdict == "drifted":
            assert feature.adjusted_p_value <= 0.01


@given(st.lists(st.integers(20, 400), min_size=2, max_size=8), st.integers(0, 2**32 - 1))
def test_the_order_of_values_and_of_features_does_not_matter(counts: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    current = generator.integers(20, 400, len(counts)).tolist()
    names = [f"v{number}" for number in range(len(counts))]
    order = generator.permutation(len(counts))
    before, now = dict(zip(names, counts, strict=True)), dict(zip(names, current, strict=True))
    plain = FeatureCounts.categorical("c", before, now)
    shuffled = FeatureCounts.categorical("c", {names[i]: before[names[i]] for i in order}, now)
    other = FeatureCounts.numeric("n", counts, current)
    first, second = detect_drift([plain, other]), detect_drift([other, shuffled])
    assert first.drifted == second.drifted
    assert first.features[0].p_value == pytest.approx(second.features[1].p_value, rel=1e-6, abs=1e-300)


def test_nonsense_is_refused() -> None:
    for nonsense in ({"false_alarm_rate": 0.0}, {"power": 1.0}, {"min_effect": -1.0}, {"detectable_effect": 0.0}):
        with pytest.raises(ValueError, match=r"false_alarm_rate|power|min_effect|detectable_effect"):
            DriftThresholds(**nonsense)
    twice = FeatureCounts.numeric("x", [1], [1])
    with pytest.raises(ValueError, match="different names"):
        detect_drift([twice, twice])
