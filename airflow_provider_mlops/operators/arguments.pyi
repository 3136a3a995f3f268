"""The arguments of the step operators and decorators. Written by `make stubs`: do not edit."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Required, TypeAlias

from airflow.sdk import XComArg

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.lifecycle.extract.increment import IntervalIncrement, WatermarkIncrement
from airflow_provider_mlops.lifecycle.extract.sources import (
    CodeSource,
    FilesSource,
    IbisSource,
    SklearnSource,
    SqlSource,
)
from airflow_provider_mlops.lifecycle.extract.spec import Freshness
from airflow_provider_mlops.lifecycle.prepare.preprocessing import Preprocessing
from airflow_provider_mlops.lifecycle.prepare.split import Split
from airflow_provider_mlops.lifecycle.tune.space import Choice, FloatRange, IntegerRange
from airflow_provider_mlops.lifecycle.user_code import UserCode
from airflow_provider_mlops.lifecycle.validate.gates import (
    BaselineGate,
    ChampionGate,
    FairnessGate,
    InfrastructureGate,
    LatencyGate,
    LimitGate,
    SignatureGate,
    SizeGate,
    SliceGate,
)
from airflow_provider_mlops.operators.task_arguments import StepSettings
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.rollouts.plan.cohort import Cohort
from airflow_provider_mlops.serving.rollouts.plan.config import HardLimits, StickyKey
from airflow_provider_mlops.serving.rollouts.plan.gates import AgreementGate, DriftGate, ErrorRateGate, MetricGate
from airflow_provider_mlops.serving.rollouts.plan.gates import LatencyGate as PlanLatencyGate
from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
from airflow_provider_mlops.serving.rollouts.plan.strategies import (
    AbStrategy,
    BanditStrategy,
    CanaryStrategy,
    ContextualStrategy,
    DirectStrategy,
    ShadowStrategy,
)

Rendered: TypeAlias = str | XComArg
"""A template, or the output of another task."""

class ExtractSettings(StepSettings, total=False):
    """The optional fields of the step `extract`."""

    incremental: IntervalIncrement | Mapping[str, object] | WatermarkIncrement | Rendered | None
    min_rows: int | Rendered
    max_rows: int | Rendered | None
    freshness: Freshness | Mapping[str, object] | Rendered | None
    batch_rows: int | Rendered

class ExtractArguments(ExtractSettings, total=False):
    """The arguments of the operator of the step `extract`."""

    task_id: Required[str]
    dataset_name: Required[Rendered]
    source: Required[
        SqlSource | Mapping[str, object] | FilesSource | IbisSource | SklearnSource | CodeSource | Rendered
    ]

class ExtractTaskArguments(ExtractSettings, total=False):
    """The arguments of the decorator `@task.mlops_extract` and of the function that it returns."""

    task_id: str
    dataset_name: Rendered
    source: SqlSource | Mapping[str, object] | FilesSource | IbisSource | SklearnSource | CodeSource | Rendered

class AnalyzeSettings(StepSettings, total=False):
    """The optional fields of the step `analyze`."""

    target: Rendered | None
    slices: Sequence[Rendered] | Rendered
    bins: int | Rendered
    top_values: int | Rendered

class AnalyzeArguments(AnalyzeSettings, total=False):
    """The arguments of the operator of the step `analyze`."""

    task_id: Required[str]
    dataset: Required[Dataset | Mapping[str, object] | Rendered]

class ValidateDataSettings(StepSettings, total=False):
    """The optional fields of the step `validate_data`."""

    suite_file: Rendered | None
    suite_code: UserCode | Callable[..., object] | Mapping[str, object] | Rendered | None
    reference_profile_uri: Rendered | None
    on_value_skew: Literal["fail", "warn", "continue"] | Rendered
    max_rows: int | Rendered | None

class ValidateDataArguments(ValidateDataSettings, total=False):
    """The arguments of the operator of the step `validate_data`."""

    task_id: Required[str]
    dataset: Required[Dataset | Mapping[str, object] | Rendered]

class ValidateDataTaskArguments(ValidateDataSettings, total=False):
    """The arguments of the decorator `@task.mlops_validate_data` and of the function that it returns."""

    task_id: str
    dataset: Dataset | Mapping[str, object] | Rendered

class PrepareSettings(StepSettings, total=False):
    """The optional fields of the step `prepare`."""

    split: Split | Mapping[str, object] | Rendered
    seed: int | Rendered
    filters: Sequence[Rendered] | Rendered
    features: UserCode | Callable[..., object] | Mapping[str, object] | Rendered | None
    drop: Sequence[Rendered] | Rendered
    preprocessing: Preprocessing | Mapping[str, object] | Rendered
    reuse: bool | Rendered

class PrepareArguments(PrepareSettings, total=False):
    """The arguments of the operator of the step `prepare`."""

    task_id: Required[str]
    dataset: Required[Dataset | Mapping[str, object] | Rendered]
    target: Required[Rendered]

class PrepareTaskArguments(PrepareSettings, total=False):
    """The arguments of the decorator `@task.mlops_prepare` and of the function that it returns."""

    task_id: str
    dataset: Dataset | Mapping[str, object] | Rendered
    target: Rendered

class TrainSettings(StepSettings, total=False):
    """The optional fields of the step `train`."""

    validation_dataset: Dataset | Mapping[str, object] | Rendered | None
    problem: Literal["classification", "regression"] | Rendered | None
    estimator: Rendered | None
    parameters: Mapping[str, object | Rendered] | Rendered
    code: UserCode | Callable[..., object] | Mapping[str, object] | Rendered | None
    preprocessing: Preprocessing | Mapping[str, object] | Rendered | None
    experiment: Rendered | None
    seed: int | Rendered
    trusted_types: Sequence[Rendered] | Rendered
    pip_requirements: Sequence[Rendered] | Rendered | None
    profile_uri: Rendered | None
    version_tags: Mapping[str, Rendered] | Rendered

class TrainArguments(TrainSettings, total=False):
    """The arguments of the operator of the step `train`."""

    task_id: Required[str]
    dataset: Required[Dataset | Mapping[str, object] | Rendered]
    target: Required[Rendered]
    model_name: Required[Rendered]

class TrainTaskArguments(TrainSettings, total=False):
    """The arguments of the decorator `@task.mlops_train` and of the function that it returns."""

    task_id: str
    dataset: Dataset | Mapping[str, object] | Rendered
    target: Rendered
    model_name: Rendered

class TuneSettings(StepSettings, total=False):
    """The optional fields of the step `tune`."""

    validation_dataset: Dataset | Mapping[str, object] | Rendered | None
    problem: Literal["classification", "regression"] | Rendered | None
    estimator: Rendered | None
    parameters: Mapping[str, object | Rendered] | Rendered
    code: UserCode | Callable[..., object] | Mapping[str, object] | Rendered | None
    preprocessing: Preprocessing | Mapping[str, object] | Rendered | None
    experiment: Rendered | None
    seed: int | Rendered
    trusted_types: Sequence[Rendered] | Rendered
    pip_requirements: Sequence[Rendered] | Rendered | None
    profile_uri: Rendered | None
    version_tags: Mapping[str, Rendered] | Rendered
    trials: int | Rendered
    metric: Rendered | None
    phase: Literal["all", "search", "finish"] | Rendered
    worker: int | Rendered
    study_name: Rendered | None
    pruner: Literal["median", "halving", "none"] | Rendered
    folds: int | Rendered
    fold_method: Literal["stratified", "random", "group", "time"] | Rendered | None
    fold_column: Rendered | None

class TuneArguments(TuneSettings, total=False):
    """The arguments of the operator of the step `tune`."""

    task_id: Required[str]
    dataset: Required[Dataset | Mapping[str, object] | Rendered]
    target: Required[Rendered]
    model_name: Required[Rendered]
    search_space: Required[
        Mapping[str, FloatRange | Mapping[str, object] | IntegerRange | Choice | Rendered] | Rendered
    ]

class TuneTaskArguments(TuneSettings, total=False):
    """The arguments of the decorator `@task.mlops_tune` and of the function that it returns."""

    task_id: str
    dataset: Dataset | Mapping[str, object] | Rendered
    target: Rendered
    model_name: Rendered
    search_space: Mapping[str, FloatRange | Mapping[str, object] | IntegerRange | Choice | Rendered] | Rendered

class EvaluateSettings(StepSettings, total=False):
    """The optional fields of the step `evaluate`."""

    problem: Literal["classification", "regression"] | Rendered | None
    slices: Sequence[Rendered] | Rendered
    sensitive: Sequence[Rendered] | Rendered
    positive_class: Rendered | None
    confidence: float | Rendered
    resamples: int | Rendered
    seed: int | Rendered
    training_dataset: Dataset | Mapping[str, object] | Rendered | None
    allow_pickle: bool | Rendered
    experiment: Rendered | None

class EvaluateArguments(EvaluateSettings, total=False):
    """The arguments of the operator of the step `evaluate`."""

    task_id: Required[str]
    model: Required[ModelVersion | Mapping[str, object] | Rendered]
    dataset: Required[Dataset | Mapping[str, object] | Rendered]
    target: Required[Rendered]

class ValidateSettings(StepSettings, total=False):
    """The optional fields of the step `validate`."""

    gates: (
        Sequence[
            LimitGate
            | Mapping[str, object]
            | ChampionGate
            | BaselineGate
            | SliceGate
            | FairnessGate
            | LatencyGate
            | SizeGate
            | SignatureGate
            | InfrastructureGate
            | Rendered
        ]
        | Rendered
    )
    on_reject: Literal["fail", "skip"] | Rendered
    on_inconclusive: Literal["fail", "skip"] | Rendered
    allow_pickle: bool | Rendered
    experiment: Rendered | None

class ValidateArguments(ValidateSettings, total=False):
    """The arguments of the operator of the step `validate`."""

    task_id: Required[str]
    model: Required[ModelVersion | Mapping[str, object] | Rendered]
    evaluation_uri: Required[Rendered]

class DeploySettings(StepSettings, total=False):
    """The optional fields of the step `deploy`."""

    expected_champion: int | Rendered | None
    check_champion: bool | Rendered
    reason: Rendered
    allow_pickle: bool | Rendered
    verify_timeout: float | Rendered
    strategy: Literal["direct"] | Rendered

class DeployArguments(DeploySettings, total=False):
    """The arguments of the operator of the step `deploy`."""

    task_id: Required[str]
    model: Required[ModelVersion | Mapping[str, object] | Rendered]

class RolloutSettings(StepSettings, total=False):
    """The optional fields of the step `rollout`."""

    expected_champion: int | Rendered | None
    check_champion: bool | Rendered
    reason: Rendered
    allow_pickle: bool | Rendered
    verify_timeout: float | Rendered
    strategy: (
        DirectStrategy
        | Mapping[str, object]
        | ShadowStrategy
        | CanaryStrategy
        | AbStrategy
        | BanditStrategy
        | ContextualStrategy
        | Rendered
    )
    gates: (
        Sequence[
            ErrorRateGate | Mapping[str, object] | PlanLatencyGate | AgreementGate | MetricGate | DriftGate | Rendered
        ]
        | Rendered
    )
    false_alarm_rate: float | Rendered
    expected_requests: int | Rendered
    bake_time: timedelta | float | Rendered
    min_requests: int | Rendered
    decision_timeout: timedelta | float | Rendered
    on_inconclusive: Literal["hold", "extend", "ask", "roll_back"] | Rendered
    max_extensions: int | Rendered
    on_cancel: Literal["roll_back", "keep"] | Rendered
    unattended_timeout: timedelta | float | Rendered | None
    hard_limits: HardLimits | Mapping[str, object] | Rendered | None
    reward: Reward | Mapping[str, object] | Rendered | None
    sticky: StickyKey | Mapping[str, object] | Rendered | None
    cohort: Cohort | Mapping[str, object] | Rendered | None
    candidates: Sequence[ModelVersion | Mapping[str, object] | Rendered] | Rendered
    on_conflict: Literal["fail", "wait"] | Rendered
    on_rollback: Literal["skip", "fail", "succeed"] | Rendered
    check_interval: timedelta | float | Rendered

class RolloutArguments(RolloutSettings, total=False):
    """The arguments of the operator of the step `rollout`."""

    task_id: Required[str]
    model: Required[ModelVersion | Mapping[str, object] | Rendered]

class RollbackSettings(StepSettings, total=False):
    """The optional fields of the step `rollback`."""

    to_version: int | Rendered | None
    expected_champion: int | Rendered | None
    reason: Rendered
    timeout: float | Rendered

class RollbackArguments(RollbackSettings, total=False):
    """The arguments of the operator of the step `rollback`."""

    task_id: Required[str]
    model_name: Required[Rendered]

class MonitorSettings(StepSettings, total=False):
    """The optional fields of the step `monitor`."""

    version: int | Rendered | None
    profile_uri: Rendered | None
    window: timedelta | float | Rendered
    until: datetime | Rendered | None
    min_rows: int | Rendered
    min_labels: int | Rendered
    false_alarm_rate: float | Rendered
    min_effect: float | Rendered
    detectable_effect: float | Rendered
    min_quality_change: float | Rendered
    include_pinned: bool | Rendered
    performance_metric: Rendered | None
    on_alarm: Literal["warn", "fail", "skip"] | Rendered

class MonitorArguments(MonitorSettings, total=False):
    """The arguments of the operator of the step `monitor`."""

    task_id: Required[str]
    model_name: Required[Rendered]
