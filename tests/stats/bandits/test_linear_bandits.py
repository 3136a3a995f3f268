"""LinUCB and linear Thompson sampling, and the encoding of their features."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import Ridge

from airflow_provider_mlops.stats.bandits.feature_encoding import FeatureEncoding
from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics, RidgeFit, estimated_noise
from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson
from airflow_provider_mlops.stats.bandits.linucb import LinUCB
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics


def log_of(decisions: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = np.column_stack([np.ones(decisions), generator.normal(size=(decisions, 3))])
    arms = generator.integers(0, 3, decisions)
    coefficients = np.array([[0.1, 1, 0, 0], [0.3, 0, -1, 0], [0.2, 0, 0, 0.5]])
    return arms, features, (features * coefficients[arms]).sum(axis=1) + generator.normal(size=decisions)


def test_the_fit_is_ridge_regression() -> None:
    """Oracle: `sklearn.linear_model.Ridge`, and a solve of the normal equations."""
    arms, features, rewards = log_of(200)
    fit = RidgeFit.of(LinearStatistics.of(arms, features, rewards, 3), strength=2.5)
    x = np.array([1.0, 0.2, -0.4, 0.9])
    for arm in range(3):
        taken = arms == arm
        oracle = Ridge(alpha=2.5, fit_intercept=False).fit(features[taken], rewards[taken])
        assert fit.coefficients[arm] == pytest.approx(oracle.coef_)
        gram = features[taken].T @ features[taken] + 2.5 * np.eye(4)
        assert fit.stds(x)[arm] == pytest.approx(math.sqrt(x @ np.linalg.solve(gram, x)))
        assert fit.means(x)[arm] == pytest.approx(oracle.predict([x])[0])


@given(st.integers(1, 60), st.integers(0, 100))
def test_replicas_together_are_one_stream(decisions: int, seed: int) -> None:
    """The prior is counted once, however many replicas there are."""
    arms, features, rewards = log_of(decisions, seed)
    replica = np.random.default_rng(seed).integers(0, 4, decisions)
    merged = LinearStatistics.empty(3, 4)
    for one in range(4):
        mine = replica == one
        merged += LinearStatistics.of(arms[mine], features[mine], rewards[mine], 3)
    whole = RidgeFit.of(LinearStatistics.of(arms, features, rewards, 3))
    fit_of_merged = RidgeFit.of(merged)
    assert fit_of_merged.coefficients == pytest.approx(whole.coefficients)
    assert fit_of_merged.inverse == pytest.approx(whole.inverse)


def test_propensities_are_the_frequencies_of_posterior_draws() -> None:
    """By a chi-square test: of scores, and of whole vectors of coefficients as the paper draws them."""
    arms, features, rewards = log_of(50)
    fit = RidgeFit.of(LinearStatistics.of(arms, features, rewards, 3))
    policy, generator, x = LinearThompson(1.3), np.random.default_rng(1), np.array([1.0, 0.1, -0.1, 0.3])
    expected = policy.propensities(fit, x)
    assert expected.sum() == pytest.approx(1)
    assert expected.min() > 0.01
    sampled = np.bincount(policy.sample(fit, np.tile(x, (50_000, 1)), generator), minlength=3)
    assert stats.chisquare(sampled, expected * 50_000).pvalue > 0.001
    posteriors = zip(fit.coefficients, 1.3**2 * fit.inverse, strict=True)
    scores = np.stack([generator.multivariate_normal(*posterior, 50_000) @ x for posterior in posteriors])
    assert stats.chisquare(np.bincount(scores.argmax(axis=0), minlength=3), expected * 50_000).pvalue > 0.001


def test_linucb_takes_the_greatest_index_and_keeps_the_floor() -> None:
    arms, features, rewards = log_of(40)
    fit = RidgeFit.of(LinearStatistics.of(arms, features, rewards, 3))
    policy = LinUCB(exploration=0.8, min_propensity=0.01)
    propensities = policy.propensities(fit, features)
    assert propensities.shape == (40, 3)
    assert propensities.sum(axis=1) == pytest.approx(np.ones(40))
    index = fit.means(features) + 0.8 * fit.stds(features)
    assert np.array_equal(propensities.argmax(axis=1), index.argmax(axis=1))
    assert np.sort(propensities, axis=1) == pytest.approx(np.tile([0.01, 0.01, 0.98], (40, 1)))


@pytest.mark.parametrize("name", ["linucb", "thompson"])
def test_learns_which_arm_suits_which_context(name: str) -> None:
    """Two segments with opposite best arms: regret after 100 decisions each is a small part of what chance loses."""
    generator, x = np.random.default_rng(2), np.eye(2)
    rates = np.array([[0.8, 0.2], [0.2, 0.8]])
    regret = []
    for _ in range(20):
        statistics, lost = LinearStatistics.empty(2, 2), 0.0
        for _ in range(200):
            segment = int(generator.integers(2))
            fit = RidgeFit.of(statistics)
            policy = LinUCB(0.7) if name == "linucb" else LinearThompson(0.4)
            share = policy.propensities(fit, x[segment])
            arm = int(generator.choice(2, p=share))
            lost += 0.8 - rates[segment, arm]
            reward = float(generator.random() < rates[segment, arm])
            statistics += LinearStatistics.of([arm], x[[segment]], [reward], 2)
        regret.append(lost)
    assert np.mean(regret) < 0.3 * 200 / 4


def test_features_by_hand() -> None:
    encoding = FeatureEncoding(numbers={"hour": (12.0, 6.0), "age": (40.0, 10.0)}, categories={"place": ("north", "1")})
    assert encoding.encode({"hour": 24, "age": None, "place": 1}) == pytest.approx([1, 2, 0, 0, 1, 0])
    assert encoding.encode({"hour": "nine", "age": 1e9}) == pytest.approx([1, 0, 5, 0, 0, 1])
    assert encoding.encode(None) == pytest.approx([1, 0, 0, 0, 0, 1])


VALUES = st.one_of(st.none(), st.floats(), st.text(), st.booleans())


@given(st.dictionaries(st.sampled_from(["hour", "place", "else"]), VALUES))
def test_any_context_has_finite_features_of_one_length(context: dict[str, object]) -> None:
    encoding = FeatureEncoding(numbers={"hour": (12.0, 6.0)}, categories={"place": ("north", "south")})
    features = encoding.encode(context)
    assert features.shape == (len(encoding.names),)
    assert np.all(np.isfinite(features))
    assert features[2:].sum() == 1


def test_nonsense_is_refused() -> None:
    for refused in (
        lambda: FeatureEncoding(numbers={"hour": (0.0, 0.0)}),
        lambda: FeatureEncoding(categories={"place": ()}),
        lambda: FeatureEncoding(categories={"place": ("a", "a")}),
        lambda: FeatureEncoding(numbers={"a": (0, 1)}, categories={"a": ("b",)}),
        lambda: FeatureEncoding(max_abs=0),
        lambda: LinUCB(-1.0),
        lambda: LinearThompson(0.0),
        lambda: RidgeFit.of(LinearStatistics.empty(2, 2), strength=0.0),
        lambda: LinearStatistics.of([0], [[1.0, 2.0]], [1.0, 2.0], 2),
        lambda: LinearStatistics.of([2], [[1.0, 2.0]], [1.0], 2),
        lambda: LinearStatistics.of([0], [[1.0, math.inf]], [1.0], 2),
    ):
        with pytest.raises(ValueError, match=r"scale|values|both|max_abs|must|decisions|arms|finite"):
            refused()


@pytest.mark.parametrize(
    ("value", "slot"), [(1, 0), (1.0, 0), ("1", 0), (True, 1), ("true", 1), (1.5, 2), (float("nan"), 2), (None, 2)]
)
def test_a_category_reads_the_same_whatever_type_its_column_has(value: object, slot: int) -> None:
    """A column of whole numbers is one of fractions as soon as a value may be missing."""
    encoding = FeatureEncoding(categories={"plan": ("1", "true")})
    assert encoding.encode({"plan": value})[1:].tolist() == [float(place == slot) for place in range(3)]


@pytest.mark.parametrize("level", [0.0, 1e9])
@pytest.mark.parametrize("noise", [0.01, 0.5, 20.0])
def test_the_noise_is_that_of_the_residuals(noise: float, level: float) -> None:
    """Oracle: the residuals of scikit-learn's regression for each arm, with the prior counted as one reward."""
    generator = np.random.default_rng(1)
    x = np.column_stack([np.ones(3000), generator.normal(size=(3000, 3))])
    arm = generator.integers(0, 2, 3000)
    rewards = np.einsum("ni,ni->n", x, generator.normal(size=(2, 4))[arm]) + noise * generator.normal(size=3000) + level
    sums, moments = LinearStatistics.of(arm, x, rewards, 2), RewardStatistics.of(arm, rewards, 2)
    found = estimated_noise(sums, moments, prior_std=1.0, strength=1e-6)
    squares = 0.0
    for number in (0, 1):
        fit = Ridge(alpha=1e-6).fit(x[arm == number, 1:], rewards[arm == number])
        squares += float(np.square(rewards[arm == number] - fit.predict(x[arm == number, 1:])).sum())
    assert found == pytest.approx(math.sqrt((1 + squares) / (1 + 3000 - 8)), rel=1e-3)


def test_without_rewards_the_noise_is_the_guess() -> None:
    assert estimated_noise(LinearStatistics.empty(2, 3), RewardStatistics.empty(2), prior_std=7.0) == 7.0
