"""Monitoring of real predictions by a real gateway, and the rate of its false alarms."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_mlops.data import engine, storage
from airflow_provider_mlops.data.profile import BinCounts, ColumnProfile, Histogram, Profile, TopValue
from airflow_provider_mlops.data.profiling import profile
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.deploy.spec import DeploySpec
from airflow_provider_mlops.lifecycle.deploy.step import deploy
from airflow_provider_mlops.lifecycle.monitor.counts import WindowCounts, count_features, feature_counts
from airflow_provider_mlops.lifecycle.monitor.findings import judge
from airflow_provider_mlops.lifecycle.monitor.spec import MonitorResult, MonitorSpec
from airflow_provider_mlops.lifecycle.monitor.step import STEP, monitor
from airflow_provider_mlops.lifecycle.monitor.window import Window
from airflow_provider_mlops.lifecycle.result_size import RESULT_BYTES
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models, tags
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.log import layout
from airflow_provider_mlops.serving.log.prediction_id import new
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from tests.helpers.prediction_log import log_predictions
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import customers, records, train, with_task


@pytest.fixture(scope="module")
def evaluated(base: Workspace) -> ModelVersion:
    """A version with profile, prediction profile and evaluation."""
    return train(base, "evaluated", evaluated=True)


class Traffic:
    """A deployed model for one test, and requests to it."""

    def __init__(self, base: Workspace, evaluated: ModelVersion, gateway: LiveGateway, name: str) -> None:
        registry = base.registry()
        registry.client.create_registered_model(name)
        source = registry.client.get_model_version(evaluated.name, str(evaluated.version)).source
        registry.client.create_model_version(name, source, evaluated.run_id, tags=models.tags(registry, evaluated))
        self.name, self.gateway = name, gateway
        self.workspace = with_task(base, "monitor", name)
        self.model = models.get(registry, name, 1)
        deploy(DeploySpec(model=self.model, check_champion=False), with_task(base, "deploy", name))

    def send(self, rows: pa.Table, *, labels: bool = False) -> None:
        with self.gateway.client() as client:
            answer = client.infer(self.name, records(rows))
            if labels:
                pairs = zip(answer.prediction_ids, rows["churned"].to_pylist(), strict=True)
                client.feedback_many(pairs)

    def monitor(self, **fields: object) -> MonitorResult:
        return monitor(MonitorSpec(model_name=self.name, **fields), self.workspace)  # type: ignore[arg-type]


@pytest.fixture
def traffic(base: Workspace, evaluated: ModelVersion, gateway: LiveGateway, request: pytest.FixtureRequest) -> Traffic:
    return Traffic(base, evaluated, gateway, request.node.name.replace("[", "-").replace("]", ""))


def test_traffic_like_the_training_rows_is_ok(traffic: Traffic) -> None:
    traffic.send(customers(800, seed=10), labels=True)
    result = traffic.monitor()
    assert (result.verdict, result.drifted_features) == ("ok", ())
    assert (result.rows, result.labeled_rows, result.model_version) == (800, 800, 1)
    assert result.metrics["roc_auc"] == pytest.approx(result.metrics["roc_auc_expected"], abs=0.06)
    assert list(result.reasons) == ["drift"]
    html = storage.read_text(result.report_uri)
    assert "Nothing has changed" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    run = traffic.workspace.registry().client.get_run(result.mlflow_run_id)
    assert run.data.tags["mlops.verdict"] == "ok"
    assert {"drift/age", "psi/plan", "missing/income", "unseen/age", "drift/prediction"} <= set(run.data.metrics)
    assert run.info.status == "FINISHED"


def test_shifted_traffic_raises_an_alarm_that_names_the_feature(traffic: Traffic) -> None:
    traffic.send(customers(400, seed=11, older=9))
    result = traffic.monitor()
    assert result.verdict == "alarm"
    assert "age" in result.drifted_features
    assert "prediction" in result.drifted_features or "probability_yes" in result.drifted_features
    assert not {"income", "plan"} & set(result.drifted_features)
    assert "age" in result.reasons
    assert result.metrics["drifted_features"] == len(result.drifted_features)


def test_few_rows_are_inconclusive(traffic: Traffic) -> None:
    traffic.send(customers(20, seed=12, older=30))
    result = traffic.monitor()
    assert result.verdict == "inconclusive"
    assert result.rows == 20
    assert "min_rows" in result.reasons["rows"]
    assert "too few rows" in storage.read_text(result.report_uri)


def test_rows_that_cannot_exclude_a_drift_are_inconclusive(traffic: Traffic) -> None:
    traffic.send(customers(60, seed=13))
    result = traffic.monitor(detectable_effect=0.05)
    assert result.verdict == "inconclusive"
    assert "age" in result.reasons


def test_labels_that_are_worse_than_expected_raise_a_performance_alarm(traffic: Traffic) -> None:
    traffic.send(customers(500, seed=14, flipped=0.3), labels=True)
    result = traffic.monitor()
    assert result.verdict == "alarm"
    assert list(result.reasons) == ["roc_auc"]
    assert "worse than" in result.reasons["roc_auc"]
    assert result.metrics["roc_auc_upper"] < result.metrics["roc_auc_expected"]
    other = traffic.monitor(performance_metric="accuracy")
    assert list(other.reasons) == ["accuracy"]


def test_few_labels_are_not_judged(traffic: Traffic) -> None:
    traffic.send(customers(400, seed=15))
    traffic.send(customers(20, seed=16, flipped=1.0), labels=True)
    result = traffic.monitor()
    assert result.verdict == "ok"
    assert result.labeled_rows == 20
    assert "roc_auc" not in result.metrics
    assert "the window has 20 labels, required at least" in storage.read_text(result.report_uri)


def test_missing_values_and_unseen_categories_are_quality_alarms(traffic: Traffic) -> None:
    rows = customers(500, seed=17)
    income = rows["income"].to_pylist()
    plan = rows["plan"].to_pylist()
    income[:60] = [None] * 60
    plan[:40] = ["platinum"] * 40
    rows = rows.set_column(1, "income", pa.array(income, pa.float64())).set_column(2, "plan", pa.array(plan))
    traffic.send(rows)
    result = traffic.monitor(min_effect=5.0)
    assert result.verdict == "alarm"
    assert result.drifted_features == ()
    assert set(result.reasons) == {"income", "plan"}
    assert "missing" in result.reasons["income"]
    assert "unseen" in result.reasons["plan"]
    assert traffic.monitor(min_effect=5.0, min_quality_change=0.5).verdict == "ok"


def test_an_alarm_can_fail_the_task_after_the_report_is_written(traffic: Traffic) -> None:
    traffic.send(customers(300, seed=18, older=15))
    with pytest.raises(RejectedError, match=r"version 1: .*age: .*Report: .*monitor\.html"):
        traffic.monitor(on_alarm="fail")
    assert storage.exists(traffic.workspace.uri("reports") + "/monitor.html")
    assert traffic.monitor(on_alarm="skip").verdict == "alarm"


def test_a_retry_leaves_one_run(traffic: Traffic) -> None:
    traffic.send(customers(300, seed=19))
    assert traffic.monitor().mlflow_run_id == traffic.monitor(min_rows=60).mlflow_run_id


def test_only_the_window_and_the_version_count(traffic: Traffic) -> None:
    traffic.send(customers(300, seed=20))
    long_ago = datetime.now(UTC) - timedelta(days=3)
    assert traffic.monitor(until=long_ago).rows == 0
    assert traffic.monitor(until=long_ago).verdict == "inconclusive"
    assert traffic.monitor(window=timedelta(minutes=5)).rows == 300
    with traffic.gateway.client() as client:
        client.infer(traffic.name, records(customers(100, seed=21, older=60)), version=1)
        client.infer(traffic.name, records(customers(50, seed=22, older=60)), verification=True)
    assert traffic.monitor().rows == 300
    # The checks of the deploy step also name the version, but they are not requests of users.
    assert traffic.monitor(include_pinned=True).rows == 400


def test_errors_that_name_what_is_wrong(traffic: Traffic, base: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match=r"nobody.*champion"):
        monitor(MonitorSpec(model_name="nobody"), traffic.workspace)
    registry = base.registry()
    registry.client.create_registered_model("unasked")
    source = registry.client.get_model_version(traffic.name, "1").source
    registry.client.create_model_version(
        "unasked", source, traffic.model.run_id, tags=models.tags(registry, traffic.model)
    )
    with pytest.raises(InvalidSpecError, match=r"model_name='unasked': the prediction log in .* has no predictions"):
        monitor(MonitorSpec(model_name="unasked", version=1), traffic.workspace)
    with pytest.raises(InvalidSpecError, match=r"profile_uri='.*nowhere.json'"):
        traffic.monitor(profile_uri=str(tmp_path / "nowhere.json"))
    with pytest.raises(InvalidSpecError, match=r"has no tag `mlops.profile_uri`"):
        monitor(MonitorSpec(model_name=train(base, "unprofiled").name, version=1), traffic.workspace)
    with pytest.raises(InvalidSpecError, match=r"window=.*must be positive"):
        traffic.monitor(window=timedelta(0))
    traffic.send(customers(200, seed=22), labels=True)
    with pytest.raises(InvalidSpecError, match=r"performance_metric='rmse'"):
        traffic.monitor(performance_metric="rmse")
    for field, value in (("false_alarm_rate", 0), ("min_rows", 0), ("on_alarm", "panic"), ("windw", 3)):
        with pytest.raises(InvalidSpecError, match=field):
            STEP.parse({"model_name": "churn", field: value})


def test_the_result_stays_small_however_many_columns_drift(base: Workspace, mlflow_database: Path) -> None:
    workspace = with_task(base, "monitor", "wide")
    log = Log(workspace, "wide", columns=60)
    log.reference(np.random.default_rng(1).normal(size=(500, 60)))
    log.append(np.random.default_rng(2).normal(loc=5, size=(300, 60)))
    result = monitor(MonitorSpec(model_name="wide", version=1), workspace)
    assert result.metrics["drifted_features"] == 60
    assert len(json.dumps(result.model_dump(mode="json"))) <= RESULT_BYTES


class Log:
    """A model version with only tags, and a prediction log that is written without HTTP."""

    def __init__(self, workspace: Workspace, name: str, columns: int) -> None:
        self.workspace, self.name = workspace, name
        self.names = [
            f"x{number:03d} with a name that is rather long, as that of an engineered feature may be"
            for number in range(columns)
        ]
        registry = workspace.registry()
        registry.client.create_registered_model(name)
        registry.client.create_model_version(name, "file:///nowhere")
        self.version = models.get(registry, name, 1)
        self.schema = LogSchema(name, 1, tuple((column, "double") for column in self.names), "double")
        self.written = 0

    def reference(self, rows: np.ndarray) -> None:
        import ibis

        uri = self.workspace.uri("profiles") + f"/{self.name}.json"
        profile(ibis.memtable(pa.table(dict(zip(self.names, rows.T, strict=True))))).write(uri)
        models.set_tags(self.workspace.registry(), self.version, {tags.PROFILE_URI: uri})

    def append(self, rows: np.ndarray) -> None:
        write_ahead = WriteAhead(layout.write_ahead_root(self.workspace.storage_uri))
        log_predictions(
            write_ahead,
            self.schema,
            new(),
            arm="champion",
            propensity=1.0,
            features=rows.T.tolist(),
            output=rows[:, 0].tolist(),
            latency_ms=1.0,
        )
        write_ahead.close()


SHARES = [0.4, 0.2, 0.15, 0.1, 0.08, 0.04, 0.02, 0.01]


def columns_of(generator: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    """Twelve columns: with heavy tails, of few whole numbers, of categories, and one with missing values."""
    columns = {f"n{place}": generator.standard_t(3, size) for place in range(6)}
    columns |= {f"r{place}": np.round(generator.exponential(3, size)) for place in range(2)}
    columns |= {f"c{place}": generator.choice(8, size, p=SHARES) for place in range(3)}
    return columns | {"m": np.where(generator.random(size) < 0.2, np.nan, generator.normal(size=size))}


def counted_by_numpy(reference: dict[str, np.ndarray], current: dict[str, np.ndarray]) -> WindowCounts:
    """The counts that the engine gives, but fast enough for hundreds of windows per second."""
    features, bins = [], {}
    for name, values in reference.items():
        present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        if name.startswith("c"):
            top = tuple(TopValue(value=int(v), count=int((values == v).sum())) for v in np.unique(values))
            column = ColumnProfile(name=name, type="int64", kind="categorical", rows=len(values), top_values=top)
            known = [int((current[name] == category.value).sum()) for category in top]
            counts = (0, *known, len(current[name]) - sum(known))
        else:
            edges = np.unique(np.quantile(present, np.linspace(0, 1, 21)))
            if edges[0] == np.quantile(present, 0.05):
                edges = np.concatenate([edges[:1], edges])

            def places(x: np.ndarray, edges: np.ndarray = edges) -> np.ndarray:
                inside = np.bincount(np.searchsorted(edges[1:-1], x, side="left"), minlength=len(edges) - 1)
                return inside

            histogram = Histogram(edges=tuple(edges.tolist()), counts=tuple(int(n) for n in places(present)))
            column = ColumnProfile(
                name=name,
                type="float64",
                kind="numeric",
                rows=len(values),
                nulls=len(values) - len(present),
                bins=histogram,
            )
            now = current[name][~np.isnan(current[name])]
            inside = now[(now >= edges[0]) & (now <= edges[-1])]
            counts = (
                len(current[name]) - len(now),
                int((now < edges[0]).sum()),
                *(int(n) for n in places(inside)),
                int((now > edges[-1]).sum()),
            )
        expected = column.bin_counts
        assert expected is not None
        bins[name] = (expected, BinCounts(labels=expected.labels, counts=counts))
        features.append(feature_counts(column, *bins[name]))
    rows = len(next(iter(current.values())))
    return WindowCounts(rows, features=tuple(features), bins=bins)


@pytest.mark.parametrize(("rows", "reference"), [(50, 3000), (120, 300), (1000, 3000)])
def test_over_repeated_samples_false_alarms_keep_to_their_rate(rows: int, reference: int) -> None:
    """200 windows without drift, twelve features each, at a rate of 5%: 20 alarms have a probability below 0.3%.

    A fixed threshold of 0.1 for the PSI would raise an alarm in nearly every window of 50 rows.
    """
    generator = np.random.default_rng(rows)
    # With min_effect at zero, only the tests prevent alarms by chance.
    spec = MonitorSpec(model_name="none", false_alarm_rate=0.05, min_effect=0.0, min_quality_change=0.0)
    alarms = 0
    for _ in range(200):
        counts = counted_by_numpy(columns_of(generator, reference), columns_of(generator, rows))
        alarms += judge(spec, counts).verdict == "alarm"
    assert alarms < 20


def test_the_engine_counts_as_numpy_does() -> None:
    import ibis

    generator = np.random.default_rng(4)
    reference, current = columns_of(generator, 2000), columns_of(generator, 300)
    for name in ("c0", "c1", "c2"):
        del reference[name], current[name]
    known: Profile = profile(ibis.memtable(pa.table(reference)))
    table = engine.connect().create_table(
        "logged", ibis.memtable(pa.table({f"feature_{name}": values for name, values in current.items()})), temp=True
    )
    now = datetime.now(UTC)
    counted = count_features(Window(table, now, now, 300, 0), known)
    assert [counts.name for counts in counted.features] == list(reference)
    for before, counts in counted.bins.values():
        assert counts.rows == 300
        assert before.rows == 2000
    expected = counted_by_numpy(reference, current)
    for name in ("n0", "n1", "m"):
        assert counted.bins[name][1].counts == expected.bins[name][1].counts
