"""The gates of a rollout, declared as data: what the candidate must not be worse in. `kind` selects the gate.

`lifecycle/rollout/findings.py` judges them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from airflow_provider_mlops.serving.rollouts.plan.rules import Rule, check


class GateBase(BaseModel):
    """The base class of all gates."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    kind: str

    @property
    def title(self) -> str:
        """Name of the gate in reasons and reports."""
        return self.kind.replace("_", " ")


class ErrorRateGate(GateBase):
    """A gate for the share of failed requests.

    A request fails if the version raises, times out, or rejects rows that fit the champion's signature. For a shadow,
    copies that it does not answer are failures.
    """

    kind: Literal["error_rate"] = "error_rate"
    margin: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="Maximum difference between the candidate's error rate and the champion's; 0.01 is one percentage "
        "point. For the next step of a canary, it is enough that the candidate adds at most this much to the error "
        "rate of all requests: 0.01 allows a difference of 0.04 before a step with a share of 0.25.",
    )
    max_rate: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Maximum error rate of the candidate. If it is set, the candidate is not compared with the "
        "champion.",
    )


class LatencyGate(GateBase):
    """A gate for a quantile of the latency: the time from a request's last byte to its answer."""

    kind: Literal["latency"] = "latency"
    quantile: float = Field(default=0.95, gt=0, lt=1, description="Quantile to compare; 0.95 is the 95th percentile.")
    ratio: float = Field(
        default=1.5,
        ge=1.2,
        description="Maximum ratio of the candidate's quantile to the champion's. Latencies are counted in histogram "
        "bins that are 9% wide, so a ratio below 1.2 would hardly be detectable.",
    )
    max_latency_ms: float | None = Field(
        default=None,
        gt=0,
        description="Maximum of the candidate's latency at `quantile`, in milliseconds. If it is set, the candidate "
        "is not compared with the champion. The limit is rounded up to the next bin edge of the histogram, by at most "
        "9%.",
    )

    @property
    @override
    def title(self) -> str:
        return f"latency p{100 * self.quantile:g}"


class AgreementGate(GateBase):
    """A gate for the share of a shadow's predictions that equal the champion's.

    Each request counts once, with the share of its rows on which both versions agree.
    """

    kind: Literal["agreement"] = "agreement"
    min_rate: float = Field(
        default=0.95, gt=0, lt=1, description="Minimum share of rows on which both versions must agree."
    )


class MetricGate(GateBase):
    """A gate for a business metric: the mean reward."""

    kind: Literal["metric"] = "metric"
    goal: Literal["non_inferior", "superior"] = Field(
        default="superior",
        description="Goal of the gate. `superior`: the candidate must be better by more than `margin`; "
        "`non_inferior`: it may be worse by at most `margin`.",
    )
    margin: float = Field(
        default=0.0,
        ge=0,
        description="Margin for the mean reward, in units of the reward: how much better the candidate must be "
        "(`superior`), or how much worse it may be (`non_inferior`).",
    )

    def distance_to_margin(self, effect: float) -> float:
        """Return how far a candidate that is better by `effect` is beyond the margin; it passes if that is positive.

        >>> MetricGate(margin=0.25).distance_to_margin(0.5)
        0.25
        >>> MetricGate(goal="non_inferior", margin=0.25).distance_to_margin(0.5)
        0.75
        """
        return effect - self.margin if self.goal == "superior" else effect + self.margin


class DriftGate(GateBase):
    """A gate for the distance between the distributions of the candidate's and the champion's predictions.

    Each request counts once, divided between the cells of its rows.
    """

    kind: Literal["drift"] = "drift"
    max_distance: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Maximum total variation distance between the predictions of the candidate and of the champion: "
        "the share of predictions that would have to move to another class or bin to make the two distributions equal.",
    )
    classes: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="For classification: the classes to compare, as text, such as `1` and `true`.",
    )
    edges: tuple[float, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="For regression: edges, in increasing order, that divide the predictions into bins, such as "
        "quantiles of the champion's predictions.",
    )

    @model_validator(mode="after")
    def _cells(self) -> Self:
        check(self, _DRIFT_RULES)
        return self

    @property
    def cells(self) -> int:
        """Number of cells, including one for undeclared classes or for values beyond the last edge."""
        return len(self.classes or self.edges or ()) + 1


_DRIFT_RULES: tuple[Rule[DriftGate], ...] = (
    Rule(
        lambda gate: (gate.classes is None) == (gate.edges is None),
        "classes",
        "a drift gate needs either classes or edges. Give classes for a classifier, and edges for a regression",
    ),
    Rule(
        lambda gate: gate.classes is not None and len(set(gate.classes)) != len(gate.classes),
        "classes",
        "classes must be different from each other. Remove the duplicates",
    ),
    Rule(
        lambda gate: gate.edges is not None and list(gate.edges) != sorted(set(gate.edges)),
        "edges",
        "edges must increase. Sort them and remove duplicates",
    ),
)

Gate: TypeAlias = Annotated[
    ErrorRateGate | LatencyGate | AgreementGate | MetricGate | DriftGate, Field(discriminator="kind")
]


def gates_by_name(value: Any) -> Any:
    """Return gates as pydantic takes them, where users may write just the name of a gate.

    >>> gates_by_name(["error_rate"])
    ({'kind': 'error_rate'},)
    """
    if not isinstance(value, list | tuple):
        return value
    return tuple({"kind": gate} if isinstance(gate, str) else gate for gate in value)


def is_relative(gate: Gate) -> bool:
    """Return whether a gate compares the candidate with the champion instead of a fixed limit.

    >>> is_relative(ErrorRateGate()), is_relative(ErrorRateGate(max_rate=0.1))
    (True, False)
    """
    if isinstance(gate, ErrorRateGate):
        return gate.max_rate is None
    if isinstance(gate, LatencyGate):
        return gate.max_latency_ms is None
    return True
