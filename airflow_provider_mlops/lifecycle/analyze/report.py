"""The report of an analysis: what stands out first, then everything, column by column."""

from __future__ import annotations

from itertools import pairwise

from airflow_provider_mlops.data.profile import ColumnProfile, Profile
from airflow_provider_mlops.lifecycle.reports.report import Card, Report, format_number, format_value

_CARDS = 200
_ASSOCIATIONS = 25
_SCHEMA_ROWS = 1000
_RARE_CLASS = 0.05
_MOSTLY_MISSING = 0.5


def build(profile: Profile, name: str, task: str) -> Report:
    """The report of a profile of the dataset called `name`, made by the task with the key `task`."""
    findings = find(profile)
    report = Report(f"Analysis of {name}", f"{profile.rows:,} rows × {len(profile.columns):,} columns · {task}")
    if findings:
        word = "thing stands" if len(findings) == 1 else "things stand"
        report.verdict("attention", f"{len(findings):,} {word} out; they are listed first.")
    else:
        report.verdict(
            "ok", "Nothing stands out: no leakage is suspected, and no column is constant or mostly missing."
        )
    _overview(report, profile)
    if findings:
        report.section("What stands out").table(["where", "what", "why it matters"], findings[:_SCHEMA_ROWS])
    if profile.target is not None:
        _target(report, profile, profile.column(profile.target))
    report.section("Columns")
    if len(profile.columns) > _CARDS:
        report.text(
            f"The first {_CARDS} of {len(profile.columns):,} columns. The profile, a JSON file, has all of them."
        )
    suspected = {leakage.column for leakage in profile.suspected_leakage}
    report.cards(_card(column, profile, suspected) for column in profile.columns[:_CARDS])
    _slices(report, profile)
    return _schema(report, profile)


def find(profile: Profile) -> list[tuple[str, str, str]]:
    """What a person should look at before anything else: where it is, what it is, and why it matters."""
    found = [
        (leakage.column, leakage.reason, "a model that uses it may look good now and fail on new rows")
        for leakage in profile.suspected_leakage
    ]
    if profile.duplicate_rows:
        share = profile.duplicate_rows / profile.rows
        why = "the same row in training and test makes the test too easy"
        found.append(("rows", f"{profile.duplicate_rows:,} rows ({share:.1%}) repeat another one", why))
    for column in profile.columns:
        if column.nulls == column.rows:
            found.append((column.name, "it has no value at all", "nothing can be learnt from it"))
        elif column.nulls / column.rows > _MOSTLY_MISSING:
            why = "what is filled in outweighs what was measured"
            found.append((column.name, f"{column.nulls / column.rows:.1%} of its values are missing", why))
        elif column.distinct == 1 and not column.nulls:
            found.append((column.name, "it has the same value in every row", "nothing can be learnt from it"))
        if column.infinite:
            found.append((column.name, f"{column.infinite:,} values are infinite", "most estimators refuse them"))
    for name, share in (profile.class_balance or {}).items():
        if share < _RARE_CLASS:
            why = "accuracy hides how a rare class fares: stratify, and look at recall"
            found.append((str(profile.target), f"only {share:.2%} of the rows are of class {name}", why))
    return found


def _overview(report: Report, profile: Profile) -> None:
    missing = sum(column.nulls for column in profile.columns) / (profile.rows * len(profile.columns))
    kinds: dict[str, int] = {}
    for column in profile.columns:
        kinds[column.kind] = kinds.get(column.kind, 0) + 1
    rows: list[tuple[str, object]] = [
        ("Rows", profile.rows),
        ("Columns", ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda one: -one[1]))),
        ("Missing cells", f"{missing:.2%}"),
        ("Duplicate rows", profile.duplicate_rows),
    ]
    if profile.target is not None:
        rows.append(("Target", f"{profile.target} ({profile.problem})"))
    if profile.approximate:
        rows.append(
            ("Estimated, as the table is large", ", ".join(one.replace("_", " ") for one in profile.approximate))
        )
    if profile.dataset_fingerprint:
        rows.append(("Fingerprint of the data", profile.dataset_fingerprint))
    report.section("Overview").table(["", ""], [(word, format_value(value)) for word, value in rows])


def _target(report: Report, profile: Profile, target: ColumnProfile) -> None:
    report.section(f"Target: {target.name}")
    if profile.class_balance is not None:
        shares = [(name, share) for name, share in list(profile.class_balance.items())[:_ASSOCIATIONS]]
        report.bars(shares, "Share of each class among the rows that have one")
    else:
        report.cards([_card(target, profile, set())])
    strongest = [
        (column.name, max(column.associations, key=lambda one: abs(one.value)))
        for column in profile.columns
        if column.associations
    ]
    strongest.sort(key=lambda one: -abs(one[1].value))
    if strongest:
        report.bars(
            [(f"{name} ({measure(one.measure)})", one.value) for name, one in strongest[:_ASSOCIATIONS]],
            "How strongly columns go with the target: the strongest measure of each, from 0 to 1 (or -1 for opposite)",
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
        facts.append(("middle half", f"{_short(column.quantiles['0.25'])} to {_short(column.quantiles['0.75'])}"))
    for one in column.associations:
        if column.name != profile.target:
            facts.append((measure(one.measure), one.value))
    bars: list[tuple[str, float]] = []
    ends = ("", "")
    if column.histogram is not None:
        edges = column.histogram.edges
        labels = [f"{_short(low)} to {_short(high)}" for low, high in pairwise(edges)]
        bars = [(label, float(count)) for label, count in zip(labels, column.histogram.counts, strict=True)]
        ends = (_end(column.minimum), _end(column.maximum))
    elif column.top_values:
        bars = [(str(top.value), float(top.count)) for top in column.top_values]
        rest = column.values - sum(top.count for top in column.top_values)
        bars += [("other", float(rest))] if rest > 0 else []
        ends = (_end(column.top_values[0].value), "other" if rest > 0 else _end(column.top_values[-1].value))
    mark = "target" if column.name == profile.target else "suspected leakage" if column.name in suspected else ""
    return Card(column.name, f"{column.kind} · {column.type}", facts, bars, ends, mark)


def _slices(report: Report, profile: Profile) -> None:
    if not profile.slices:
        return
    report.section("Slices")
    for one in profile.slices:
        counts = [("missing" if top.value is None else format_value(top.value), top.count) for top in one.counts]
        counts += [("all others", one.other)] if one.other else []
        report.table(
            [one.column, "rows", "share"],
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
            _end(column.minimum),
            _end(column.maximum),
            ", ".join(f"{_end(top.value)} ({top.count:,})" for top in column.top_values[:3]),
        )
        for column in profile.columns[:_SCHEMA_ROWS]
    ]
    headers = ["column", "type", "kind", "missing", "distinct", "smallest", "largest", "most frequent"]
    return report.section("Schema").table(headers, rows)


def measure(name: str) -> str:
    """The name of a measure of association, for people."""
    return {"cramers_v": "Cramér's V", "pearson": "Pearson", "spearman": "Spearman"}.get(name, name.replace("_", " "))


def _short(value: float) -> str:
    return format_number(value)


def _end(value: object) -> str:
    text = format_value(value)
    return text if len(text) <= 40 else text[:39] + "…"
