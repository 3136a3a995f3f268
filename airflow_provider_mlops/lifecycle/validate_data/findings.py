"""The failed expectations, divided into schema skew (columns and types) and value skew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.names import pluralize

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

_SCHEMA = frozenset(
    {
        "expect_column_to_exist",
        "expect_table_column_count_to_be_between",
        "expect_table_column_count_to_equal",
        "expect_table_columns_to_match_ordered_list",
        "expect_table_columns_to_match_set",
        "expect_column_values_to_be_of_type",
        "expect_column_values_to_be_in_type_list",
    }
)


@dataclass(frozen=True)
class Finding:
    """A failed expectation."""

    text: str
    skew: str
    severity: str
    expectation: str
    column: str | None


@dataclass(frozen=True)
class Findings:
    """All failed expectations."""

    all: tuple[Finding, ...]

    @property
    def failed(self) -> int:
        """The number of failed expectations of any severity."""
        return len(self.all)

    @property
    def schema(self) -> tuple[str, ...]:
        """The texts of the findings about columns and types."""
        return tuple(finding.text for finding in self.all if finding.skew == "schema")

    @property
    def values(self) -> tuple[str, ...]:
        """The texts of the findings about values, of any severity."""
        return tuple(finding.text for finding in self.all if finding.skew == "value")

    @property
    def critical(self) -> tuple[str, ...]:
        """The texts of the critical findings about values."""
        return tuple(f.text for f in self.all if f.skew == "value" and f.severity == "critical")

    @property
    def warnings(self) -> tuple[str, ...]:
        """The texts of the findings about values with the severity warning."""
        return tuple(f.text for f in self.all if f.skew == "value" and f.severity == "warning")

    def to_json(self) -> list[dict[str, Any]]:
        """Return all findings as JSON."""
        return [vars(finding) for finding in self.all]


def failed_expectations(result: ExpectationSuiteValidationResult, columns: tuple[str, ...]) -> Findings:
    """Return the failed expectations, schema skew first, then by severity.

    Parameters
    ----------
    result
        The result of the validation.
    columns
        Names of the columns of the dataset.
    """
    findings = [_finding(part, columns) for part in result.results if not part.success]
    order = ("critical", "warning", "info")
    return Findings(
        tuple(sorted(findings, key=lambda finding: (finding.skew != "schema", order.index(finding.severity))))
    )


def _finding(result: Any, columns: tuple[str, ...]) -> Finding:
    config = result.expectation_config
    name, kwargs, meta = config.type, config.kwargs, config.meta or {}
    severity = str(getattr(config.severity, "value", config.severity) or "critical")
    named = _named_columns(kwargs)
    missing = [column for column in named if column not in columns]
    required = name == "expect_column_values_to_not_be_null" and kwargs.get("mostly", 1) in (1, 1.0, None)
    skew = meta.get("skew")
    if skew not in ("schema", "value"):
        skew = "schema" if name in _SCHEMA or required or missing else "value"
    subject = ", ".join(named[:3]) or "table"
    observed = (
        f"the dataset has no column {', '.join(map(repr, missing))}" if missing else _observed(result, name, kwargs)
    )
    return Finding(f"{subject}: {name}: {observed}"[:300], str(skew), severity, name, named[0] if named else None)


def _named_columns(kwargs: dict[str, Any]) -> list[str]:
    named = [kwargs[key] for key in ("column", "column_A", "column_B") if isinstance(kwargs.get(key), str)]
    several = kwargs.get("column_list")
    return named + [name for name in several if isinstance(name, str)] if isinstance(several, list) else named


def _observed(result: Any, name: str, kwargs: dict[str, Any]) -> str:
    details = result.result or {}
    errors = _errors(result.exception_info or {})
    if errors:
        return f"the expectation could not be checked ({errors[0]})"
    if name == "expect_table_columns_to_match_set":
        mismatch = details.get("details", {}).get("mismatched", {})
        words = {"unexpected": "unexpected columns", "missing": "missing columns"}
        parts = [f"{words[key]} {_format_values(mismatch[key])}" for key in words if mismatch.get(key)]
        if parts:
            return "; ".join(parts)
    if "unexpected_percent" in details and details.get("unexpected_count"):
        # An example of a missing value would only be None.
        examples = [value for value in details.get("partial_unexpected_list", []) if value is not None]
        such_as = f", for example {_format_values(_distinct(examples), 3)}" if examples else ""
        count = pluralize(details["unexpected_count"], "unexpected value")
        return f"{count} ({details['unexpected_percent']:.3g}%){such_as}"
    if "observed_value" in details:
        limits = {
            key: kwargs[key] for key in ("min_value", "max_value", "type_list", "type_") if kwargs.get(key) is not None
        }
        expected = f", expected {', '.join(f'{key} {value}' for key, value in limits.items())}" if limits else ""
        return f"observed {details['observed_value']}{expected}"
    return "the expectation is not met"


def _errors(info: dict[str, Any]) -> list[str]:
    """Return the errors raised while checking, which Great Expectations stores by metric or directly."""
    entries = [info] if "raised_exception" in info else list(info.values())
    return [
        str(entry.get("exception_message")).splitlines()[0]
        for entry in entries
        if isinstance(entry, dict) and entry.get("raised_exception")
    ]


def _distinct(values: list[Any]) -> list[Any]:
    """Return each value once, with NumPy's values as Python's."""
    return list({repr(plain): plain for plain in map(_plain, values)}.values())


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.item() if hasattr(value, "item") else value


def _format_values(values: list[Any], max_values: int = 5) -> str:
    more = f" and {len(values) - max_values} more" if len(values) > max_values else ""
    return ", ".join(map(repr, values[:max_values])) + more
