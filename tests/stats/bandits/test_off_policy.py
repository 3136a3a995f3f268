"""Off-policy estimates: where the true value is known, and against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airflow_provider_mlops.stats.bandits.off_policy import (
    OffPolicyEstimate,
    doubly_robust,
    inverse_propensity,
    self_normalized,
)

# Three contexts and three arms: everything about them is known.
CONTEXTS = np.array([0.5, 0.3, 0.2])
RATES = np.array([[0.1, 0.3, 0.2], [0.5, 0.2, 0.4], [0.3, 0.3, 0.8]])
LOGGING = np.array([[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.3, 0.4, 0.3]])
TARGET = np.array([[0.1, 0.8, 0.1], [0.7, 0.1, 0.2], [0.05, 0.05, 0.9]])
TRUE = float(CONTEXTS @ (TARGET * RATES).sum(axis=1))


def log_of(decisions: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contexts, arms and rewards under the logging policy."""
    context = generator.choice(3, decisions, p=CONTEXTS)
    arm = (generator.random(decisions)[:, None] > np.cumsum(LOGGING[context], axis=1)).sum(axis=1).clip(max=2)
    return context, arm, (generator.random(decisions) < RATES[context, arm]).astype(float)


def estimates(decisions: int, generator: np.random.Generator) -> dict[str, OffPolicyEstimate]:
    context, arm, reward = log_of(decisions, generator)
    logged, wanted = LOGGING[context, arm], TARGET[context, arm]
    return {
        "ips": inverse_propensity(reward, logged, wanted),
        "snips": self_normalized(reward, logged, wanted),
        "dr": doubly_robust(reward, logged, arm, TARGET[context], RATES[context]),
        "dr, a wrong model": doubly_robust(reward, logged, arm, TARGET[context], np.full((decisions, 3), 0.9)),
        "dr, wrong propensities": doubly_robust(
            reward, np.full(decisions, 1 / 3), arm, TARGET[context], RATES[context]
        ),
    }


@pytest.fixture(scope="module")
def many() -> list[dict[str, OffPolicyEstimate]]:
    generator = np.random.default_rng(1)
    return [estimates(1000, generator) for _ in range(1000)]


@pytest.mark.parametrize("name", ["ips", "snips", "dr", "dr, a wrong model", "dr, wrong propensities"])
def test_estimates_centre_on_the_true_value_and_their_intervals_hold_it(
    many: list[dict[str, OffPolicyEstimate]], name: str
) -> None:
    values = np.array([one[name].value for one in many])
    assert values.mean() == pytest.approx(TRUE, abs=4 * values.std() / np.sqrt(values.size) + (name == "snips") * 1e-3)
    errors = np.array([one[name].standard_error for one in many])
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)
    intervals = [one[name].interval for one in many]
    held = np.mean([interval is not None and interval.low <= TRUE <= interval.high for interval in intervals])
    assert held == pytest.approx(0.95, abs=0.025)


def test_a_model_makes_the_estimate_more_precise(many: list[dict[str, OffPolicyEstimate]]) -> None:
    spread = {name: np.std([one[name].value for one in many]) for name in many[0]}
    assert spread["dr"] < spread["snips"] < spread["dr, a wrong model"]
    assert spread["dr"] < spread["ips"]


def test_the_mean_of_all_logs_is_the_true_value_exactly() -> None:
    """IPS and DR by enumeration: each context, arm and outcome weighted by its probability under the log."""
    expected_ips = expected_dr = 0.0
    predicted_rewards = np.array([[0.4, 0.1, 0.6], [0.2, 0.2, 0.9], [0.0, 1.0, 0.3]])
    for context in range(3):
        for arm in range(3):
            for outcome in (0.0, 1.0):
                chance = RATES[context, arm] if outcome else 1 - RATES[context, arm]
                chance *= CONTEXTS[context] * LOGGING[context, arm]
                logged, wanted = [LOGGING[context, arm]] * 2, [TARGET[context, arm]] * 2
                expected_ips += chance * inverse_propensity([outcome] * 2, logged, wanted).value
                expected_dr += (
                    chance
                    * doubly_robust(
                        [outcome] * 2, logged, [arm] * 2, TARGET[[context] * 2], predicted_rewards[[context] * 2]
                    ).value
                )
    assert expected_ips == pytest.approx(TRUE)
    assert expected_dr == pytest.approx(TRUE)


