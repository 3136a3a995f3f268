"""The fields and the result of the monitor step."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.stats.drift.defaults import DETECTABLE_EFFECT, MIN_EFFECT


class MonitorSpec(Spec):
    """The model to monitor, the time window, and the thresholds of alarms."""

    model_name: str = Field(description="Name of the registered model.", min_length=1)
    version: int | None = Field(default=None, description="Version to monitor. Defaults to the champion.", ge=1)
    profile_uri: str | None = Field(
        default=None,
        description="Profile of the training data. Defaults to the profile that the version's tag `mlops.profile_uri` "
        "names.",
    )
    window: timedelta = Field(
        default=timedelta(days=1),
        description="Length of the time window, as a duration or in seconds. Defaults to one day.",
    )
    until: datetime | None = Field(
        default=None,
        description="End of the time window. A time without a time zone is in UTC. Defaults to the current time.",
    )
    min_rows: int = Field(
        default=50,
        ge=1,
        description="Minimum number of predictions in the window. With fewer, nothing is tested, and the verdict is "
        "*inconclusive*. Defaults to 50.",
    )
    min_labels: int = Field(
        default=30,
        ge=2,
        description="Minimum number of predictions with a label. With fewer, the performance is not judged. Defaults "
        "to 30.",
    )
    false_alarm_rate: float = Field(
        default=0.01,
        gt=0,
        lt=0.5,
        description="Highest probability that a window without any change raises an alarm, over all features and "
        "checks together. Defaults to 0.01.",
    )
    min_effect: float = Field(
        default=MIN_EFFECT,
        ge=0,
        description="Minimum drift that raises an alarm: a population stability index (PSI), corrected for chance. "
        f"Defaults to {MIN_EFFECT}, the drift of a normally distributed feature whose mean moves by a third of its "
        "standard deviation.",
    )
    detectable_effect: float = Field(
        default=DETECTABLE_EFFECT,
        gt=0,
        description="Drift that the test must be able to detect with a probability of 80%, on the same scale as "
        "`min_effect`. If there are too few rows for that, the verdict is `inconclusive` instead of `ok`. "
        f"Defaults to {DETECTABLE_EFFECT}, a shift of the mean by 0.7 standard deviations.",
    )
    min_quality_change: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="Minimum increase of a share that raises an alarm: the share of nulls, of values out of range, or "
        "of unseen categories. Defaults to 0.01.",
    )
    include_pinned: bool = Field(
        default=False,
        description="Include requests that asked for a specific version, which are usually tests. The requests of the "
        "deploy step are never included. Defaults to false.",
    )
    performance_metric: str | None = Field(
        default=None,
        description="Metric to compare with the evaluation. Defaults to the evaluation's main metric.",
    )
    on_alarm: Literal["warn", "fail", "skip"] = Field(
        default="warn",
        description="Reaction to an alarm: `warn` logs a warning, `fail` fails the task, `skip` skips the downstream "
        "tasks. Defaults to `warn`.",
    )


class MonitorResult(Result):
    """The verdict on the window, with reasons and numbers."""

    verdict: Literal["ok", "alarm", "inconclusive"] = Field(
        description="Verdict: `ok`, `alarm`, or `inconclusive` if there are too few rows to decide."
    )
    drifted_features: tuple[str, ...] = Field(
        description="Features that drifted, the largest drift first. `prediction` stands for the predictions. The "
        "list is shortened to fit into an XCom."
    )
    reasons: dict[str, str] = Field(
        description="Reasons for the verdict, by feature, metric or check. Shortened to fit into an XCom; the report "
        "has all of them."
    )
    metrics: dict[str, float] = Field(
        description="Numbers behind the verdict. The numbers of single features are in the MLflow run."
    )
    rows: int = Field(description="Number of predictions in the window.")
    labeled_rows: int = Field(description="Number of predictions in the window that have a label.")
    report_uri: str = Field(description="URI of the HTML report.")
    mlflow_run_id: str = Field(description="ID of the MLflow run with the metrics.")
    model_version: int = Field(description="Version that was monitored.")
