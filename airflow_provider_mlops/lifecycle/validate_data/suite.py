"""The suite of expectations: from a JSON file, from user code, or from a reference profile."""

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
    """Read a suite from a JSON file in the format of `ExpectationSuite.to_json_dict`.

    Raises
    ------
    InvalidSpecError
        If there is no such file, or if it is not a valid suite.
    """
    try:
        content = json.loads(storage.read_text(uri))
    except FileNotFoundError:
        raise InvalidSpecError("suite_file", uri, "the file does not exist. Correct the path") from None
    except ValueError as error:
        raise InvalidSpecError("suite_file", uri, f"the file must contain JSON ({error}). Correct the file") from error
    if not isinstance(content, dict) or not isinstance(content.get("expectations"), list):
        raise InvalidSpecError(
            "suite_file",
            uri,
            'the file must contain an expectation suite: {"name": ..., "expectations": [{"type": ..., "kwargs": ...}]}',
        )
    if any(isinstance(part, dict) and "expectation_type" in part for part in content["expectations"]):
        raise InvalidSpecError(
            "suite_file",
            uri,
            "the suite was written for a Great Expectations version before 1.0. Rename expectation_type to "
            "type in each expectation",
        )
    gx = great_expectations()
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:
        # The suite itself would only log and skip an expectation that it does not know.
        expectations = [ExpectationConfiguration(**part).to_domain_obj() for part in content["expectations"]]
        return gx.ExpectationSuite(
            name=content.get("name") or "suite", expectations=expectations, meta=content.get("meta")
        )
    except Exception as error:
        # Great Expectations raises its own errors, pydantic's errors and TypeError, some with a traceback in the
        # message.
        reason = str(error).split("Traceback")[0].strip()
        raise InvalidSpecError("suite_file", uri, f"Great Expectations cannot read the suite: {reason}") from error


def from_code(code: UserCode, dataset: Dataset) -> Any:
    """Return the suite that the user's function returns, or a suite of the expectations that it returns.

    Raises
    ------
    InvalidSpecError
        If it returns anything else.
    """
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
        str(code),
        "the function must return a great_expectations.ExpectationSuite or a list of expectations, not "
        f"{type(returned).__name__}",
    )


_MARGIN = 0.05
"""Difference of a share from the reference, beyond chance, that is small enough to ignore."""
_STANDARD_ERRORS = 4.0
_TYPES = {
    "numeric": [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    + ["float16", "float32", "float64"],
    "boolean": ["bool"],
    "categorical": ["str"],
    "temporal": [f"datetime64[{unit}]" for unit in ("s", "ms", "us", "ns")],
}


def from_profile(profile: Profile, rows: int) -> Any:
    """Infer the expectations for other rows from a reference profile.

    Schema: the same columns, the same kind of values in each, and no missing values in columns that have none in the
    reference. Values: no more missing values than in the reference, numbers within its range, their median within its
    middle half (or a wider range if either has few rows), and the same frequent categories. Every share has a margin of
    four standard errors of both samples plus 5 percentage points, so that chance alone does not stop a run.

    Parameters
    ----------
    profile
        The reference.
    rows
        Number of rows to check.
    """
    gx = great_expectations()
    expect = gx.expectations
    expectations: list[Any] = [
        expect.ExpectTableColumnsToMatchSet(column_set=list(profile.names), exact_match=True),
        expect.ExpectTableRowCountToBeBetween(min_value=1),
    ]
    for column in profile.columns:
        expectations += _column_expectations(expect, column, rows)
    return gx.ExpectationSuite(name="inferred from the profile", expectations=expectations)


def _column_expectations(expect: Any, column: ColumnProfile, rows: int) -> list[Any]:
    expectations: list[Any] = []
    name = column.name
    if column.kind in _TYPES and column.values:
        expectations.append(expect.ExpectColumnValuesToBeInTypeList(column=name, type_list=_TYPES[column.kind]))
    if column.nulls == 0:
        expectations.append(expect.ExpectColumnValuesToNotBeNull(column=name))
    elif column.rows:
        share = _lowest_share(1 - column.nulls / column.rows, column.rows, rows)
        if share > 0:
            expectations.append(expect.ExpectColumnValuesToNotBeNull(column=name, mostly=share))
    if not column.values:
        return expectations
    if column.kind == "numeric" and column.minimum is not None and not column.infinite:
        # On average 2 / (n + 1) of similar rows are outside the range of n reference rows.
        inside = _lowest_share(1 - 2 / (column.values + 1), column.values, rows)
        if inside > 0:
            limits = {"min_value": column.minimum, "max_value": column.maximum}
            expectations.append(expect.ExpectColumnValuesToBeBetween(column=name, mostly=inside, **limits))
        middle = _middle(column, rows)
        if middle is not None:
            expectations.append(
                expect.ExpectColumnMedianToBeBetween(column=name, min_value=middle[0], max_value=middle[1])
            )
    if column.kind in ("categorical", "boolean") and column.top_values and not column.identifier_like:
        share = _lowest_share(sum(top.count for top in column.top_values) / column.values, column.values, rows)
        if share > 0:
            values = [top.value for top in column.top_values]
            expectations.append(expect.ExpectColumnValuesToBeInSet(column=name, value_set=values, mostly=share))
    return expectations


def _middle(column: ColumnProfile, rows: int) -> tuple[float, float] | None:
    """Return the quantiles of the reference between which the median of `rows` similar rows is, or None if unknown."""
    if column.minimum == column.maximum:
        return column.quantiles["0.5"], column.quantiles["0.5"]
    error = math.sqrt(0.25 * (1 / max(column.values, 1) + 1 / max(rows, 1)))
    for probability in ("0.25", "0.05", "0.01"):
        low, high = column.quantiles.get(probability), column.quantiles.get(str(1 - float(probability)))
        if low is not None and high is not None and 0.5 - float(probability) > _STANDARD_ERRORS * error:
            return low, high
    return None


def _lowest_share(share: float, reference_rows: int, rows: int) -> float:
    """Return the lowest share among `rows` rows that is still similar to `share` among the reference rows.

    >>> round(_lowest_share(0.5, 10_000, 10_000), 3)
    0.422
    """
    # The estimated variance of a share near 0 or 1 would be almost zero, so the share is shifted as by Agresti and
    # Coull.
    pooled = (share * reference_rows + 2) / (reference_rows + 4)
    error = math.sqrt(pooled * (1 - pooled) * (1 / max(reference_rows, 1) + 1 / max(rows, 1)))
    return max(0.0, share - _MARGIN - _STANDARD_ERRORS * error)
