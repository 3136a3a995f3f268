"""Profiles against pandas and NumPy, which compute the same figures independently."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import ibis
import numpy
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.data import engine
from airflow_provider_mlops.data.binning import bin_like, bins_like
from airflow_provider_mlops.data.profile import Profile, bin_labels
from airflow_provider_mlops.data.profiling import profile
from airflow_provider_mlops.errors import InvalidSpecError


@pytest.fixture(scope="module")
def connection() -> ibis.BaseBackend:
    return engine.connect()


def table(connection: ibis.BaseBackend, arrow: pyarrow.Table, name: str = "rows") -> ibis.Table:
    connection.con.register(name, arrow)
    return connection.table(name)


floats = st.none() | st.floats(-1e9, 1e9) | st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf")])
row = st.fixed_dictionaries(
    {
        "x": floats,
        "n": st.none() | st.integers(-(2**40), 2**40) | st.integers(0, 3),
        "s": st.none() | st.sampled_from(["a", "b", "c", "", "x y", "ä"]),
        "b": st.none() | st.booleans(),
    }
)
SCHEMA = pyarrow.schema({"x": "float64", "n": "int64", "s": "string", "b": "bool"})


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(rows=st.lists(row, min_size=1, max_size=60), bins=st.integers(2, 8))
@example(rows=[{"x": x, "n": 2, "s": None, "b": None} for x in (float("nan"), None)], bins=4)
def test_a_profile_equals_pandas_and_numpy(connection: ibis.BaseBackend, rows: list[dict], bins: int) -> None:
    arrow = pyarrow.Table.from_pylist(rows, schema=SCHEMA)
    result = profile(table(connection, arrow), bins=bins, top_values=3)
    assert result.rows == len(rows)
    frame = pandas.DataFrame(rows, columns=["x", "n", "s", "b"])
    # pandas takes NULL and NaN for the same, as the profile does.
    plain = frame.assign(x=frame["x"].astype("float64"))
    assert result.duplicate_rows == int(plain.duplicated().sum())
    for name in ("x", "n"):
        column = result.column(name)
        values = pandas.to_numeric(frame[name]).astype("float64")
        finite = values[numpy.isfinite(values)].to_numpy()
        assert column.nulls == int(values.isna().sum())
        assert column.infinite == int(numpy.isinf(values).sum())
        assert column.values == len(finite)
        if not len(finite):
            assert column.bins is None
            continue
        assert column.distinct == len(set(finite))
        assert (column.minimum, column.maximum) == (finite.min(), finite.max())
        assert column.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-3)
        if len(finite) > 1:
            assert column.std == pytest.approx(finite.std(ddof=1), rel=1e-6, abs=1e-3)
        for probability, quantile in column.quantiles.items():
            assert quantile == pytest.approx(numpy.quantile(finite, float(probability)), rel=1e-9, abs=1e-6)
        assert column.histogram is not None
        assert column.bins is not None
        expected = numpy.histogram(finite, column.histogram.edges)[0] if finite.min() < finite.max() else [len(finite)]
        assert list(column.histogram.counts) == list(expected)
        for index, (low, high) in enumerate(pairwise(column.bins.edges)):
            inside = (finite <= high) & ((finite >= low) if index == 0 else (finite > low))
            assert column.bins.counts[index] == inside.sum()
    texts = frame["s"].dropna().value_counts()
    expected_top = sorted(texts.items(), key=lambda one: (-one[1], one[0]))[:3]
    assert [(top.value, top.count) for top in result.column("s").top_values] == expected_top
    assert result.column("s").distinct == len(texts)
    truths = frame["b"].dropna().astype(bool).value_counts()
    assert {top.value: top.count for top in result.column("b").top_values} == truths.to_dict()
    assert Profile.model_validate_json(result.model_dump_json()) == result


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    reference=st.lists(row, min_size=1, max_size=40),
    current=st.lists(row, min_size=1, max_size=40),
    bins=st.integers(2, 6),
)
def test_bins_like_counts_other_rows_in_the_reference_bins(
    connection: ibis.BaseBackend, reference: list[dict], current: list[dict], bins: int
) -> None:
    of_reference = table(connection, pyarrow.Table.from_pylist(reference, schema=SCHEMA), "reference")
    of_current = table(connection, pyarrow.Table.from_pylist(current, schema=SCHEMA), "current")
    columns = [one for one in profile(of_reference, bins=bins, top_values=3).columns if one.bin_counts]
    own, other = bins_like(of_reference, columns), bins_like(of_current, columns)
    for column in columns:
        assert column.bin_counts is not None
        assert own[column.name] == column.bin_counts
        counts = other[column.name]
        assert counts.labels == bin_labels(column)
        assert counts.rows == len(current)
        values = [one[column.name] for one in current]
        present = [value for value in values if value is not None and value == value]
        assert counts.counts[0] == len(values) - len(present)
        if column.bins is not None:
            low, high = column.bins.edges[0], column.bins.edges[-1]
            assert counts.counts[1] == sum(value < low for value in present)
            assert counts.counts[-1] == sum(value > high for value in present)
        else:
            for top, count in zip(column.top_values, counts.counts[1:-1], strict=True):
                assert count == sum(value == top.value for value in present)


def test_bin_like_reads_text_as_the_numbers_of_the_reference(connection: ibis.BaseBackend) -> None:
    reference = profile(table(connection, pyarrow.table({"a": [0.0, 1.0, 2.0, 3.0]})), bins=2).column("a")
    current = table(connection, pyarrow.table({"a": ["0.5", "7", "-1", "nonsense", None]}), "other")
    assert bin_like(current, reference).counts == (2, 1, 1, 0, 1)
    with pytest.raises(InvalidSpecError, match="'b'"):
        bin_like(table(connection, pyarrow.table({"b": [1]}), "other"), reference)


def test_other_engines_count_as_duckdb_does(connection: ibis.BaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    random = numpy.random.default_rng(6)
    values = numpy.round(random.normal(size=2000), 1)
    rows = table(connection, pyarrow.table({"a": values, "b": random.integers(0, 3, 2000), "label": values > 0.3}))
    on_duckdb = profile(rows, target="label", bins=7)
    counted = bins_like(rows, on_duckdb.columns)
    # What Spark and the others are given is plain SQL, which DuckDB runs as well.
    monkeypatch.setattr(type(connection), "name", "another")
    assert profile(rows, target="label", bins=7).columns == on_duckdb.columns
    assert bins_like(rows, on_duckdb.columns) == counted


@pytest.fixture
def mixed() -> pandas.DataFrame:
    random = numpy.random.default_rng(5)
    n = 4000
    x = random.normal(size=n)
    return pandas.DataFrame(
        {
            "x": x,
            "skewed": numpy.exp(3 * x),
            "noise": random.normal(size=n),
            "city": random.choice(["Ghent", "Lyon", "Oslo"], n),
            "id": numpy.arange(n),
            "code": [f"row {index}" for index in range(n)],
            "label": numpy.where(x + random.normal(size=n) > 0, "yes", "no"),
            "y": 2 * x + random.normal(size=n),
        }
    ).assign(copy=lambda frame: frame["label"].str.upper(), threshold=lambda f: f["label"].eq("yes") + random.random(n))


def measures(result: Profile, name: str) -> dict[str, float]:
    return {one.measure: one.value for one in result.column(name).associations}


def test_associations_with_a_number(connection: ibis.BaseBackend, mixed: pandas.DataFrame) -> None:
    result = profile(table(connection, pyarrow.Table.from_pandas(mixed)), target="y")
    assert result.problem == "regression"
    assert result.class_balance is None
    for name in ("x", "skewed", "noise"):
        for method in ("pearson", "spearman"):
            assert measures(result, name)[method] == pytest.approx(
                mixed[name].corr(mixed["y"], method=method), abs=1e-9
            )
    means = mixed.groupby("city")["y"].transform("mean")
    expected = numpy.sqrt(means.var(ddof=0) / mixed["y"].var(ddof=0))
    assert measures(result, "city")["correlation_ratio"] == pytest.approx(expected, abs=1e-9)
    assert {leakage.column for leakage in result.suspected_leakage} == {"id", "code"}


def test_associations_with_classes_and_suspected_leakage(connection: ibis.BaseBackend, mixed: pandas.DataFrame) -> None:
    result = profile(table(connection, pyarrow.Table.from_pandas(mixed)), target="label", slices=["city"])
    assert result.problem == "classification"
    assert result.class_balance == pytest.approx(mixed["label"].value_counts(normalize=True).to_dict())
    # With two classes the correlation ratio is the absolute point-biserial correlation.
    assert measures(result, "x")["correlation_ratio"] == pytest.approx(
        abs(mixed["x"].corr(mixed["label"].eq("yes").astype(float))), abs=1e-9
    )
    assert measures(result, "copy")["cramers_v"] == pytest.approx(1.0)
    assert measures(result, "city")["cramers_v"] < 0.06
    assert {leakage.column for leakage in result.suspected_leakage} == {"id", "code", "copy", "threshold"}
    cities = {top.value: top.count for top in result.slices[0].counts}
    assert cities == mixed["city"].value_counts().to_dict()
    assert result.slices[0].other == 0


def test_a_large_table_is_estimated_and_says_so(connection: ibis.BaseBackend, mixed: pandas.DataFrame) -> None:
    rows = pyarrow.Table.from_pandas(pandas.concat([mixed, mixed.head(100)]), preserve_index=False)
    exact = profile(table(connection, rows), target="label")
    large = profile(table(connection, rows), target="label", exact_cells=0)
    assert exact.approximate == ()
    assert set(large.approximate) >= {"distinct", "quantiles", "top_values"}
    assert large.duplicate_rows == exact.duplicate_rows == 100
    for name in ("x", "noise", "skewed"):
        one, other = exact.column(name), large.column(name)
        assert (one.minimum, one.maximum, one.nulls) == (other.minimum, other.maximum, other.nulls)
        assert one.histogram == other.histogram
        assert other.mean == pytest.approx(one.mean)
        for probability, value in other.quantiles.items():
            assert abs((mixed[name] <= value).mean() - float(probability)) < 0.02
        assert sum(other.bins.counts) == one.values
        assert other.distinct == pytest.approx(one.distinct, rel=0.15)
    assert large.column("city").top_values == exact.column("city").top_values
    assert {one.column for one in large.suspected_leakage} == {one.column for one in exact.suspected_leakage} | {
        "id",
        "code",
    }


def test_frequent_values_among_very_many_are_found_and_counted_exactly(
    connection: ibis.BaseBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_mlops.data.top_values.MANY_VALUES", 1000)
    monkeypatch.setattr("airflow_provider_mlops.data.top_values.SAMPLE_ROWS", 5000)
    values = [f"rare {index}" for index in range(20_000)] + ["often"] * 3000 + ["less"] * 1500
    result = profile(table(connection, pyarrow.table({"s": values})), exact_cells=0, top_values=2)
    assert [(top.value, top.count) for top in result.column("s").top_values] == [("often", 3000), ("less", 1500)]


def test_awkward_columns(connection: ibis.BaseBackend, tmp_path: Path) -> None:
    arrow = pyarrow.table(
        {
            "empty": pyarrow.array([None] * 4, "float64"),
            "constant": [5] * 4,
            "huge": [1e300, -1e300, 1e308, 0.0],
            "close": [1.0, numpy.nextafter(1.0, 2.0), 1.0, 1.0],
            "list": [[1], [2], None, []],
            "long": ["x" * 5000, "y", "y", None],
            "time": pyarrow.array([0, 60, None, 120], pyarrow.timestamp("s")),
            "day": pyarrow.array([0, 1, 2, None], pyarrow.date32()),
            "money": pyarrow.array([1, 2, None, 3], pyarrow.decimal128(10, 2)),
            "infinite": [float("inf"), float("-inf"), 1.0, float("nan")],
        }
    )
    result = profile(table(connection, arrow), target="time", bins=4)
    assert result.column("empty").bin_counts is None
    assert result.column("constant").bin_counts.counts == (0, 0, 4, 0)
    assert result.column("huge").std is None
    assert sum(result.column("huge").histogram.counts) == 4
    assert sum(result.column("close").histogram.counts) == 4
    assert result.column("list").kind == "other"
    assert [top.value for top in result.column("long").top_values] == ["y"]
    assert result.column("time").minimum == "1970-01-01T00:00:00"
    assert result.column("time").quantiles["0.5"] == 60.0
    assert result.column("day").quantiles["0.5"] == 86_400.0
    assert result.column("money").mean == 2.0
    assert (result.column("infinite").infinite, result.column("infinite").nulls) == (2, 1)
    uri = result.write(str(tmp_path / "profile.json"))
    assert Profile.read(uri) == result


def test_wide_tables_are_asked_about_in_parts(connection: ibis.BaseBackend) -> None:
    arrow = pyarrow.table({f"c{index}": [float(index), index + 1.0] for index in range(90)})
    result = profile(table(connection, arrow))
    assert [column.minimum for column in result.columns] == [float(index) for index in range(90)]
    assert len(bins_like(table(connection, arrow), result.columns)) == 90


def test_what_is_wrong_is_named(connection: ibis.BaseBackend, tmp_path: Path) -> None:
    rows = table(connection, pyarrow.table({"a": [1]}))
    with pytest.raises(InvalidSpecError, match=r"target='b'.*'a'"):
        profile(rows, target="b")
    with pytest.raises(InvalidSpecError, match=r"slices='c'"):
        profile(rows, slices=["c"])
    with pytest.raises(InvalidSpecError, match="at least one row"):
        profile(rows.limit(0))
    with pytest.raises(InvalidSpecError, match="there is no profile at this URI"):
        Profile.read(str(tmp_path / "profile.json"))
    (tmp_path / "profile.json").write_text("{}")
    with pytest.raises(InvalidSpecError, match="not a profile"):
        Profile.read(str(tmp_path / "profile.json"))
    with pytest.raises(InvalidSpecError, match=r"column='z'.*'a'"):
        profile(rows).column("z")
