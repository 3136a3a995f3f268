"""A small step for tests, with every kind of field that real steps have."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, version_made
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.user_code import UserCode
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.operators.step import StepOperator
from airflow_provider_mlops.registry.model_version import ModelVersion


class Shelf(BaseModel):
    """The place where fruit is stored."""

    kind: Literal["cool", "warm"] = "cool"
    degrees: float = 4.0


class RipenSpec(Spec):
    """The fruit to ripen."""

    fruit: str = Field(description="The fruit to ripen.")
    days: int = Field(default=3, ge=1, description="Days on the shelf.")
    shelf: Shelf = Field(default_factory=Shelf, description="The shelf.")
    labels: dict[str, Any] = Field(default_factory=dict, description="Labels of the fruit.")
    limit: int | None = Field(default=None, description="Upper limit of pieces.")
    names: tuple[str, ...] = Field(default=(), description="Names of the pieces.")
    turn: UserCode | None = Field(default=None, description="Called with `fruit`.")
    dataset: Dataset | None = Field(default=None, description="Dataset of the harvest.")
    every: timedelta = Field(default=timedelta(hours=1), description="Interval between two turns.")
    weather: str = Field(default="fine", description="`away`, `wrong`, `rejected` or `fine`.")
    weight: int = Field(default=0, ge=0, description="Bytes of ballast in the result.")


class RipenResult(Result):
    """The ripe fruit."""

    fruit: str
    spec: dict[str, Any]
    workspace: dict[str, Any]
    turned: str | None
    tries: int
    model: ModelVersion
    bulk: str = ""
    mlflow_run_id: str = "abc123"
    report_uri: str = ""


def ripen(spec: RipenSpec, workspace: Workspace) -> RipenResult:
    """Ripen the fruit."""
    counter = workspace.uri("tries")
    os.makedirs(counter, exist_ok=True)
    open(os.path.join(counter, f"{workspace.task.try_number}"), "w").close()
    tries = len(os.listdir(counter))
    if spec.weather == "away" and tries == 1:
        raise BackendUnavailableError("The orchard", "http://orchard:1", "connection refused", "Check the gate")
    if spec.weather == "wrong":
        raise InvalidSpecError("weather", spec.weather, "choose better weather")
    report = workspace.uri("reports") + "/ripen.html"
    os.makedirs(os.path.dirname(report), exist_ok=True)
    with open(report, "w") as file:
        file.write("<p>ripe</p>")
    if spec.weather == "rejected":
        raise RejectedError("the fruit is rotten")
    return RipenResult(
        fruit=spec.fruit,
        spec=spec.model_dump(mode="json"),
        workspace=workspace.model_dump(mode="json"),
        turned=spec.turn.call(fruit=spec.fruit) if spec.turn else None,
        tries=tries,
        model=ModelVersion(name=f"{spec.fruit} model", version=spec.days, run_id="abc123"),
        bulk="x" * spec.weight,
        report_uri=report,
    )


STEP = Step("ripen", RipenSpec, RipenResult, ripen)


class RipenOperator(StepOperator[RipenSpec, RipenResult], step=STEP):
    """Ripen fruit on a shelf."""

    ui_color = "#abcdef"
    events = MODELS

    def asset_updates(self, spec: RipenSpec, result: RipenResult) -> list[AssetUpdate]:
        return [version_made(result.model, {"weather": spec.weather})]
