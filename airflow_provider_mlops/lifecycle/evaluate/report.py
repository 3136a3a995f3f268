"""The HTML report of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.lifecycle.evaluate.fairness import FAIRNESS
from airflow_provider_mlops.lifecycle.reports.report import Report, format_number
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation, Interval
    from airflow_provider_mlops.lifecycle.scoring.predictions import RowPredictions

_SLICES = 100


def report(evaluation: Evaluation, rows: RowPredictions) -> Report:
    """Return the report of an evaluation, with its plots."""
    model = evaluation.model
    page = Report(
        f"Evaluation of {model}",
        f"{pluralize(evaluation.rows, 'test row')} of the dataset {evaluation.dataset_name}, target "
        f"{evaluation.target}",
    )
    page.text(_summarize(evaluation))
    _metrics(page, evaluation)
    _plots(page, evaluation, rows)
    if evaluation.slices:
        _slices(page, evaluation)
    if evaluation.fairness:
        _fairness(page, evaluation)
    page.section("Method").text(
        f"- Test data: `{evaluation.dataset_uri}`, fingerprint `{evaluation.dataset_fingerprint}`.\n"
        f"- Intervals: {100 * evaluation.confidence:g}% bootstrap intervals (BCa) from {evaluation.resamples:,} "
        f"resamples, seed {evaluation.seed}.\n"
        f"- Baseline: predicts {evaluation.baseline.strategy}. Computed from {evaluation.baseline.fitted_on}.\n"
        f"- Champion: {evaluation.champion_note}.\n"
        f"- Predictions of all models for each row: `{evaluation.predictions_uri}`."
    )
    return page


def _summarize(evaluation: Evaluation) -> str:
    """Return the main metric in one sentence, next to the baseline's and the champion's."""
    name = evaluation.main_metric
    sentence = f"**{name}** is {format_number(evaluation.metrics[name])}"
    ends = evaluation.intervals.get(name)
    if ends is not None:
        sentence += f" ({100 * evaluation.confidence:g}% interval {_interval(ends)})"
    baseline = evaluation.baseline.metrics.get(name)
    if baseline is not None:
        sentence += f"; the baseline has {format_number(baseline)}"
    champion = evaluation.champion
    if champion is not None and name in champion.metrics:
        sentence += f"; the champion, version {champion.version}, has {format_number(champion.metrics[name])}"
        return f"{sentence}."
    return f"{sentence}. Champion: {evaluation.champion_note}."


def _metrics(page: Report, evaluation: Evaluation) -> None:
    champion = evaluation.champion
    headers = ["metric", "better if", "model", f"{100 * evaluation.confidence:g}% interval", "baseline"]
    if champion is not None:
        headers.append(f"champion (version {champion.version})")
    table = []
    for name, value in evaluation.metrics.items():
        better = {True: "higher", False: "lower", None: "closer to 0"}[METRICS[name].greater_is_better]
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
            "Residuals (predicted minus true value) against predictions, and their distribution. The left plot shows "
            "at most 2,000 rows.",
        ).figure(
            plots.fit_figure(rows.truth, model.value, evaluation.seed),
            "Predicted against true values, for at most 2,000 rows. Perfect predictions are on the dotted line.",
        )
        return
    if model.probability is not None and len(set(rows.truth.tolist())) > 1:
        # The baseline predicts the same for every row, so it has no curve.
        curves = {name: predictions for name, predictions in rows.models.items() if name != "baseline"}
        shown = _describe_curves(evaluation.classes, plots.curve_classes(rows.truth, evaluation.classes))
        page.section("Ranking").figure(
            plots.roc_figure(rows.truth, curves, evaluation.classes), f"ROC curves. {shown}"
        ).figure(
            plots.precision_recall_figure(rows.truth, curves, evaluation.classes), f"Precision-recall curves. {shown}"
        )
    page.section("Confusion").figure(
        plots.confusion_figure(rows.truth, model.value, evaluation.classes),
        "Number of rows by true and predicted class. Darker cells have a larger share of the true class.",
    )
    if evaluation.calibration:
        page.section("Calibration").figure(
            plots.calibration_figure(evaluation.calibration),
            f"Observed frequency against predicted probability, with {100 * evaluation.confidence:g}% intervals. A "
            "calibrated model is on the dotted line.",
        ).table(
            ["predicted probability", "rows", "mean predicted", "observed frequency", "interval"],
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


def _describe_curves(classes: tuple[str, ...], shown: list[int]) -> str:
    """Return a sentence on which classes the ROC and precision-recall plots show."""
    if len(classes) == 2:
        return f"The positive class is {classes[1]!r}."
    if len(shown) < len(classes):
        names = ", ".join(repr(classes[code]) for code in shown)
        return f"Shown are the {len(shown)} most frequent of {len(classes)} classes, each against all others: {names}."
    return f"Shown are all {len(classes)} classes, each against all others."


def _slices(page: Report, evaluation: Evaluation) -> None:
    main = evaluation.main_metric
    shown = [main, *(name for name in evaluation.metrics if name != main)][:4]
    page.section("Slices").text(
        f"Metrics on the rows of each slice. Columns with many different numbers are cut at their quartiles. The "
        f"interval is the {100 * evaluation.confidence:g}% interval of {main}."
        + (f" The last column is the champion's {main} on the same rows." if evaluation.champion else "")
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
        f"The first {_SLICES} slices. {left_out} more are in the evaluation file." if left_out > 0 else "",
    )


def _fairness(page: Report, evaluation: Evaluation) -> None:
    page.section("Fairness").text(
        "Differences in how the model treats the groups of each sensitive column. The best value of a "
        "difference is 0, and the best value of a ratio is 1."
    )
    for part in evaluation.fairness:
        page.table(
            ["measure", "value", "interval", "meaning"],
            [
                [name, value, _interval(part.intervals.get(name)), FAIRNESS.get(name, "")]
                for name, value in part.metrics.items()
            ],
            f"Sensitive column: {part.column}",
        )
        names = list(dict.fromkeys(name for group in part.groups.values() for name in group))
        page.table(
            [part.column, *(name.replace("_", " ") for name in names)],
            [[label, *(group.get(name) for name in names)] for label, group in part.groups.items()],
        )


def _interval(ends: Interval | None) -> str | None:
    return None if ends is None else f"{format_number(ends[0])} to {format_number(ends[1])}"
