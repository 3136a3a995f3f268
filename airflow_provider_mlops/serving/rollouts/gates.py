"""What a rollout's candidate must not be worse in, declared as data: one small JSON object for each, told by `kind`.

How a gate is judged is in `lifecycle/rollout_findings.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator


class GateBase(BaseModel):
    """What every gate has."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    kind: str

    @property
    def title(self) -> str:
        """What the gate is called in reasons."""
        return self.kind.replace("_", " ")


class ErrorRateGate(GateBase):
    """The share of requests that fail in the version: it raises, or takes too long, or refuses rows that fit the
    champion's signature; of a shadow, copies that it does not answer."""

    kind: Literal["error_rate"] = "error_rate"
    margin: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="By how much the candidate's error rate may exceed the champion's, as a share: 0.01 is one point.",
    )
    max_rate: float | None = Field(
        default=None, gt=0, lt=1, description="A fixed limit instead: the candidate's error rate must be below it."
    )


class LatencyGate(GateBase):
    """A quantile of the time from a request's last byte to its answer."""

    kind: Literal["latency"] = "latency"
    quantile: float = Field(default=0.95, gt=0, lt=1, description="Which quantile; 0.95 is the 95th percentile.")
    ratio: float = Field(
        default=1.5,
        ge=1.2,
        description="How many times the champion's quantile the candidate's may be. The histogram's cells are 9 % "
        "wide, so that ratios below 1.2 could hardly be told.",
    )
    max_ms: float | None = Field(
        default=None,
        gt=0,
        description="A fixed limit instead, in milliseconds. It is taken at the next edge of the histogram above it, "
        "at most 9 % higher.",
    )

    @property
    def title(self) -> str:
        """With the quantile."""
        return f"latency p{100 * self.quantile:g}"


class AgreementGate(GateBase):
    """The share of a shadow's answers that are the champion's. A request counts once, with the share of its rows."""

    kind: Literal["agreement"] = "agreement"
    min_rate: float = Field(
        default=0.95, gt=0, lt=1, description="The share of rows on which both versions must agree at least."
    )


class MetricGate(GateBase):
    """The mean reward: a business metric."""

    kind: Literal["metric"] = "metric"
    goal: Literal["non_inferior", "superior"] = Field(
        default="superior",
        description="`superior`: the candidate must be better by `margin`; `non_inferior`: it may be worse by "
        "`margin`.",
    )
    margin: float = Field(default=0.0, ge=0, description="In units of the reward.")

    def room(self, effect: float) -> float:
        """By how much a candidate that is better by `effect` passes the gate; not above 0: it does not.

        >>> MetricGate(margin=0.25).room(0.5), MetricGate(goal="non_inferior", margin=0.25).room(0.5)
        (0.25, 0.75)
        """
        return effect - self.margin if self.goal == "superior" else effect + self.margin


class DriftGate(GateBase):
    """How far the distribution of the candidate's predictions lies from the champion's. A request counts once, in
    shares of its rows."""

    kind: Literal["drift"] = "drift"
    largest: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="The share of predictions that may lie in other cells than the champion's: the total variation "
        "distance.",
    )
    classes: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="The cells of a classifier: the classes, as text, such as `1` and `true`.",
    )
    edges: tuple[float, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="The cells of a regression: rising edges, such as quantiles of the champion's predictions.",
    )

    @model_validator(mode="after")
    def _cells(self) -> Self:
        if (self.classes is None) == (self.edges is None):
            raise ValueError("declare the cells before the data: either classes or edges")
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must be different")
        if self.edges is not None and list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges must rise")
        return self

    @property
    def cells(self) -> int:
        """How many cells there are, with one for classes that were not declared, or beyond the last edge."""
        return len(self.classes or self.edges or ()) + 1


Gate: TypeAlias = Annotated[
    ErrorRateGate | LatencyGate | AgreementGate | MetricGate | DriftGate, Field(discriminator="kind")
]
