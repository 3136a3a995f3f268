"""The synthetic customers: reproducible, documented, and true to their probabilities."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from airflow_provider_mlops.data.samples import customers
from airflow_provider_mlops.data.samples.customer_columns import OFFERS, SHIFT_AT
from airflow_provider_mlops.data.samples.customers import FEATURES, CustomersSample
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.stats.drift.psi import population_stability_index


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return CustomersSample().customers().to_pandas()


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    return CustomersSample().truth().to_pandas()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    files = [
        CustomersSample(2000, seed).write(tmp_path / name) for name, seed in (("first", 7), ("second", 7), ("third", 8))
    ]
    first, second, third = ([path.read_bytes() for path in paths] for paths in files)
    assert first == second
    assert first[0] != third[0]
    assert first[1] != third[1]


def test_every_column_is_documented_and_no_other(frame: pd.DataFrame) -> None:
    documented = re.findall(
        r"^``(\w+)`` +(?:int64|float64|string|date|timestamp) ", customers.__doc__ or "", re.MULTILINE
    )
    assert documented == list(frame.columns)


def test_there_are_24_months_in_order(frame: pd.DataFrame) -> None:
    assert len(frame) >= 50_000
    assert frame["observed_at"].is_monotonic_increasing
    assert frame["observed_at"].dt.to_period("M").nunique() == 24


def test_the_price_shifts_in_month_18_and_age_does_not(frame: pd.DataFrame) -> None:
    months = frame["observed_at"].dt.to_period("M")
    assert sorted(months.unique())[17] == pd.Timestamp(SHIFT_AT).to_period("M")
    is_late = frame["observed_at"] >= pd.Timestamp(SHIFT_AT)

    def shift(column: str) -> float:
        edges = frame.loc[~is_late, column].quantile(np.arange(0.1, 1, 0.1))
        counts = [
            np.bincount(np.searchsorted(edges, frame.loc[part, column]), minlength=10) for part in (~is_late, is_late)
        ]
        return population_stability_index(*counts)

    assert shift("monthly_charge") > 0.25
    assert shift("age") < 0.02


def test_labels_follow_the_true_probabilities(frame: pd.DataFrame, truth: pd.DataFrame) -> None:
    assert (frame["customer_id"] == truth["customer_id"]).all()
    tenths = pd.qcut(truth["churn_none"], 10, labels=False)
    grouped = pd.DataFrame({"label": frame["churned"], "probability": truth["churn_none"]}).groupby(tenths).mean()
    assert (grouped["label"] - grouped["probability"]).abs().max() < 0.03


def test_labels_arrive_within_30_days(frame: pd.DataFrame) -> None:
    delay = frame["label_at"] - frame["observed_at"]
    assert delay.min() > pd.Timedelta(0)
    assert delay.max() <= pd.Timedelta(days=30)
    assert delay.max() > pd.Timedelta(days=25)


def test_some_numbers_and_dates_are_missing(frame: pd.DataFrame) -> None:
    missing = frame.isna().mean()
    assert set(missing[missing > 0].index) == {"last_login_on", "usage_hours", "satisfaction"}
    assert missing.max() < 0.35


def test_there_are_categories_with_letters_outside_ascii(frame: pd.DataFrame) -> None:
    assert "Zürich" in set(frame["city"])
    assert set(frame["segment"]) == {"new", "loyal", "business"}
    assert set(frame["gender"]) == {"female", "male", "diverse"}


def test_churn_can_be_learned_but_not_perfectly(frame: pd.DataFrame) -> None:
    some = frame.iloc[::4]
    encoded, label = pd.get_dummies(some[list(FEATURES)]), some["churned"]
    train = np.arange(len(some)) % 4 > 0
    model = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(encoded[train], label[train])
    score = roc_auc_score(label[~train], model.predict_proba(encoded[~train])[:, 1])
    assert 0.7 < score < 0.9


def test_rewards_agree_with_outcomes_and_expectations(frame: pd.DataFrame, truth: pd.DataFrame) -> None:
    stays = frame["churned"] == 0
    assert (frame.loc[~stays, "reward_none"] == 0).all()
    assert (frame.loc[stays, "reward_none"] == frame.loc[stays, "monthly_charge"]).all()
    for offer in OFFERS:
        assert frame[f"reward_{offer}"].mean() == pytest.approx(truth[f"expected_{offer}"].mean(), abs=0.5)
    # Each offer is the best one for some, so that a contextual bandit has something to learn.
    assert truth["best_offer"].value_counts(normalize=True).min() > 0.05
    assert frame["offer"].value_counts(normalize=True).min() > 0.3


@pytest.mark.parametrize(("field", "value"), [("rows", 10), ("seed", -1)])
def test_an_invalid_option_is_named(field: str, value: int) -> None:
    with pytest.raises(InvalidSpecError, match=f"Invalid {field}={value}: it must be at least"):
        CustomersSample(**{field: value})
