"""The report of an analysis: the findings first, then the details of each column."""

from __future__ import annotations

from itertools import pairwise

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.data.profile import ColumnProfile, Profile
from airflow_provider_mlops.lifecycle.reports.report import Card, Report, format_number, format_value

_CARDS = 200
_ASSOCIATIONS = 25
_SCHEMA_ROWS = 1000
_RARE_CLASS = 0.05
_MOSTLY_MISSING = 0.5


def build(profile: Profile, name: str, task: str) -> Report:
    """Build the report of a profile.

    Parameters
    ----------
    profile
        The profile.
    name
        Name of the dataset.
    task
        Key of the task that made the profile.
    """
    findings = find(profile)
    report = Report(
        f"Analysis of {name}",
        f"{pluralize(profile.rows, 'row')} × {pluralize(len(profile.columns), 'column')} · {task}",
    )
    if findings:
        report.verdict("attention", f"{pluralize(len(findings), 'finding')}, listed first.")
    else:
        report.verdict("ok", "No findings: no leakage is suspected, and no column is constant or mostly missing.")
    _overview(report, profile)
    if findings:
        report.section("Findings").table(["where", "what", "why it matters"], findings[:_SCHEMA_ROWS])
    if profile.target is not None:
        _target(report, profile, profile.column(profile.target))
    report.section("Columns")
    if len(profile.columns) > _CARDS:
        report.text(
            f"This section shows the first {_CARDS} of {len(profile.columns):,} columns. The profile has all of them."
        )
    suspected = {leakage.column for leakage in profile.suspected_leakage}
    report.cards(_card(column, profile, suspected) for column in profile.columns[:_CARDS])
    _slices(report, profile)
    return _schema(report, profile)


def find(profile: Profile) -> list[tuple[str, str, str]]:
    """Return the findings that need attention: where each one is, what it is, and why it matters."""
    findings = [
        (leakage.column, leakage.reason, "a model that uses it may look good in evaluation and fail on new rows")
        for leakage in profile.suspected_leakage
    ]
    if profile.duplicate_rows:
        share = profile.duplicate_rows / profile.rows
        why = "the same row in training and test makes the test too easy"
        findings.append(("rows", f"duplicates of an earlier row: {profile.duplicate_rows:,} ({share:.1%})", why))
    for column in profile.columns:
        if column.nulls == column.rows:
            findings.append((column.name, "all values are missing", "a model cannot learn from it"))
        elif column.nulls / column.rows > _MOSTLY_MISSING:
            why = "there are more imputed values than measured ones"
            findings.append((column.name, f"{column.nulls / column.rows:.1%} of its values are missing", why))
        elif column.distinct == 1 and not column.nulls:
            findings.append((column.name, "it has the same value in every row", "a model cannot learn from it"))
        if column.infinite:
            findings.append(
                (column.name, f"infinite values: {column.infinite:,}", "most estimators do not accept them")
            )
    for name, share in (profile.class_balance or {}).items():
        if share < _RARE_CLASS:
            why = "accuracy says little about a rare class; use a stratified split, and check recall"
            findings.append((str(profile.target), f"only {share:.2%} of the rows are of class {name}", why))
    return findings


def _overview(report: Report, profile: Profile) -> None:
    missing = sum(column.nulls for column in profile.columns) / (profile.rows * len(profile.columns))
    kinds: dict[str, int] = {}
    for column in profile.columns:
        kinds[column.kind] = kinds.get(column.kind, 0) + 1
    rows: list[tuple[str, object]] = [
        ("Rows", profile.rows),
        ("Columns", ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))),
        ("Missing cells", f"{missing:.2%}"),
        ("Duplicate rows", profile.duplicate_rows),
    ]
    if profile.target is not None:
        rows.append(("Target", f"{profile.target} ({profile.problem})"))
    if profile.approximate:
        rows.append(
            ("Estimated, because the table is large", ", ".join(name.replace("_", " ") for name in profile.approximate))
        )
    if profile.dataset_fingerprint:
        rows.append(("Fingerprint of the dataset", profile.dataset_fingerprint))
    report.section("Overview").table(["", ""], [(word, format_value(value)) for word, value in rows])


