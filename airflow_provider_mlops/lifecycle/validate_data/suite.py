"""Where the expectations come from: a JSON file, the user's code, or a reference profile."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.profile import ColumnProfile, Profile
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.validate_data.engine import great_expectations

if TYPE_CHECKING:
    from airflow_provider_mlops.data.dataset import Dataset
    from airflow_provider_mlops.lifecycle.user_code import UserCode


def from_file(uri: str) -> Any:
    """The suite in a JSON file as `ExpectationSuite.to_json_dict` writes it. Raises InvalidSpecError."""
    try:
        content = json.loads(storage.read_text(uri))
    except FileNotFoundError:
        raise InvalidSpecError("suite_file", uri, "nothing lies there: correct the path") from None
    except ValueError as error:
        raise InvalidSpecError("suite_file", uri, f"it is no JSON ({error}): correct the file") from error
    if not isinstance(content, dict) or not isinstance(content.get("expectations"), list):
        raise InvalidSpecError(
            "suite_file", uri, 'it is no expectation suite: write {"name": ..., "expectations": [{"type": ..., ...}]}'
        )
    if any(isinstance(part, dict) and "expectation_type" in part for part in content["expectations"]):
        raise InvalidSpecError(
            "suite_file", uri, "it was written for Great Expectations 0: rename expectation_type to type"
        )
    gx = great_expectations()
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:
        # The suite itself only logs an expectation that it does not know, and goes on without it.
        expectations = [ExpectationConfiguration(**part).to_domain_obj() for part in content["expectations"]]
        return gx.ExpectationSuite(
            name=content.get("name") or "suite", expectations=expectations, meta=content.get("meta")
        )
    except Exception as error:
        # Great Expectations raises its own errors, pydantic's and TypeError, some with a traceback in the text.
        reason = str(error).split("Traceback")[0].strip()
        raise InvalidSpecError("suite_file", uri, f"Great Expectations refuses it: {reason}") from error


def from_code(code: UserCode, dataset: Dataset) -> Any:
    """The suite that the user's function returns, or that its list of expectations makes. Raises InvalidSpecError."""
    gx = great_expectations()
    from great_expectations.expectations.expectation import Expectation

    columns = {column.name: column.type for column in dataset.manifest.columns}
    returned = code.call(dataset=dataset, columns=columns)
    if isinstance(returned, gx.ExpectationSuite):
        return returned
    if isinstance(returned, list | tuple) and all(isinstance(part, Expectation) for part in returned):
        return gx.ExpectationSuite(name=dataset.name, expectations=list(returned))
    raise InvalidSpecError(
        "suite_code",
        f"{code} returned {type(returned).__name__}",
        "return a great_expectations.ExpectationSuite, or a list of expectations",
    )


_SLACK = 0.05
"""How much a share may differ from the reference beyond chance before it is worth stopping for."""
_DEVIATIONS = 4.0
_TYPES = {
    "numeric": [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    + ["float16", "float32", "float64"],
    "boolean": ["bool"],
    "categorical": ["str"],
    "temporal": [f"datetime64[{unit}]" for unit in ("s", "ms", "us", "ns")],
}


def from_profile(profile: Profile, rows: int) -> Any:
    """What a reference profile leads one to expect of `rows` other rows.

    Schema: the same columns, the same kind of values in each, and no missing values where the reference has none.
    Values: no more missing ones than in the reference, numbers within its range, their median within its middle
    half (or, where either has few rows, within more of it), and the frequent categories still frequent. Every share
    has a margin of four standard errors of both samples and of 5 percentage points, so that chance alone stops nothing.
    """
    gx = great_expectations()
    expect = gx.expectations
    expectations: list[Any] = [
        expect.ExpectTableColumnsToMatchSet(column_set=list(profile.names), exact_match=True),
        expect.ExpectTableRowCountToBeBetween(min_value=1),
    ]
    for column in profile.columns:
        expectations += _of_column(expect, column, rows)
    return gx.ExpectationSuite(name="inferred from the profile", expectations=expectations)


def _of_column(expect: Any, column: ColumnProfile, rows: int) -> list[Any]:
    found: list[Any] = []
    name = column.name
    if column.kind in _TYPES and column.values:
        found.append(expect.ExpectColumnValuesToBeInTypeList(column=name, type_list=_TYPES[column.kind]))
    if column.nulls == 0:
        found.append(expect.ExpectColumnValuesToNotBeNull(column=name))
    elif column.rows:
        share = _lowest(1 - column.nulls / column.rows, column.rows, rows)
        if share > 0:
            found.append(expect.ExpectColumnValuesToNotBeNull(column=name, mostly=share))
    if not column.values:
        return found
    if column.kind == "numeric" and column.minimum is not None and not column.infinite:
        # Of other rows like the reference's, 2 / (n + 1) lie outside the reference's range on average.
        inside = _lowest(1 - 2 / (column.values + 1), column.values, rows)
        if inside > 0:
            limits = {"min_value": column.minimum, "max_value": column.maximum}
            found.append(expect.ExpectColumnValuesToBeBetween(column=name, mostly=inside, **limits))
        middle = _middle(column, rows)
        if middle is not None:
            found.append(expect.ExpectColumnMedianToBeBetween(column=name, min_value=middle[0], max_value=middle[1]))
    if column.kind in ("categorical", "boolean") and column.top_values and not column.identifier_like:
        share = _lowest(sum(top.count for top in column.top_values) / column.values, column.values, rows)
        if share > 0:
            values = [top.value for top in column.top_values]
            found.append(expect.ExpectColumnValuesToBeInSet(column=name, value_set=values, mostly=share))
    return found


def _middle(column: ColumnProfile, rows: int) -> tuple[float, float] | None:
    """Between which of the reference's quantiles the median of `rows` like rows lies, or None if that says nothing."""
    if column.minimum == column.maximum:
        return column.quantiles["0.5"], column.quantiles["0.5"]
    error = math.sqrt(0.25 * (1 / max(column.values, 1) + 1 / max(rows, 1)))
    for probability in ("0.25", "0.05", "0.01"):
        low, high = column.quantiles.get(probability), column.quantiles.get(str(1 - float(probability)))
        if low is not None and high is not None and 0.5 - float(probability) > _DEVIATIONS * error:
            return low, high
    return None


def _lowest(share: float, reference_rows: int, rows: int) -> float:
    """The lowest share among `rows` rows that is still like `share` among the reference's.

    >>> round(_lowest(0.5, 10_000, 10_000), 3)
    0.422
    """
    # The variance of a share near 0 or 1 would come out as nothing: the Agresti-Coull shift keeps it honest.
    pooled = (share * reference_rows + 2) / (reference_rows + 4)
    error = math.sqrt(pooled * (1 - pooled) * (1 / max(reference_rows, 1) + 1 / max(rows, 1)))
    return max(0.0, share - _SLACK - _DEVIATIONS * error)
