"""How bins are chosen and put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mlops.stats.drift.binning import choose_bin_count, merge_bins


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60), st.integers(1, 60))
def test_merged_bins_cover_every_bin_once(counts: list[int], at_most: int) -> None:
    groups = merge_bins(counts, at_most)
    assert len(groups) <= max(at_most, 1)
    assert [place for start, end in groups for place in range(start, end)] == list(range(len(counts)))


@given(st.integers(2, 40), st.integers(1, 20))
def test_merged_bins_of_equal_bins_are_equal(groups: int, size: int) -> None:
    merged = merge_bins([10] * (groups * size), groups)
    assert {end - start for start, end in merged} == {size}


def test_a_large_sample_keeps_all_twenty_bins() -> None:
    assert choose_bin_count(5000) >= 20


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_more_rows_never_suit_fewer_bins(rows: int, more: int) -> None:
    assert 4 <= choose_bin_count(rows) <= choose_bin_count(rows + more)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60), st.integers(1, 20))
def test_a_merged_bin_exceeds_an_equal_share_by_less_than_its_largest_bin(counts: list[int], at_most: int) -> None:
    groups = merge_bins(counts, at_most)
    for start, end in groups[:-1]:
        assert sum(counts[start:end]) <= sum(counts) / at_most + max(counts)


def test_no_bins_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="max_bins"):
        merge_bins([1, 2], 0)
