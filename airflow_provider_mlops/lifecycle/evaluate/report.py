"""The report of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.evaluate.fairness import FAIRNESS
from airflow_provider_mlops.lifecycle.reports.report import Report, format_number
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation, Interval
    from airflow_provider_mlops.lifecycle.scoring.predictions import RowPredictions

_SLICES = 100


def report(evaluation: Evaluation, rows: RowPredictions) -> Report:
    """Write up an evaluation, with its plots."""
    model = evaluation.model
    page = Report(
        "Evaluation",
        f"{model} on {evaluation.rows:,} rows of {evaluation.dataset_name}, target {evaluation.target}",
    )
    _metrics(page, evaluation)
    _plots(page, evaluation, rows)
    if evaluation.slices:
        _slices(page, evaluation)
    if evaluation.fairness:
        _fairness(page, evaluation)
    page.section("How it was made").text(
        f"- Test data: `{evaluation.dataset_uri}`, fingerprint `{evaluation.dataset_fingerprint}`.\n"
        f"- Intervals: {100 * evaluation.confidence:g} % bootstrap intervals (BCa) of {evaluation.resamples:,} "
        f"resamples, seed {evaluation.seed}.\n"
        f"- Baseline: {evaluation.baseline.strategy}, from {evaluation.baseline.fitted_on}.\n"
        f"- Champion: {evaluation.champion_note}.\n"
        f"- What every model said of each row: `{evaluation.predictions_uri}`."
    )
    return page


def _metrics(page: Report, evaluation: Evaluation) -> None:
    champion = evaluation.champion
    headers = ["metric", "better", "model", "interval", "baseline"]
    if champion is not None:
        headers.append(f"champion (version {champion.version})")
    table = []
    for name, value in evaluation.metrics.items():
        better = {True: "higher", False: "lower", None: "near 0"}[METRICS[name].greater_is_better]
        row: list[object] = [name, better, value, _interval(evaluation.intervals.get(name))]
        row.append(evaluation.baseline.metrics.get(name))
        table.append([*row, champion.metrics.get(name)] if champion is not None else row)
    page.section("Metrics").table(headers, table)
    page.text("\n".join(f"- **{name}**: {METRICS[name].meaning}" for name in evaluation.metrics))


def _plots(page: Report, evaluation: Evaluation, rows: RowPredictions) -> None:
    from airflow_provider_mlops.lifecycle.evaluate import plots

    model = rows.models["model"]
    if evaluation.problem == "regression":
        page.section("Residuals").figure(
            plots.residuals_figure(rows.truth, model.value, evaluation.seed),
            "Residuals against predictions, and their distribution.",
        ).figure(plots.fit_figure(rows.truth, model.value, evaluation.seed), "Predictions against the truth.")
        return
    if model.probability is not None and len(set(rows.truth.tolist())) > 1:
        # The baseline says the same of every row: it has a point and no curve.
        curves = {name: predictions for name, predictions in rows.models.items() if name != "baseline"}
        of = (
            f"Positive is {evaluation.classes[1]!r}."
            if len(evaluation.classes) == 2
            else "Each class against the rest."
        )
        page.section("Ranking").figure(
            plots.roc_figure(rows.truth, curves, evaluation.classes), f"ROC curves. {of}"
        ).figure(
            plots.precision_recall_figure(rows.truth, curves, evaluation.classes), f"Precision-recall curves. {of}"
        )
    page.section("Confusion").figure(
        plots.confusion_figure(rows.truth, model.value, evaluation.classes), "Rows by true and predicted class."
    )
    if evaluation.calibration:
        page.section("Calibration").figure(
            plots.calibration_figure(evaluation.calibration),
            f"How often came true what was predicted, with {100 * evaluation.confidence:g} % intervals.",
        ).table(
            ["predicted probability", "rows", "mean predicted", "observed", "interval"],
            [
                [
                    f"{format_number(part.lower)} to {format_number(part.upper)}",
                    part.rows,
                    part.predicted,
                    part.observed,
                    _interval(part.interval),
                ]
                for part in evaluation.calibration
            ],
        )


def _slices(page: Report, evaluation: Evaluation) -> None:
    main = evaluation.main_metric
    shown = [main, *(name for name in evaluation.metrics if name != main)][:4]
    page.section("Slices").text(
        f"Numeric columns are cut at their quartiles. The interval is that of {main}."
        + (f" The champion's {main} is on the same rows." if evaluation.champion else "")
    )
    table = []
    for part in evaluation.slices[:_SLICES]:
        row: list[object] = [part.column, part.value, part.rows, part.metrics.get(main)]
        row += [_interval(part.intervals.get(main)), *(part.metrics.get(name) for name in shown[1:])]
        table.append([*row, part.champion.get(main) if part.champion else None])
    left_out = len(evaluation.slices) - _SLICES
    page.table(
        ["column", "value", "rows", main, "interval", *shown[1:], "champion"],
        table,
        f"{left_out} more slices are in the evaluation file" if left_out > 0 else "",
    )


def _fairness(page: Report, evaluation: Evaluation) -> None:
    page.section("Fairness").text(
        "How differently the groups of each sensitive column are treated. A difference is best at 0, a ratio at 1."
    )
    for part in evaluation.fairness:
        page.table(
            ["measure", "value", "interval", "meaning"],
            [
                [name, value, _interval(part.intervals.get(name)), FAIRNESS.get(name, "")]
                for name, value in part.metrics.items()
            ],
            part.column,
        )
        names = list(dict.fromkeys(name for group in part.groups.values() for name in group))
        page.table(
            [part.column, *(name.replace("_", " ") for name in names)],
            [[label, *(group.get(name) for name in names)] for label, group in part.groups.items()],
        )


def _interval(ends: Interval | None) -> str | None:
    return None if ends is None else f"{format_number(ends[0])} to {format_number(ends[1])}"
