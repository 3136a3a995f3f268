"""The Jensen-Shannon distance against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import distance

from airflow_provider_mlops.stats.drift.jensen_shannon import jensen_shannon_distance

PAIRS = (
    st.integers(1, 20)
    .flatmap(
        lambda cells: st.tuples(
            hnp.arrays(np.int64, cells, elements=st.integers(0, 1000)),
            hnp.arrays(np.int64, cells, elements=st.integers(0, 1000)),
        )
    )
    .filter(lambda pair: bool(pair[0].sum() and pair[1].sum()))
)


@given(PAIRS)
def test_agrees_with_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Oracle: `scipy.spatial.distance.jensenshannon`, compared squared because the root magnifies rounding."""
    expected = np.nan_to_num(distance.jensenshannon(*pair, base=2))
    assert jensen_shannon_distance(*pair) ** 2 == pytest.approx(expected**2, abs=1e-9)
    assert 0 <= jensen_shannon_distance(*pair) <= 1


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="rows"):
        jensen_shannon_distance([1, 2], [0, 0])
