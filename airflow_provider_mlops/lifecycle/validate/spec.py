"""The fields of the step `validate` and what it returns."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.lifecycle.validate.gates import (
    DEFAULT_GATES,
    Gate,
)
from airflow_provider_mlops.registry.model_version import ModelVersion

Verdict: TypeAlias = Literal["approved", "rejected", "inconclusive"]


_MOST_GATES = 40


class ValidateSpec(Spec):
    """Which model has to pass which gates."""

    model: ModelVersion = Field(description="The version to validate, e.g. `evaluate.output['model']`.")
    evaluation_uri: str = Field(
        description="The evaluation file of this version, e.g. `evaluate.output['evaluation_uri']`."
    )
    gates: tuple[Gate, ...] = Field(
        default=DEFAULT_GATES,
        min_length=1,
        max_length=_MOST_GATES,
        description="What the model has to pass, told apart by `kind`: `limit`, `champion`, `baseline`, `slice`, "
        "`fairness`, `latency`, `size`, `signature` or `infrastructure`. By default the model has to be better than "
        "the baseline and not worse than the champion on the main metric, take what the champion takes, load and "
        "answer in a fresh process, have at most 500 MB, and make 95 % of one-row predictions within 200 ms.",
    )
    on_reject: Literal["fail", "skip"] = Field(
        default="fail",
        description="What a failed gate does: `fail` fails the task without a retry, `skip` skips what comes after it.",
    )
    on_inconclusive: Literal["fail", "skip"] = Field(
        default="fail", description="The same for a verdict that could not be reached."
    )
    allow_pickle: bool = Field(
        default=False,
        description="Whether a model saved with pickle may be loaded, which runs code that it brings along.",
    )
    experiment: str | None = Field(default=None, description="The MLflow experiment. By default the DAG's name.")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        seen: set[str] = set()
        for gate in self.gates:
            if gate.title in seen:
                raise InvalidSpecError("gates", gate.title, "two gates are called so: give one of them a name")
            seen.add(gate.title)
        return self


class ValidateResult(Result):
    """Whether the model may serve, and why. The full reasons are in the report."""

    model: ModelVersion = Field(description="The version that was validated.")
    verdict: Verdict = Field(description="`approved`, `rejected` or `inconclusive`.")
    reasons: dict[str, str] = Field(description="The reason of each gate, by its name.")
    champion_version: int | None = Field(
        description="The champion that the model was compared with; null if there was none."
    )
    report_uri: str = Field(description="The HTML report.")
    mlflow_run_id: str = Field(description="The MLflow run that holds the verdict.")
