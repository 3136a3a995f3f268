"""Intervals at another confidence. The oracle is statsmodels, for normal intervals; skewed ones keep their shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mlops.stats.intervals.rescaled import rescaled_interval


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.999])
def test_a_normal_interval_is_the_one_at_the_wanted_confidence(wanted: float) -> None:
    from statsmodels.stats.weightstats import DescrStatsW

    sample = DescrStatsW(np.random.default_rng(0).normal(size=50))
    interval = rescaled_interval(sample.mean, sample.zconfint_mean(0.05), 0.95, wanted)
    assert interval == pytest.approx(sample.zconfint_mean(1 - wanted))


CONFIDENCE = st.floats(0.5, 0.99)


@given(st.floats(-10, 10), st.floats(0, 5), st.floats(0, 5), CONFIDENCE, CONFIDENCE)
def test_there_and_back_is_the_same(value: float, below: float, above: float, one: float, other: float) -> None:
    interval = (value - below, value + above)
    there = rescaled_interval(value, interval, one, other)
    assert rescaled_interval(value, there, other, one) == pytest.approx(interval, abs=1e-9)
    assert (there.high - value) * below == pytest.approx((value - there.low) * above, abs=1e-9)


def test_nonsense_is_refused() -> None:
    for confidence, wanted in ((0.95, 1.0), (0.0, 0.95), (95, 0.9)):
        with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
            rescaled_interval(0.0, (-1.0, 1.0), confidence, wanted)
