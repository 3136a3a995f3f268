"""A registered model with three versions, and their deployments."""

from __future__ import annotations

from airflow_provider_mlops.lifecycle.deploy.spec import DeployResult, DeploySpec
from airflow_provider_mlops.lifecycle.deploy.step import deploy
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import audit, models
from airflow_provider_mlops.registry.model_version import ModelVersion
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import customers, records, with_task


class Versions:
    """Three versions of a model of the test's own; nothing is trained again for them."""

    def __init__(self, workspace: Workspace, trained: ModelVersion, name: str) -> None:
        client = workspace.registry().client
        client.create_registered_model(name)
        source = client.get_model_version(trained.name, str(trained.version)).source
        for _ in range(3):
            client.create_model_version(name, source, trained.run_id)
        self.workspace, self.name, self.registry = workspace, name, workspace.registry()

    def __getitem__(self, number: int) -> ModelVersion:
        return models.get(self.registry, self.name, number)

    def deploy(self, number: int, run_id: str | None = None, **fields: object) -> DeployResult:
        workspace = with_task(self.workspace, "deploy", run_id or f"run {number}")
        return deploy(DeploySpec(model=self[number], **fields), workspace)  # type: ignore[arg-type]

    def trail(self) -> list[tuple[str, int | None, int | None]]:
        return [(e.action, e.from_version, e.to_version) for e in audit.entries(self.registry, self.name)]

    def aliases(self) -> dict[str, int]:
        return models.aliases(self.registry, self.name)


def answers(gateway: LiveGateway, name: str) -> int:
    with gateway.client() as client:
        return client.infer(name, records(customers(1, seed=5))).version
