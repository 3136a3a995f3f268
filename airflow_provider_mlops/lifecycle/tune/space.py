"""The space that a study searches, declared as data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import optuna


class FloatRange(BaseModel):
    """Real numbers from `low` to `high`, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["float"] = "float"
    low: float = Field(description="The smallest value.")
    high: float = Field(description="The largest value.")
    log: bool = Field(default=False, description="Whether to search by order of magnitude. Needs a positive `low`.")
    step: float | None = Field(default=None, gt=0, description="Only `low` and multiples of `step` above it.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step is not None)
        return self

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> float:
        """The trial's value."""
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)


class IntegerRange(BaseModel):
    """Whole numbers from `low` to `high`, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["integer"] = "integer"
    low: int = Field(description="The smallest value.")
    high: int = Field(description="The largest value.")
    log: bool = Field(default=False, description="Whether to search by order of magnitude. Needs a positive `low`.")
    step: int = Field(default=1, ge=1, description="Only `low` and multiples of `step` above it.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step != 1)
        return self

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> int:
        """The trial's value."""
        return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step)


class Choice(BaseModel):
    """One of some values, of any kind that JSON has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["choice"] = "choice"
    values: tuple[JsonValue, ...] = Field(min_length=1, description="The values to choose from.")

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Any:
        """The trial's value."""
        # Optuna keeps scalars as they are; a list or an object goes by its JSON.
        shown: list[Any] = [value if _is_scalar(value) else json.dumps(value) for value in self.values]
        return self.values[shown.index(trial.suggest_categorical(name, shown))]


Range = Annotated[FloatRange | IntegerRange | Choice, Field(discriminator="kind")]


def _is_scalar(value: JsonValue) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _check_range(low: float, high: float, log: bool, stepped: bool) -> None:
    if low > high:
        raise InvalidSpecError("search_space", [low, high], "low must not be above high")
    if log and low <= 0:
        raise InvalidSpecError("search_space", low, "a search by order of magnitude (log) needs a low above 0")
    if log and stepped:
        raise InvalidSpecError("search_space", [low, high], "use either log or step")
