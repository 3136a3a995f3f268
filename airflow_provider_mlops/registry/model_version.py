"""A reference to one version of a registered model, which XCom carries instead of a model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ModelVersion(BaseModel):
    """One version of a registered model.

    >>> ModelVersion(name="churn", version=3, run_id="8a1b").uri
    'models:/churn/3'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str = Field(min_length=1, description="Name of the registered model.")
    version: int = Field(ge=1, description="Number of the version.")
    run_id: str = Field(default="", description="ID of the MLflow run that made the version; empty if unknown.")

    @property
    def uri(self) -> str:
        """URI by which MLflow knows the version, for example in `mlflow.pyfunc.load_model`."""
        return f"models:/{self.name}/{self.version}"

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"