@given(st.integers(0, 1000))
def test_self_normalized_agrees_with_weighted_least_squares(seed: int) -> None:
    """Oracle: a weighted regression on a constant in statsmodels, with the jackknife's standard error (HC3)."""
    context, arm, reward = log_of(2000, np.random.default_rng(seed))
    weights = TARGET[context, arm] / LOGGING[context, arm]
    oracle = sm.WLS(reward, np.ones(2000), weights=weights).fit(cov_type="HC3")
    estimate = self_normalized(reward, LOGGING[context, arm], TARGET[context, arm])
    assert estimate.value == pytest.approx(float(oracle.params[0]))
    assert estimate.standard_error == pytest.approx(float(oracle.bse[0]))
    half = stats.t.isf(0.025, estimate.effective_count - 1) * float(oracle.bse[0])
    assert estimate.interval == pytest.approx((estimate.value - half, estimate.value + half))
    assert estimate.effective_count == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert estimate.largest_weight == pytest.approx(weights.max())


def test_the_logging_policy_itself_has_the_mean_reward() -> None:
    context, arm, reward = log_of(500, np.random.default_rng(2))
    logged = LOGGING[context, arm]
    for estimate in (inverse_propensity(reward, logged, logged), self_normalized(reward, logged, logged)):
        assert estimate.value == pytest.approx(reward.mean())
        assert estimate.effective_count == pytest.approx(500)


def test_self_normalized_does_not_depend_on_a_shift_of_rewards() -> None:
    context, arm, reward = log_of(500, np.random.default_rng(3))
    logged, wanted = LOGGING[context, arm], TARGET[context, arm]
    moved = self_normalized(reward + 10, logged, wanted)
    assert moved.value == pytest.approx(self_normalized(reward, logged, wanted).value + 10)


def test_nonsense_is_refused() -> None:
    half = [0.5, 0.5]
    for refused in (
        lambda: inverse_propensity([1.0], [0.5], [0.5]),
        lambda: inverse_propensity([1.0, 0.0], [0.0, 0.5], half),
        lambda: inverse_propensity([1.0, 0.0], half, [0.5, 1.5]),
        lambda: inverse_propensity([1.0, float("nan")], half, half),
        lambda: inverse_propensity([1.0, 0.0], half, half, confidence=0),
        lambda: self_normalized([1.0, 0.0], half, [0.0, 0.0]),
        lambda: doubly_robust([1.0, 0.0], half, [0, 2], np.full((2, 2), 0.5), np.zeros((2, 2))),
        lambda: doubly_robust([1.0, 0.0], half, [0, 1], np.full((2, 2), 0.4), np.zeros((2, 2))),
        lambda: doubly_robust([1.0, 0.0], half, [0, 1], np.full((2, 2), 0.5), np.zeros((2, 3))),
    ):
        with pytest.raises(ValueError, match=r"equal length|propensities|probabilities|finite|confidence|policy|arms"):
            refused()


def test_a_few_decisions_or_a_few_large_rewards_give_no_interval() -> None:
    few = self_normalized([1.0, 0.0] * 50, [0.01] * 100, [1.0] * 100)
    assert (few.value, few.interval, few.effective_count) == (0.5, None, 100)
    sales = np.zeros(1000)
    sales[:5] = 100.0
    assert inverse_propensity(sales, [0.5] * 1000, [0.5] * 1000).interval is None
    assert self_normalized(np.ones(1000), [0.5] * 1000, [0.5] * 1000).interval is None
    many = self_normalized([1.0, 0.0] * 500, [0.5] * 1000, [0.5] * 1000)
    assert many.interval is not None
