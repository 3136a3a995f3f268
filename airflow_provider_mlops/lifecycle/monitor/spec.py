"""The fields of the step `monitor` and what it returns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from airflow_provider_mlops.lifecycle.step import Result, Spec


class MonitorSpec(Spec):
    """What to watch, and when to raise an alarm."""

    model_name: str = Field(description="The registered model.", min_length=1)
    version: int | None = Field(default=None, description="The version to watch. By default the champion.", ge=1)
    profile_uri: str | None = Field(
        default=None,
        description="The profile of the data that the model was trained on. By default the one that the version's tag "
        "`mlops.profile_uri` names.",
    )
    window: timedelta = Field(
        default=timedelta(days=1), description="How far back to look. A number is a number of seconds."
    )
    until: datetime | None = Field(
        default=None, description="Where the window ends; without a zone it is UTC. By default now."
    )
    min_rows: int = Field(
        default=50,
        ge=1,
        description="With fewer predictions in the window nothing is tested: the verdict is inconclusive.",
    )
    min_labels: int = Field(
        default=30, ge=2, description="With fewer labelled predictions the performance is not judged."
    )
    false_alarm_rate: float = Field(
        default=0.01,
        gt=0,
        lt=0.5,
        description="The chance that a window in which nothing has changed raises an alarm, over all features and "
        "checks together.",
    )
    min_effect: float = Field(
        default=0.1,
        ge=0,
        description="The smallest drift worth an alarm, as a population stability index with the part that chance "
        "adds taken off. A normally distributed feature that moves by a third of its deviation has 0.1.",
    )
    detectable_effect: float = Field(
        default=0.5,
        gt=0,
        description="The drift that must not have gone unseen for the verdict *ok*, on the same scale: where the rows "
        "are too few to show it with 80 % probability, the verdict is *inconclusive*. 0.5 is a move by 0.7 deviations.",
    )
    min_quality_change: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="The smallest increase worth an alarm in the share of nulls, of values out of range and of unseen "
        "categories.",
    )
    include_pinned: bool = Field(
        default=False,
        description="Whether requests that named a version count too. They are usually tests. The checks of the deploy "
        "step never count.",
    )
    performance_metric: str | None = Field(
        default=None,
        description="The metric to compare with the evaluation's. By default the evaluation's main metric.",
    )
    on_alarm: Literal["warn", "fail", "skip"] = Field(
        default="warn",
        description="What follows from an alarm: a warning in the log, a failed task, or skipped tasks downstream.",
    )


class MonitorResult(Result):
    """What was found."""

    verdict: Literal["ok", "alarm", "inconclusive"] = Field(
        description="`inconclusive` means that the rows do not suffice to tell."
    )
    drifted_features: tuple[str, ...] = Field(
        description="The features that drifted, the largest drift first; as many as an XCom has room for. "
        "`prediction` stands for the predictions."
    )
    reasons: dict[str, str] = Field(
        description="Why, by feature, metric or check; as many as an XCom has room for. The report has all."
    )
    metrics: dict[str, float] = Field(description="The numbers behind the verdict; those by feature are in MLflow.")
    rows: int = Field(description="Predictions in the window.")
    labelled_rows: int = Field(description="Predictions in the window for which a label has come.")
    report_uri: str = Field(description="The HTML report.")
    mlflow_run_id: str = Field(description="The MLflow run that holds the metrics.")
    model_version: int = Field(description="The version that was watched.")
