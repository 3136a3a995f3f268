"""Measure the models of an evaluation: read and predict the rows, resample them, and assemble the evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.lifecycle.evaluate.artifacts import write_example, write_prediction_profile
from airflow_provider_mlops.lifecycle.evaluate.baseline import (
    TargetDistribution,
    fallback_distribution,
    predict_baseline,
    training_distribution,
)
from airflow_provider_mlops.lifecycle.evaluate.loaded_models import LoadedModels, load_models
from airflow_provider_mlops.lifecycle.evaluate.parts import calibration, fairness_scores, slice_scores
from airflow_provider_mlops.lifecycle.evaluate.slices import group_labels
from airflow_provider_mlops.lifecycle.scoring.evaluation import Baseline, Champion, Evaluation
from airflow_provider_mlops.lifecycle.scoring.intervals import resample
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput, main_metric
from airflow_provider_mlops.lifecycle.scoring.predictions import RowPredictions
from airflow_provider_mlops.lifecycle.scoring.rows import (
    TestRows,
    class_names,
    encode_labels,
    encode_predictions,
    read_and_predict,
)

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateSpec
    from airflow_provider_mlops.lifecycle.workspace import Workspace
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion
    from airflow_provider_mlops.stats.intervals.bootstrap import ResampledMetrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """The evaluation's spec, the version that it is about, and the registry and workspace to use."""

    spec: EvaluateSpec
    workspace: Workspace
    registry: Registry
    version: ModelVersion

    @property
    def directory(self) -> str:
        """Return the URI of the directory for the files of the evaluation."""
        return self.workspace.uri("evaluations")

    @property
    def tags(self) -> Mapping[str, str]:
        """Return the tags of the version."""
        from airflow_provider_mlops.registry import models

        return models.tags(self.registry, self.version)


def measure(subject: Subject, features: tuple[str, ...]) -> tuple[Evaluation, RowPredictions]:
    """Measure the version on the test rows, and write the predictions, their profile and the example rows.

    Parameters
    ----------
    features
        Columns that the model takes.
    """
    models = load_models(subject.spec, subject.registry, subject.version, features)
    models, test = read_test_rows(subject.spec, models)
    training, rows = predict_all(subject, models, test)
    drawn = resample_all(subject.spec, rows)
    rows.write(f"{subject.directory}/predictions.parquet")
    return assemble(subject, models, test, rows, drawn, training), rows


def read_test_rows(spec: EvaluateSpec, models: LoadedModels) -> tuple[LoadedModels, TestRows]:
    """Read and predict the test rows. A champion that cannot predict them is dropped from the models."""
    columns = tuple(dict.fromkeys((*spec.slices, *spec.sensitive)))
    test = read_and_predict(spec.dataset, spec.target, models.problem, columns, models.by_name)
    if "champion" in test.errors:
        reason = test.errors["champion"].rstrip(".")
        note = f"the champion, version {models.champion_version}, cannot predict these rows: {reason}"
        log.warning(
            "Evaluating without the champion, version %d, which cannot predict these rows: %s",
            models.champion_version,
            reason,
        )
        models = replace(models, champion=None, champion_note=note)
    return models, test


def predict_all(subject: Subject, models: LoadedModels, test: TestRows) -> tuple[TargetDistribution, RowPredictions]:
    """Return the predictions of the model, the champion and the baseline, and what the baseline was fitted on."""
    spec, problem = subject.spec, models.problem
    classes: tuple[str, ...] = ()
    truth = test.truth
    if problem == "classification":
        classes = class_names(models.model, test, models.champion, spec.positive_class)
        truth = encode_labels(test.truth, classes)
        _warn_of_unknown_classes(subject, models, test, classes)
    predictions = {
        name: encode_predictions(test.predictions[name], model, problem, classes)
        for name, model in models.by_name.items()
    }
    training = training_distribution(
        subject.registry,
        subject.version,
        spec.target,
        problem,
        spec.training_dataset,
        subject.tags,
    ) or fallback_distribution(test.predictions["model"], models.model, problem)
    predictions["baseline"] = predict_baseline(training, problem, classes, len(truth))
    groups = {str(name): group_labels(test.columns[name]) for name in test.columns}
    return training, RowPredictions(problem, classes, truth, predictions, groups)


def _warn_of_unknown_classes(subject: Subject, models: LoadedModels, test: TestRows, classes: tuple[str, ...]) -> None:
    known = encode_labels(models.model.known_classes(test.predictions["model"]), classes)
    unknown = set(encode_labels(test.truth, classes).tolist()) - set(known.tolist())
    if unknown:
        log.warning(
            "The test rows have classes that %s does not know and never predicts: %s",
            subject.version,
            list_names([classes[code] for code in sorted(unknown)], 10),
        )


def resample_all(spec: EvaluateSpec, rows: RowPredictions) -> dict[str, ResampledMetrics]:
    """Compute the metrics of all models on the same bootstrap resamples of the rows."""
    models: dict[str, ModelOutput] = rows.models
    drawn = resample(
        rows.problem,
        rows.truth,
        list(models.values()),
        len(rows.classes),
        resamples=spec.resamples,
        seed=spec.seed,
    )
    return dict(zip(models, drawn, strict=True))


def assemble(
    subject: Subject,
    models: LoadedModels,
    test: TestRows,
    rows: RowPredictions,
    drawn: dict[str, ResampledMetrics],
    training: TargetDistribution,
) -> Evaluation:
    """Put the evaluation together from the predictions and the resamples."""
    spec, directory = subject.spec, subject.directory
    resampling = (spec.confidence, spec.resamples, spec.seed)
    return Evaluation(
        model=subject.version,
        problem=rows.problem,
        target=spec.target,
        dataset_uri=spec.dataset.uri,
        dataset_name=spec.dataset.name,
        dataset_fingerprint=spec.dataset.fingerprint,
        rows=len(rows),
        classes=rows.classes,
        main_metric=main_metric(rows.problem, drawn["model"].estimates).name,
        confidence=spec.confidence,
        resamples=spec.resamples,
        seed=spec.seed,
        metrics=drawn["model"].estimates,
        intervals=drawn["model"].intervals(spec.confidence),
        baseline=Baseline(
            metrics=drawn["baseline"].estimates,
            strategy="the mean"
            if rows.problem == "regression"
            else "the majority class, with the class shares as probabilities",
            fitted_on=training.source,
        ),
        champion_version=models.champion_version,
        champion=_champion(spec, models, drawn),
        champion_note=models.champion_note,
        slices=slice_scores(rows, spec.slices, *resampling),
        fairness=fairness_scores(rows, spec.sensitive, *resampling),
        calibration=calibration(rows, spec.confidence),
        predictions_uri=f"{directory}/predictions.parquet",
        prediction_profile_uri=write_prediction_profile(
            test, models.model, spec, f"{directory}/prediction_profile.json"
        ),
        example=write_example(
            spec, subject.registry, subject.version, models.model, test, f"{directory}/example.parquet"
        ),
        created_at=datetime.now(UTC),
    )


def _champion(spec: EvaluateSpec, models: LoadedModels, drawn: dict[str, ResampledMetrics]) -> Champion | None:
    if models.champion is None or models.champion_version is None:
        return None
    return Champion(
        version=models.champion_version,
        metrics=drawn["champion"].estimates,
        intervals=drawn["champion"].intervals(spec.confidence),
    )
