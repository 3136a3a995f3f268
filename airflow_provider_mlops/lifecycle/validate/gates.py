"""The gates that a model passes on its way to serving, declared as data.

Each gate is a small JSON object told apart by its `kind`. It holds what is asked for; how it is decided is in
`validate_metric_gates.py` and `validate_package_gates.py`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_provider_mlops.lifecycle.evaluate.fairness import fairness_named
from airflow_provider_mlops.lifecycle.scoring.metrics import metric_named

_CONFIDENCE = Field(
    default=0.95, gt=0.5, lt=1, description="The confidence of the interval that the decision is made from."
)

_MINIMUM_ROWS = Field(
    default=20, ge=2, description="With fewer test rows the gate is inconclusive: their interval could not be trusted."
)


class GateBase(BaseModel):
    """What every gate has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str | None = Field(
        default=None,
        max_length=60,
        description="What the gate is called in the verdict. By default its kind and its metric.",
    )

    # A gate is called by its kind and, where it has one, by its metric.
    _named_by: ClassVar[tuple[str, ...]] = ("metric",)

    @property
    def title(self) -> str:
        """The gate's name, or its kind and metric.

        >>> LimitGate(metric="accuracy", min_value=0.9).title
        'limit accuracy'
        """
        if self.name is not None:
            return self.name
        parts = (getattr(self, field, None) for field in self._named_by)
        return " ".join((self.kind, *(part for part in parts if part)))


class _MetricGate(GateBase):
    metric: str | None = Field(
        default=None,
        description="The metric to look at. By default the evaluation's main one: `roc_auc` (or `balanced_accuracy` "
        "for a model without probabilities) for classification and `r2` for regression.",
    )

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return value if value is None else metric_named(value, "gates.metric").name


class LimitGate(_MetricGate):
    """An absolute limit on a metric."""

    kind: Literal["limit"] = "limit"
    min_value: float | None = Field(default=None, description="The least value that passes.")
    max_value: float | None = Field(default=None, description="The greatest value that passes.")
    certain: bool = Field(
        default=False,
        description="Whether the whole confidence interval of the metric must lie within the limits, and not only the "
        "estimate. An interval that holds a limit is then inconclusive: more test rows would decide it.",
    )

    @model_validator(mode="after")
    def _limited(self) -> Self:
        _check_limits(self.min_value, self.max_value)
        return self


class ChampionGate(_MetricGate):
    """The model is not worse than the champion by more than a margin, on the same rows.

    A test of non-inferiority: passed if the interval of the paired difference lies above minus the margin, failed if
    it lies below, inconclusive if it holds it. With no champion yet the gate passes and says so.
    """

    kind: Literal["champion"] = "champion"
    margin: float = Field(
        default=0.02,
        description="By how much the model may be worse, in units of the metric. A negative margin asks for a "
        "model that is better by so much.",
    )
    confidence: float = _CONFIDENCE
    min_rows: int = _MINIMUM_ROWS


class BaselineGate(_MetricGate):
    """The model is better than the trivial baseline, on the same rows: decided as for the champion."""

    kind: Literal["baseline"] = "baseline"
    gain: float = Field(default=0.0, ge=0, description="By how much it must be better, in units of the metric.")
    confidence: float = _CONFIDENCE
    min_rows: int = _MINIMUM_ROWS


class SliceGate(_MetricGate):
    """On no slice is the model worse by more than a margin.

    A slice fails if the model is worse there by more than the margin and the difference is no chance find: its
    confidence interval, widened for the number of slices (Bonferroni), does not hold zero. Where it does hold zero,
    or where the slice has too few rows, the gate is inconclusive.
    """

    kind: Literal["slice"] = "slice"
    against: Literal["champion", "overall"] = Field(
        default="champion",
        description="Worse than what: `champion`, the champion on the rows of the slice, or `overall`, the "
        "model itself on all rows.",
    )
    margin: float = Field(default=0.05, ge=0, description="By how much it may be worse, in units of the metric.")
    columns: tuple[str, ...] | None = Field(
        default=None, description="Which of the evaluation's slice columns. By default all."
    )
    min_rows: int = Field(default=30, ge=2, description="Slices of fewer rows cannot be judged.")
    small_slices: Literal["inconclusive", "ignore"] = Field(
        default="inconclusive", description="What a slice of too few rows makes of the gate."
    )
    confidence: float = _CONFIDENCE