def _target(report: Report, profile: Profile, target: ColumnProfile) -> None:
    report.section(f"Target: {target.name}")
    if profile.class_balance is not None:
        shares = [(name, share) for name, share in list(profile.class_balance.items())[:_ASSOCIATIONS]]
        report.bars(shares, "Share of each class among the rows with a class")
    else:
        report.cards([_card(target, profile, set())])
    strongest = [
        (column.name, max(column.associations, key=lambda association: abs(association.value)))
        for column in profile.columns
        if column.associations
    ]
    strongest.sort(key=lambda item: -abs(item[1].value))
    if strongest:
        report.bars(
            [
                (f"{name} ({measure(association.measure)})", association.value)
                for name, association in strongest[:_ASSOCIATIONS]
            ],
            "Association of each column with the target, by its strongest measure: 0 is none, 1 and -1 are the "
            "strongest",
        )


def _card(column: ColumnProfile, profile: Profile, suspected: set[str]) -> Card:
    facts: list[tuple[str, object]] = []
    if column.nulls:
        facts.append(("missing", f"{column.nulls:,} ({column.nulls / column.rows:.1%})"))
    if column.infinite:
        facts.append(("infinite", column.infinite))
    facts.append(("distinct", column.distinct))
    if column.kind == "numeric" and column.mean is not None:
        facts += [("mean", column.mean), ("std", column.std), ("median", column.quantiles["0.5"])]
        facts.append(
            ("25% to 75%", f"{format_number(column.quantiles['0.25'])} to {format_number(column.quantiles['0.75'])}")
        )
    for association in column.associations:
        if column.name != profile.target:
            facts.append((measure(association.measure), association.value))
    bars: list[tuple[str, float]] = []
    ends = ("", "")
    if column.histogram is not None:
        edges = column.histogram.edges
        labels = [f"{format_number(low)} to {format_number(high)}" for low, high in pairwise(edges)]
        bars = [(label, float(count)) for label, count in zip(labels, column.histogram.counts, strict=True)]
        ends = (_truncate(column.minimum), _truncate(column.maximum))
    elif column.top_values:
        bars = [(str(top.value), float(top.count)) for top in column.top_values]
        rest = column.values - sum(top.count for top in column.top_values)
        bars += [("other", float(rest))] if rest > 0 else []
        ends = (_truncate(column.top_values[0].value), "other" if rest > 0 else _truncate(column.top_values[-1].value))
    mark = "target" if column.name == profile.target else "suspected leakage" if column.name in suspected else ""
    return Card(column.name, f"{column.kind} · {column.type}", facts, bars, ends, mark)


def _slices(report: Report, profile: Profile) -> None:
    if not profile.slices:
        return
    report.section("Slices")
    for slices in profile.slices:
        counts = [("missing" if top.value is None else format_value(top.value), top.count) for top in slices.counts]
        counts += [("all others", slices.other)] if slices.other else []
        report.table(
            [slices.column, "rows", "share"],
            [(value, count, f"{count / profile.rows:.1%}") for value, count in counts],
        )


def _schema(report: Report, profile: Profile) -> Report:
    rows = [
        (
            column.name,
            column.type,
            column.kind,
            column.nulls,
            column.distinct,
            _truncate(column.minimum),
            _truncate(column.maximum),
            ", ".join(f"{_truncate(top.value)} ({top.count:,})" for top in column.top_values[:3]),
        )
        for column in profile.columns[:_SCHEMA_ROWS]
    ]
    headers = ["column", "type", "kind", "missing", "distinct", "smallest", "largest", "most frequent"]
    return report.section("Schema").table(headers, rows)


def measure(name: str) -> str:
    """Return the name of a measure of association for people."""
    return {"cramers_v": "Cramér's V", "pearson": "Pearson", "spearman": "Spearman"}.get(name, name.replace("_", " "))


def _truncate(value: object) -> str:
    text = format_value(value)
    return text if len(text) <= 40 else text[:39] + "…"
