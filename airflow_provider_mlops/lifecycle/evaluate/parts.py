"""The parts of an evaluation beyond its metrics: slices, fairness and calibration."""

from __future__ import annotations

import logging

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.lifecycle.evaluate.fairness import fairness
from airflow_provider_mlops.lifecycle.evaluate.fairness_scorer import resample_fairness
from airflow_provider_mlops.lifecycle.evaluate.slices import by_group
from airflow_provider_mlops.lifecycle.scoring.evaluation import CalibrationBin, FairnessScore, SliceScore
from airflow_provider_mlops.lifecycle.scoring.intervals import resample
from airflow_provider_mlops.lifecycle.scoring.metrics import CALIBRATION_BINS
from airflow_provider_mlops.lifecycle.scoring.predictions import RowPredictions

log = logging.getLogger(__name__)


def slice_scores(
    rows: RowPredictions, columns: tuple[str, ...], confidence: float, resamples: int, seed: int
) -> tuple[SliceScore, ...]:
    """Return the metrics of every slice of every column, with intervals, and those of the champion on the same rows."""
    import numpy as np

    scores: list[SliceScore] = []
    classes = len(rows.classes)
    for column in columns:
        labels = rows.groups[column]
        grouped = {
            name: by_group(rows.problem, rows.truth, rows.models[name], classes, labels)
            for name in ("model", "champion")
            if name in rows.models
        }
        log.info("Measuring %s of the column %s", pluralize(len(grouped["model"]), "slice"), column)
        for value, metrics in grouped["model"].items():
            chosen = np.flatnonzero(labels.astype(str) == value)
            drawn = resample(
                rows.problem,
                rows.truth[chosen],
                [rows.models["model"].take(chosen)],
                classes,
                resamples=resamples,
                seed=seed,
            )
            scores.append(
                SliceScore(
                    column=column,
                    value=value,
                    rows=len(chosen),
                    metrics=metrics,
                    intervals=drawn[0].intervals(confidence),
                    champion=grouped["champion"][value] if "champion" in grouped else None,
                )
            )
    return tuple(scores)


def fairness_scores(
    rows: RowPredictions, columns: tuple[str, ...], confidence: float, resamples: int, seed: int
) -> tuple[FairnessScore, ...]:
    """Return the fairness measures of every sensitive column, with intervals."""
    scores = []
    predicted, classes = rows.models["model"].value, len(rows.classes)
    for column in columns:
        labels = rows.groups[column]
        log.info("Measuring the fairness of %s of the column %s", pluralize(len(set(labels)), "group"), column)
        score = fairness(rows.problem, rows.truth, predicted, classes, column, labels)
        drawn = resample_fairness(
            rows.problem, rows.truth, predicted, classes, labels, resamples=resamples, seed=seed
        ).intervals(confidence)
        intervals = {name: drawn[name] for name in score.metrics if name in drawn}
        scores.append(score.model_copy(update={"intervals": intervals}))
    return tuple(scores)


def calibration(rows: RowPredictions, confidence: float) -> tuple[CalibrationBin, ...]:
    """Return predicted probability and observed frequency, in bins of equal width that have rows.

    With two classes, the probability is that of the positive class; with more, that of the most probable class.
    """
    from airflow_provider_mlops.stats.estimates.calibration import reliability_curve

    probability = rows.models["model"].probability
    if probability is None:
        return ()
    if len(rows.classes) == 2:
        predicted, hit = probability[:, 1], rows.truth == 1
    else:
        predicted, hit = probability.max(axis=1), probability.argmax(axis=1) == rows.truth
    curve = reliability_curve(hit, predicted.clip(0, 1), bins=CALIBRATION_BINS)
    return tuple(
        CalibrationBin(
            lower=curve.lower[place],
            upper=curve.upper[place],
            rows=round(curve.rows[place]),
            predicted=curve.predicted[place],
            observed=curve.observed[place],
            interval=interval,
        )
        for place, interval in enumerate(curve.intervals(confidence))
    )