class FairnessGate(GateBase):
    """A limit on how differently the groups of the sensitive columns are treated."""

    kind: Literal["fairness"] = "fairness"
    metric: str = Field(
        default="demographic_parity_difference", description="The fairness measure: a difference or a ratio."
    )
    max_value: float | None = Field(default=None, description="The greatest value that passes, e.g. of a difference.")
    min_value: float | None = Field(default=None, description="The least value that passes, e.g. of a ratio.")
    columns: tuple[str, ...] | None = Field(
        default=None, description="Which of the evaluation's sensitive columns. By default all."
    )
    min_rows: int = Field(default=30, ge=1, description="With a smaller group the gate is inconclusive.")
    certain: bool = Field(
        default=False,
        description="Whether the whole confidence interval of the measure must lie within the limits, and not only "
        "the estimate. An interval that holds a limit is then inconclusive: more test rows would decide it.",
    )

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        return fairness_named(value, "gates.metric")

    @model_validator(mode="after")
    def _limited(self) -> Self:
        _check_limits(self.min_value, self.max_value)
        return self


class LatencyGate(GateBase):
    """How long one prediction of one row takes in a fresh process, at the 95th percentile."""

    kind: Literal["latency"] = "latency"
    max_latency_ms: float = Field(
        default=200.0, gt=0, description="The greatest 95th percentile that passes, in milliseconds."
    )
    predictions: int = Field(
        default=100, ge=20, le=100_000, description="How many predictions are timed, after ten that warm up."
    )


class SizeGate(GateBase):
    """How large the packaged model is."""

    kind: Literal["size"] = "size"
    max_mb: float = Field(default=500.0, gt=0, description="The greatest size that passes, in megabytes (10⁶ bytes).")


class SignatureGate(GateBase):
    """Whoever calls the champion can call this model: it asks for nothing that the champion does not take.

    With no champion yet the gate passes and says so, if the model has a signature.
    """

    kind: Literal["signature"] = "signature"
    allow_new_inputs: bool = Field(
        default=False, description="Whether the model may require columns that the champion does not."
    )


class InfrastructureGate(GateBase):
    """The packaged model loads in a fresh process and answers there what it answered in evaluation."""

    kind: Literal["infrastructure"] = "infrastructure"
    tolerance: float = Field(
        default=1e-6,
        ge=0,
        description="How far, absolutely and relatively, a numeric answer may be from the recorded one.",
    )
    timeout_seconds: float = Field(default=300.0, gt=0, description="How long the process may take to load and answer.")


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
"""Any gate; in JSON, its `kind` says which."""

DEFAULT_GATES: tuple[Gate, ...] = (
    BaselineGate(),
    ChampionGate(),
    SignatureGate(),
    InfrastructureGate(),
    SizeGate(),
    LatencyGate(),
)
"""What is asked of a model if nobody says otherwise."""

GateVerdict: TypeAlias = Literal["passed", "failed", "inconclusive"]


class GateResult(BaseModel):
    """How one gate decided, and why."""

    model_config = ConfigDict(frozen=True)

    gate: str
    kind: str
    verdict: GateVerdict
    reason: str = Field(description="One sentence with the numbers that decided.")
    values: dict[str, float] = Field(default_factory=dict, description="The numbers, by name.")


def _check_limits(min_value: float | None, max_value: float | None) -> None:
    if min_value is None and max_value is None:
        raise ValueError("give min_value, max_value or both")
    if min_value is not None and max_value is not None and min_value > max_value:
        raise ValueError(f"min_value={min_value} is above max_value={max_value}, so nothing could pass")
