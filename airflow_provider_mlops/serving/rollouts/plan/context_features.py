"""The features of a request that a contextual bandit uses, declared as data. `kind` selects the type."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

FeatureSource: TypeAlias = Literal["field", "header", "hour"]


class NumberFeature(BaseModel):
    """A number in the context of a request."""

    model_config = _FROZEN

    kind: Literal["number"] = "number"
    name: str = Field(min_length=1, description="Name of the feature, and of the column or header that holds it.")
    source: FeatureSource = Field(
        default="field",
        description="Source of the number. `field`: the column `name` in the request's first row; `header`: the "
        "header `name`; `hour`: the hour of the day (UTC) of the request.",
    )
    center: float = Field(
        default=0.0,
        description="Typical value of the feature, such as its mean. It is subtracted from each value, and it is used "
        "for requests without a value.",
    )
    scale: float = Field(
        default=1.0,
        gt=0,
        description="Number by which the feature's value is divided after `center` is subtracted, typically the "
        "standard deviation of the feature.",
    )


class CategoryFeature(BaseModel):
    """A category in the context of a request."""

    model_config = _FROZEN

    kind: Literal["category"] = "category"
    name: str = Field(min_length=1, description="Name of the feature, and of the column or header that holds it.")
    source: FeatureSource = Field(
        default="field",
        description="Source of the category. `field`: the column `name` in the request's first row; `header`: "
        "the header `name`; `hour`: the hour of the day (UTC) of the request.",
    )
    values: tuple[str, ...] = Field(
        min_length=1,
        max_length=100,
        description="Categories to distinguish, as text, such as `1` and `true`. All other values count as one further "
        "category.",
    )


ContextFeature: TypeAlias = Annotated[NumberFeature | CategoryFeature, Field(discriminator="kind")]
