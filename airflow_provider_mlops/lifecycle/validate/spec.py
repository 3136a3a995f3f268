"""The fields and the result of the validate step."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.lifecycle.validate.gates import DEFAULT_GATES, Gate
from airflow_provider_mlops.registry.model_version import ModelVersion

Verdict: TypeAlias = Literal["approved", "rejected", "inconclusive"]

_MAX_GATES = 40


class ValidateSpec(Spec):
    """The model to validate and the gates that it must pass."""

    model: ModelVersion = Field(description="Version to validate, for example `evaluate.output['model']`.")
    evaluation_uri: str = Field(
        description="Evaluation file of this version, for example `evaluate.output['evaluation_uri']`."
    )
    gates: tuple[Gate, ...] = Field(
        default=DEFAULT_GATES,
        min_length=1,
        max_length=_MAX_GATES,
        description="Gates that the model must pass, at most 40. The `kind` of a gate is `limit`, `champion`, "
        "`baseline`, `slice`, `fairness`, `latency`, `size`, `signature` or `infrastructure`. By default, the main "
        "metric of the model must be better than that of the baseline, and at most 0.02 worse than that of the "
        "champion. The model must also accept the same inputs as the champion, load in a fresh process and repeat its "
        "predictions there, be at most 500 MB large, and make 95% of its one-row predictions within 200 ms.",
    )
    on_reject: Literal["fail", "skip"] = Field(
        default="fail",
        description="Reaction to the verdict *rejected*: `fail` fails the task without a retry, `skip` skips the "
        "downstream tasks. Defaults to `fail`.",
    )
    on_inconclusive: Literal["fail", "skip"] = Field(
        default="fail",
        description="Reaction to the verdict *inconclusive*: `fail` or `skip`, as for `on_reject`. Defaults to `fail`.",
    )
    allow_pickle: bool = Field(
        default=False,
        description="Load models that were saved with pickle. Loading such a model runs code from its file. Defaults "
        "to false.",
    )
    experiment: str | None = Field(default=None, description="MLflow experiment of the run. Defaults to the DAG's ID.")

    @model_validator(mode="after")
    def _check_titles(self) -> Self:
        seen: set[str] = set()
        for gate in self.gates:
            if gate.title in seen:
                raise FieldError("gates", f"two gates are called {gate.title!r}. Set a different name for one of them")
            seen.add(gate.title)
        return self


class ValidateResult(Result):
    """The verdict and its reasons, shortened. The report has the full reasons."""

    model: ModelVersion = Field(description="Version that was validated.")
    verdict: Verdict = Field(
        description="Verdict: `approved`, `rejected` or `inconclusive`. Approval sets the alias `challenger`."
    )
    reasons: dict[str, str] = Field(description="Verdict and reason of each gate, by its title.")
    champion_version: int | None = Field(description="Champion during the evaluation; null if there was none.")
    report_uri: str = Field(description="URI of the HTML report.")
    mlflow_run_id: str = Field(description="ID of the MLflow run with the verdict.")
