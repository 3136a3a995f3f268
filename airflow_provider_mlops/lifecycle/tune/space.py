"""The search space of a study, declared as data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from airflow_provider_mlops.errors import FieldError

if TYPE_CHECKING:
    import optuna


class FloatRange(BaseModel):
    """Real numbers from `low` to `high`, both included.

    >>> FloatRange(low=0.001, high=10, log=True).kind
    'float'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["float"] = "float"
    low: float = Field(description="Smallest value.")
    high: float = Field(description="Largest value.")
    log: bool = Field(
        default=False, description="Search on a logarithmic scale. Requires a positive `low`. Defaults to false."
    )
    step: float | None = Field(
        default=None,
        gt=0,
        description="Distance between values, starting at `low`. By default, any value in the range.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step is not None)
        return self

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> float:
        """Return the trial's value of the parameter `name`."""
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)


class IntegerRange(BaseModel):
    """Whole numbers from `low` to `high`, both included.

    >>> IntegerRange(low=2, high=8).kind
    'integer'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["integer"] = "integer"
    low: int = Field(description="Smallest value.")
    high: int = Field(description="Largest value.")
    log: bool = Field(
        default=False, description="Search on a logarithmic scale. Requires a positive `low`. Defaults to false."
    )
    step: int = Field(default=1, ge=1, description="Distance between values, starting at `low`. Defaults to 1.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, self.log, self.step != 1)
        return self

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> int:
        """Return the trial's value of the parameter `name`."""
        return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step)


class Choice(BaseModel):
    """One value of a list of JSON values.

    >>> Choice(values=("l1", "l2")).kind
    'choice'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["choice"] = "choice"
    values: tuple[JsonValue, ...] = Field(min_length=1, description="Values to choose from. At least one.")

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Any:
        """Return the trial's value of the parameter `name`."""
        # Optuna stores only scalars; a list or an object is stored as its JSON.
        choices: list[Any] = [value if _is_scalar(value) else json.dumps(value) for value in self.values]
        return self.values[choices.index(trial.suggest_categorical(name, choices))]


Range = Annotated[FloatRange | IntegerRange | Choice, Field(discriminator="kind")]


def _is_scalar(value: JsonValue) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _check_range(low: float, high: float, log: bool, stepped: bool) -> None:
    if low > high:
        raise FieldError("low", f"low must not be above high={high}")
    if log and low <= 0:
        raise FieldError("low", "low must be above 0 for a search on a logarithmic scale (log)")
    if log and stepped:
        raise FieldError("step", "step cannot be used with log. Remove one of them")
