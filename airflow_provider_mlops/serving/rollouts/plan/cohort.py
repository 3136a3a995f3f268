"""The cohort of a rollout, declared as data: the requests that get the candidate before all others."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.serving.rollouts.plan.gates import ErrorRateGate, Gate, gates_by_name, is_relative
from airflow_provider_mlops.serving.rollouts.plan.rules import Rule, check
from airflow_provider_mlops.serving.rollouts.value_text import as_text

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A name that a header can have: a token of RFC 9110."""
_NOT_IN_HEADERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Cohort(BaseModel):
    """The requests that get the candidate first, such as those of your own staff.

    A cohort is not a random sample of the requests, so it is judged by absolute limits only, and its requests never
    count together with those of the random shares.

    Examples
    --------
    >>> Cohort(name="X-Group", values=["staff", "beta"]).text
    "the header 'X-Group' is 'staff' or 'beta'"
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: Literal["header", "field"] = Field(
        default="header",
        description="Place of the value. `header`: a header of the request; `field`: a column of the request's first "
        "row.",
    )
    name: str = Field(min_length=1, description="Name of the header or column.")
    values: tuple[str, ...] = Field(
        min_length=1,
        max_length=1000,
        description="Values of the requests in the cohort, as text, such as `1` and `true`. Upper and lower case "
        "differ. A header with several values matches if one of them does.",
    )
    min_requests: int = Field(
        default=50,
        ge=1,
        description="Minimum number of requests of the cohort before the first random share starts.",
    )
    gates: tuple[Gate, ...] = Field(
        default=(ErrorRateGate(max_rate=0.1),),
        description="Checks of the cohort's requests: `error_rate` with a `max_rate`, and `latency` with a "
        "`max_latency_ms`. The candidate must pass them before the first random share starts, and is rolled back as "
        "soon as it fails one, also later.",
    )

    @field_validator("values", mode="before")
    @classmethod
    def _values_as_text(cls, value: Any) -> Any:
        values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        for each in values:
            if not isinstance(each, str | bool | int | float):
                raise FieldError("values", "values must be texts, numbers or booleans, for example ['staff', 'beta']")
        return tuple(map(as_text, values))

    @field_validator("gates", mode="before")
    @classmethod
    def _gates_by_name(cls, value: Any) -> Any:
        return gates_by_name(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check(self, _RULES)
        return self

    @property
    def text(self) -> str:
        """The condition for a request to be in the cohort, in words."""
        place = "header" if self.source == "header" else "field"
        if len(self.values) > 3:
            return f"the {place} {self.name!r} is one of {list_names(self.values, 3)}"
        return f"the {place} {self.name!r} is {' or '.join(map(repr, self.values))}"


def _cannot_be_sent(cohort: Cohort) -> str | None:
    """Return the first value that no header can have; None if there is none."""
    if cohort.source != "header":
        return None
    return next(
        (value for value in cohort.values if not value or value != value.strip() or _NOT_IN_HEADERS.search(value)), None
    )


_RULES: tuple[Rule[Cohort], ...] = (
    Rule(
        lambda cohort: cohort.source == "header" and _HEADER_NAME.fullmatch(cohort.name) is None,
        "name",
        "no header can have this name. Use letters, digits and hyphens, for example X-Group, or set source='field' for "
        "a column",
    ),
    Rule(
        lambda cohort: _cannot_be_sent(cohort) is not None,
        "values",
        lambda cohort: (
            f"a header cannot have the value {_cannot_be_sent(cohort)!r}: it must not be empty, and must have no "
            "blanks at its ends and no line breaks. Correct it, or remove it"
        ),
    ),
    Rule(
        lambda cohort: any(map(is_relative, cohort.gates)),
        "gates",
        "the cohort was not chosen at random, so it cannot be compared with the champion's other requests. Give "
        "error_rate gates a max_rate and latency gates a max_latency_ms, and remove other gates",
    ),
)
