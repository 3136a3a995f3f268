"""The gates that a model must pass before it is deployed, declared as data.

Each gate is a small JSON object, and its `kind` says which gate it is. It holds only the requirements; the decisions
are made in `metric_gates.py` and `package_gates.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from airflow_provider_mlops.lifecycle.evaluate.fairness import check_fairness_name
from airflow_provider_mlops.lifecycle.scoring.metrics import metric_named
from airflow_provider_mlops.lifecycle.validate.gate_base import GateBase, check_limits, describe_limits

_CONFIDENCE = Field(
    default=0.95,
    gt=0.5,
    lt=1,
    description="Confidence level of the interval that the verdict is based on. Defaults to 0.95.",
)

_MIN_ROWS = Field(
    default=20,
    ge=2,
    description="Minimum number of test rows. With fewer, the gate is inconclusive, because the interval would "
    "not be reliable. Defaults to 20.",
)

_CERTAIN = Field(
    default=False,
    description="Require the whole confidence interval to be within the limits, not only the estimate. If a limit is "
    "inside the interval, the gate is inconclusive; more test rows can decide it. Defaults to false.",
)


class _MetricGate(GateBase):
    metric: str | None = Field(
        default=None,
        description="Name of a metric of the evaluation. Defaults to its main metric: `roc_auc` for classification "
        "(`balanced_accuracy` for a model without probabilities) and `r2` for regression.",
    )

    @model_validator(mode="after")
    def _check_metric(self) -> Self:
        if self.metric is not None:
            metric_named(self.metric)
        return self


class LimitGate(_MetricGate):
    """An absolute limit on a metric.

    >>> gate = LimitGate(metric="accuracy", min_value=0.9)
    >>> gate.title, gate.requirement
    ('limit accuracy', 'at least 0.9')
    """

    kind: Literal["limit"] = "limit"
    min_value: float | None = Field(default=None, description="Lowest value that passes. By default there is no limit.")
    max_value: float | None = Field(
        default=None, description="Highest value that passes. By default there is no limit."
    )
    certain: bool = _CERTAIN

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        check_limits(self.min_value, self.max_value)
        return self

    @property
    def requirement(self) -> str:
        """Return the limits in words."""
        return describe_limits(self.min_value, self.max_value)


class ChampionGate(_MetricGate):
    """The model is not worse than the champion by more than a margin, on the same rows.

    This is a test of non-inferiority. It passes if the interval of the paired difference is above minus the margin,
    fails if it is below, and is inconclusive if it includes minus the margin. If there is no champion yet, the gate
    passes.

    >>> ChampionGate(metric="roc_auc", margin=0.01).title
    'champion roc_auc'
    """

    kind: Literal["champion"] = "champion"
    margin: float = Field(
        default=0.02,
        description="How much worse than the champion the model may be, in units of the metric. With a negative "
        "margin, the model must be better than the champion by at least this amount. Defaults to 0.02.",
    )
    confidence: float = _CONFIDENCE
    min_rows: int = _MIN_ROWS


class BaselineGate(_MetricGate):
    """The model is better than the trivial baseline on the same rows, decided as for the champion.

    >>> BaselineGate(gain=0.1).title
    'baseline'
    """

    kind: Literal["baseline"] = "baseline"
    gain: float = Field(
        default=0.0,
        ge=0,
        description="How much better than the baseline the model must be, in units of the metric. The difference "
        "must exceed this value. Defaults to 0.",
    )
    confidence: float = _CONFIDENCE
    min_rows: int = _MIN_ROWS


class SliceGate(_MetricGate):
    """The model is not worse on any slice by more than a margin.

    A slice fails if the model is worse by more than the margin and the difference is significant: its confidence
    interval, widened for the number of slices (Bonferroni), excludes zero. If the interval includes zero, or if a slice
    has too few rows, the gate is inconclusive.

    >>> SliceGate(columns=("country",), margin=0.1).title
    'slice'
    """

    kind: Literal["slice"] = "slice"
    against: Literal["champion", "overall"] = Field(
        default="champion",
        description="Reference for the model's metric on a slice. `champion`: the champion on the same slice; "
        "`overall`: the same model on all rows. Defaults to `champion`.",
    )
    margin: float = Field(
        default=0.05,
        ge=0,
        description="How much worse than the reference in `against` the model may be on a slice, in units of the "
        "metric. Defaults to 0.05.",
    )
    columns: tuple[str, ...] | None = Field(
        default=None, description="Slice columns to check, among those of the evaluation. Defaults to all of them."
    )
    min_rows: int = Field(
        default=30,
        ge=2,
        description="Minimum number of rows in a slice. A smaller slice is not judged. Defaults to 30.",
    )
    small_slices: Literal["inconclusive", "ignore"] = Field(
        default="inconclusive",
        description="Effect of a slice with fewer than `min_rows` rows: `inconclusive` makes the gate inconclusive, "
        "`ignore` leaves the slice out. Defaults to `inconclusive`.",
    )
    confidence: float = _CONFIDENCE


class FairnessGate(GateBase):
    """A limit on how differently the groups of the sensitive columns are treated.

    >>> FairnessGate(metric="equalized_odds_ratio", min_value=0.8).requirement
    'at least 0.8'
    """

    kind: Literal["fairness"] = "fairness"
    metric: str = Field(
        default="demographic_parity_difference",
        description="Name of a fairness measure of the evaluation, for example `equalized_odds_ratio`. Set `max_value` "
        "for a difference and `min_value` for a ratio. Defaults to `demographic_parity_difference`.",
    )
    max_value: float | None = Field(
        default=None,
        description="Highest value that passes, for example 0.1 for a difference. By default there is no limit.",
    )
    min_value: float | None = Field(
        default=None,
        description="Lowest value that passes, for example 0.8 for a ratio. By default there is no limit.",
    )
    columns: tuple[str, ...] | None = Field(
        default=None, description="Sensitive columns of the evaluation to check. Defaults to all of them."
    )
    min_rows: int = Field(
        default=30,
        ge=1,
        description="Minimum number of rows in each group. If a group has fewer, the gate is inconclusive. Defaults "
        "to 30.",
    )
    certain: bool = _CERTAIN

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_fairness_name(self.metric)
        check_limits(self.min_value, self.max_value)
        return self

    @property
    def requirement(self) -> str:
        """Return the limits in words."""
        return describe_limits(self.min_value, self.max_value)


class LatencyGate(GateBase):
    """A limit on the 95th percentile of the time for one prediction of one row, in a fresh process.

    >>> LatencyGate(max_latency_ms=50).title
    'latency'
    """

    kind: Literal["latency"] = "latency"
    max_latency_ms: float = Field(
        default=200.0,
        gt=0,
        description="Maximum 95th percentile of the time for a one-row prediction, in milliseconds. Defaults to 200.",
    )
    predictions: int = Field(
        default=100,
        ge=20,
        le=100_000,
        description="Number of predictions to time, after 10 warm-up predictions. Defaults to 100.",
    )


class SizeGate(GateBase):
    """A limit on the size of the packaged model.

    >>> SizeGate(max_mb=100).title
    'size'
    """

    kind: Literal["size"] = "size"
    max_mb: float = Field(
        default=500.0, gt=0, description="Largest size that passes, in megabytes (10⁶ bytes). Defaults to 500."
    )


class SignatureGate(GateBase):
    """Anyone who calls the champion can call this model without a change.

    The model requires no column and no type that the champion does not accept, and returns the same types. If there is
    no champion yet, the gate passes if the model has a signature.

    >>> SignatureGate(allow_new_inputs=True).title
    'signature'
    """

    kind: Literal["signature"] = "signature"
    allow_new_inputs: bool = Field(
        default=False,
        description="Allow the model to require columns that the champion does not take. Defaults to false.",
    )


class InfrastructureGate(GateBase):
    """The packaged model loads in a fresh process and makes the same predictions there as in the evaluation.

    >>> InfrastructureGate(timeout_seconds=60).title
    'infrastructure'
    """

    kind: Literal["infrastructure"] = "infrastructure"
    tolerance: float = Field(
        default=1e-6,
        ge=0,
        description="Maximum difference between a numeric prediction and the recorded one. It is enough if either the "
        "absolute or the relative difference is within this value. Defaults to 1e-6.",
    )
    timeout_seconds: float = Field(
        default=300.0, gt=0, description="Time limit for loading and predicting, in seconds. Defaults to 300."
    )


Gate: TypeAlias = Annotated[
    LimitGate
    | ChampionGate
    | BaselineGate
    | SliceGate
    | FairnessGate
    | LatencyGate
    | SizeGate
    | SignatureGate
    | InfrastructureGate,
    Field(discriminator="kind"),
]
"""Any gate. In JSON, `kind` says which one."""

DEFAULT_GATES: tuple[Gate, ...] = (
    BaselineGate(),
    ChampionGate(),
    SignatureGate(),
    InfrastructureGate(),
    SizeGate(),
    LatencyGate(),
)
"""The gates that a model must pass if the spec names no others."""
