"""A reference to one version of a registered model: what XCom carries in place of a model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ModelVersion(BaseModel):
    """One version of a registered model.

    >>> ModelVersion(name="churn", version=3, run_id="8a1b").uri
    'models:/churn/3'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str = Field(min_length=1)
    version: int = Field(ge=1)
    run_id: str

    @property
    def uri(self) -> str:
        """What `mlflow.pyfunc.load_model` takes."""
        return f"models:/{self.name}/{self.version}"

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"
