"""Oracle: scikit-learn's Ridge, fitted fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from airflow_provider_mlops.stats.bandits.cross_fitting import cross_fitted_rewards


@pytest.mark.parametrize("folds", [2, 5])
def test_it_is_scikit_learns_ridge_on_the_other_folds(folds: int) -> None:
    generator = np.random.default_rng(folds)
    features = np.column_stack([np.ones(83), generator.normal(size=(83, 3))])
    arms, rewards = generator.integers(0, 3, 83), generator.normal(size=83)
    predicted = cross_fitted_rewards(features, arms, rewards, 3, folds=folds, strength=0.7)
    fold = np.arange(83) % folds
    for arm in range(3):
        for left_out in range(folds):
            used = (arms == arm) & (fold != left_out)
            oracle = Ridge(alpha=0.7, fit_intercept=False).fit(features[used], rewards[used])
            assert predicted[fold == left_out, arm] == pytest.approx(
                oracle.predict(features[fold == left_out]), abs=1e-9
            )


def test_what_an_arm_earned_itself_is_not_used_for_it() -> None:
    rewards = np.zeros(10)
    rewards[3] = 1e6
    predicted = cross_fitted_rewards(np.ones((10, 1)), np.zeros(10, dtype=int), rewards, 1)
    assert predicted[3, 0] == predicted[8, 0] == 0
    assert predicted[4, 0] > 1000


def test_an_arm_without_decisions_is_expected_to_earn_nothing() -> None:
    assert (cross_fitted_rewards(np.ones((6, 1)), [0] * 6, [1.0] * 6, 2)[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"arms": [0]}, "one element per row"), ({"folds": 1}, "folds"), ({"strength": 0.0}, "strength")],
)
def test_bad_input_is_named(change: dict[str, object], message: str) -> None:
    given = {"features": np.ones((4, 1)), "arms": [0] * 4, "rewards": [1.0] * 4, "arm_count": 1, **change}
    with pytest.raises(ValueError, match=message):
        cross_fitted_rewards(**given)  # type: ignore[arg-type]
