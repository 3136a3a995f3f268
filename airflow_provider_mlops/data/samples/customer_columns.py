"""The distributions behind the sample of customers."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Columns: TypeAlias = dict[str, NDArray[Any]]

OFFERS = ("none", "discount", "call")
SHIFT_AT = np.datetime64("2025-06-01", "us")
"""First day of month 18, on which the prices rise."""

_START, _END = np.datetime64("2024-01-01", "us"), np.datetime64("2026-01-01", "us")
_DAY = np.timedelta64(1, "D")
_PRICE_INCREASE = 1.35
_DISCOUNT, _CALL_COST = 0.25, 9.0

_SEGMENTS = np.array(["new", "loyal", "business"])
_GENDERS = np.array(["female", "male", "diverse"])
_CITIES = np.array(["Zürich", "Genève", "São Paulo", "København", "Boston", "Chennai"])
_PLANS = np.array(["basic", "plus", "premium"])
_CHARGES = np.array([29.0, 49.0, 79.0])


def draw(rows: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Return the customers and the truth behind them."""
    random = np.random.default_rng(seed)
    columns = _known_columns(random, rows)
    churn = _churn_probabilities(columns)
    # One draw decides the outcome under every offer, so that an offer that lowers the probability never hurts.
    stays = random.random(rows) >= churn
    price, cost = _offer_terms(columns["monthly_charge"])
    rewards = np.where(stays, price, 0.0) - cost
    expected = price * (1 - churn) - cost
    observed = columns["observed_at"]
    delay = (random.uniform(1, 30, rows) * 86_400_000_000).astype("timedelta64[us]")
    customers = {
        **columns,
        "offer": np.array(OFFERS)[random.integers(0, len(OFFERS), rows)],
        "churned": (~stays[0]).astype(np.int64),
        "label_at": observed + delay,
        **{f"reward_{offer}": rewards[index].round(2) for index, offer in enumerate(OFFERS)},
    }
    truth = {
        "customer_id": columns["customer_id"],
        **{f"churn_{offer}": churn[index] for index, offer in enumerate(OFFERS)},
        **{f"expected_{offer}": expected[index] for index, offer in enumerate(OFFERS)},
        "best_offer": np.array(OFFERS)[expected.argmax(axis=0)],
    }
    return _table(customers), _table(truth)


def _known_columns(random: np.random.Generator, rows: int) -> Columns:
    """Draw the columns that are known at the time of the offer, in the order of the table."""
    observed = np.sort(random.integers(_START.astype(np.int64), _END.astype(np.int64), rows)).astype("datetime64[us]")
    tenure = random.gamma(1.6, 16.0, rows).astype(np.int64) + 1
    is_business = random.random(rows) < 0.18
    segment = np.where(is_business, 2, np.where(tenure <= 12, 0, 1))
    plan = np.minimum(random.choice(3, rows, p=[0.45, 0.35, 0.2]) + (is_business & (random.random(rows) < 0.6)), 2)
    increase = np.where(observed >= SHIFT_AT, _PRICE_INCREASE, 1.0)
    charge = _CHARGES[plan] * random.normal(1.0, 0.08, rows).clip(0.7, 1.3) * increase
    gender = random.choice(3, rows, p=[0.49, 0.49, 0.02])
    tickets = random.poisson(np.where(is_business, 1.8, 0.9))
    usage = random.gamma(2.5, (8.0 + 5.0 * plan) * np.where(gender == 1, 1.15, 1.0), rows)
    satisfaction = (4.2 - 0.45 * tickets + random.normal(0, 0.7, rows)).clip(1, 5).round()
    age = random.normal(44, 15, rows).clip(18, 90).astype(np.int64)
    login = (observed - (random.gamma(1.2, 20.0, rows) * 86_400_000_000).astype("timedelta64[us]")).astype(
        "datetime64[D]"
    )
    login[random.random(rows) < 0.12] = np.datetime64("NaT", "D")
    return {
        "customer_id": np.arange(1, rows + 1),
        "observed_at": observed,
        "signed_up_on": (observed - tenure * 30 * _DAY).astype("datetime64[D]"),
        "last_login_on": login,
        "segment": _SEGMENTS[segment],
        "gender": _GENDERS[gender],
        "city": _CITIES[random.choice(6, rows, p=[0.3, 0.15, 0.2, 0.1, 0.15, 0.1])],
        "plan": _PLANS[plan],
        "age": age,
        "tenure_months": tenure,
        "monthly_charge": charge.round(2),
        "usage_hours": np.where(random.random(rows) < 0.08, np.nan, usage.round(1)),
        "support_tickets": tickets,
        "satisfaction": np.where(random.random(rows) < 0.3, np.nan, satisfaction),
    }


def _churn_probabilities(columns: Columns) -> Floats:
    """Return the probability of leaving under each offer, shape (offers, rows).

    It depends on the columns as they are recorded, nulls included, so that a model can learn all of it. Usage has
    a valley that a linear model cannot represent, and tickets count more for new customers.
    """
    segment, tenure = columns["segment"], columns["tenure_months"]
    usage = np.nan_to_num(columns["usage_hours"], nan=30.0)
    satisfaction = np.nan_to_num(columns["satisfaction"], nan=3.5)
    is_new, is_business = segment == "new", segment == "business"
    score = (
        -2.9
        + 0.022 * (columns["monthly_charge"] - 45.0)
        + 3.6 * np.tanh(((usage - 30.0) / 16.0) ** 2 / 2)
        + columns["support_tickets"] * np.where(is_new, 1.1, np.where(is_business, -0.1, 0.35))
        - 0.55 * (satisfaction - 3.5)
        - 0.02 * np.minimum(tenure, 48)
        + 0.9 * ((columns["age"] < 30) & (columns["plan"] == "premium"))
        + 0.4 * (columns["city"] == "Zürich")
    )
    discount = np.where(is_new, -1.6, np.where(is_business, -0.1, -0.7))
    call = np.where(is_business, -1.8, -0.5)
    result: Floats = 1 / (1 + np.exp(-np.stack([score, score + discount, score + call])))
    return result


def _offer_terms(charge: Floats) -> tuple[Floats, Floats]:
    """Return what a customer who stays pays, and what the offer costs, each of shape (offers, rows or 1)."""
    price = np.stack([charge, charge * (1 - _DISCOUNT), charge])
    return price, np.array([[0.0], [0.0], [_CALL_COST]])


def _table(columns: Columns) -> pa.Table:
    """Return the columns as an Arrow table, in which a missing number or date is null."""
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
