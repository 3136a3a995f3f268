"""Step 6, evaluate: how well a model does on test rows, by slice and group, beside a baseline and the champion."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateResult, EvaluateSpec
from airflow_provider_mlops.lifecycle.scoring.metrics import PROBLEMS, Problem, main_metric
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.run import open_run

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
    from airflow_provider_mlops.lifecycle.scoring.predictions import RowPredictions
    from airflow_provider_mlops.lifecycle.scoring.rows import Scorable
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)


def evaluate(spec: EvaluateSpec, workspace: Workspace) -> EvaluateResult:
    """Evaluate a model version.

    Raises InvalidSpecError if the version, the dataset or a column is not there, RejectedError if target values are
    missing or the model's answers are not finite.
    """
    from airflow_provider_mlops.lifecycle.evaluate.artifacts import log_to_mlflow
    from airflow_provider_mlops.lifecycle.evaluate.report import report
    from airflow_provider_mlops.registry import models, tags

    started = time.monotonic()
    registry = workspace.registry()
    version = models.get(registry, spec.model.name, spec.model.version)
    features = _check_columns(spec, registry, version)
    with open_run(registry, workspace.task, "evaluate", experiment=spec.experiment) as run:
        evaluation, rows = _evaluate(spec, workspace, registry, version, features)
        evaluation_uri = workspace.uri("evaluations") + "/evaluation.json"
        report_uri = report(evaluation, rows).write(workspace.uri("reports") + "/evaluate.html")
        evaluation.write(evaluation_uri)
        log_to_mlflow(run, spec, version, evaluation, report_uri)
        models.set_tags(
            registry,
            version,
            {tags.EVALUATION_URI: evaluation_uri, tags.PREDICTION_PROFILE_URI: evaluation.prediction_profile_uri},
        )
    low, high = evaluation.intervals[evaluation.main_metric]
    log.info(
        "Evaluated %s on %s rows in %.1f s: %s %.4g (%.4g to %.4g), baseline %s; %s. Report: %s",
        version,
        f"{evaluation.rows:,}",
        time.monotonic() - started,
        evaluation.main_metric,
        evaluation.metrics[evaluation.main_metric],
        low,
        high,
        evaluation.baseline.metrics.get(evaluation.main_metric),
        evaluation.champion_note,
        report_uri,
    )
    return EvaluateResult(
        model=version,
        metrics=evaluation.metrics,
        intervals=evaluation.intervals,
        baseline=evaluation.baseline.metrics,
        champion=evaluation.champion.metrics if evaluation.champion else None,
        champion_version=evaluation.champion_version,
        evaluation_uri=evaluation_uri,
        report_uri=report_uri,
        mlflow_run_id=run.id,
    )


def _check_columns(spec: EvaluateSpec, registry: Registry, version: ModelVersion) -> tuple[str, ...]:
    """The columns that the model takes, having seen that the dataset has them and the others that are named."""
    from airflow_provider_mlops.lifecycle.evaluate.slices import require_columns

    columns = [column.name for column in spec.dataset.manifest.columns]
    require_columns("target", (spec.target,), columns, spec.dataset.uri)
    require_columns("slices", spec.slices, columns, spec.dataset.uri)
    require_columns("sensitive", spec.sensitive, columns, spec.dataset.uri)
    features = _features(registry, version)
    missing = [name for name in features if name not in columns]
    if missing:
        raise InvalidSpecError(
            "dataset",
            spec.dataset.uri,
            f"it lacks {len(missing)} columns that the model takes, such as {', '.join(map(repr, missing[:5]))}: "
            "take the test set that was made together with the training set",
        )
    if spec.target in features:
        raise InvalidSpecError(
            "target", spec.target, "the model takes this column as a feature: name the one that it predicts"
        )
    return features


def _evaluate(
    spec: EvaluateSpec, workspace: Workspace, registry: Registry, version: ModelVersion, features: tuple[str, ...]
) -> tuple[Evaluation, RowPredictions]:
    from airflow_provider_mlops.lifecycle.evaluate import baseline as evaluate_baseline
    from airflow_provider_mlops.lifecycle.evaluate.artifacts import write_example, write_prediction_profile
    from airflow_provider_mlops.lifecycle.evaluate.parts import calibration, fairness_scores, slice_scores
    from airflow_provider_mlops.lifecycle.evaluate.slices import group_labels
    from airflow_provider_mlops.lifecycle.scoring import rows as evaluate_rows
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Baseline, Champion, Evaluation
    from airflow_provider_mlops.lifecycle.scoring.intervals import resample
    from airflow_provider_mlops.lifecycle.scoring.predictions import RowPredictions
    from airflow_provider_mlops.registry import models

    model = evaluate_rows.Scorable(models.load(registry, version, allow_pickle=spec.allow_pickle), features)
    problem = _problem(spec, registry, version, model)
    champion_version, champion, note = _champion(spec, registry, version)
    scorables = {"model": model} | ({"champion": champion} if champion is not None else {})
    columns = tuple(dict.fromkeys((*spec.slices, *spec.sensitive)))
    test = evaluate_rows.read_rows(spec.dataset, spec.target, problem, columns, scorables)
    if "champion" in test.errors:
        note = f"the champion, version {champion_version}, cannot answer these rows: {test.errors['champion']}"
        log.warning("%s", note)
        champion = None
    classes: tuple[str, ...] = ()
    truth = test.truth
    if problem == "classification":
        classes = evaluate_rows.class_names(model, test, champion, spec.positive_class)
        truth = evaluate_rows.encode(test.truth, classes)
        unknown = set(truth.tolist()) - set(evaluate_rows.encode(model.known(test.answers["model"]), classes).tolist())
        if unknown:
            names = ", ".join(repr(classes[code]) for code in sorted(unknown)[:10])
            log.warning("The test rows have classes that %s does not know and never predicts: %s", version, names)
    predictions = {"model": evaluate_rows.as_predictions(test.answers["model"], model, problem, classes)}
    if champion is not None:
        predictions["champion"] = evaluate_rows.as_predictions(test.answers["champion"], champion, problem, classes)
    training = evaluate_baseline.of_training(
        registry,
        version,
        spec.target,
        problem,
        spec.training_dataset,
        models.tags(registry, version),
    ) or evaluate_baseline.of_nothing(test.answers["model"], model, problem)
    predictions["baseline"] = evaluate_baseline.predict(training, problem, classes, len(truth))
    groups = {name: group_labels(test.columns[name]) for name in columns}
    rows = RowPredictions(problem, classes, truth, predictions, groups)
    drawn = dict(
        zip(
            predictions,
            resample(
                problem, truth, list(predictions.values()), len(classes), resamples=spec.resamples, seed=spec.seed
            ),
            strict=True,
        )
    )
    directory = workspace.uri("evaluations")
    rows.write(directory + "/predictions.parquet")
    evaluation = Evaluation(
        model=version,
        problem=problem,
        target=spec.target,
        dataset_uri=spec.dataset.uri,
        dataset_name=spec.dataset.name,
        dataset_fingerprint=spec.dataset.fingerprint,
        rows=len(truth),
        classes=classes,
        main_metric=main_metric(problem, drawn["model"].estimates).name,
        confidence=spec.confidence,
        resamples=spec.resamples,
        seed=spec.seed,
        metrics=drawn["model"].estimates,
        intervals=drawn["model"].intervals(spec.confidence),
        baseline=Baseline(
            metrics=drawn["baseline"].estimates,
            strategy="the mean"
            if problem == "regression"
            else "the majority class, with the class shares as probabilities",
            fitted_on=training.known_from,
        ),
        champion_version=champion_version,
        champion=Champion(
            version=champion_version,
            metrics=drawn["champion"].estimates,
            intervals=drawn["champion"].intervals(spec.confidence),
        )
        if champion is not None and champion_version is not None
        else None,
        champion_note=note,
        slices=slice_scores(rows, spec.slices, spec.confidence, spec.resamples, spec.seed),
        fairness=fairness_scores(rows, spec.sensitive, spec.confidence, spec.resamples, spec.seed),
        calibration=calibration(rows, spec.confidence),
        predictions_uri=directory + "/predictions.parquet",
        prediction_profile_uri=write_prediction_profile(test, model, spec, directory + "/prediction_profile.json"),
        example=write_example(spec, registry, version, model, test, directory + "/example.parquet"),
        created_at=datetime.now(UTC),
    )
    return evaluation, rows


def _features(registry: Registry, version: ModelVersion) -> tuple[str, ...]:
    from airflow_provider_mlops.registry import models

    return tuple(models.signature(registry, version).inputs.input_names())


def _problem(spec: EvaluateSpec, registry: Registry, version: ModelVersion, model: Scorable) -> Problem:
    from airflow_provider_mlops.registry import models, tags

    trained = models.metadata(registry, version).get("problem") or models.tags(registry, version).get(tags.PROBLEM)
    inferred: Problem = "regression" if model.classes is None else "classification"
    problem = spec.problem or (cast("Problem", trained) if trained in PROBLEMS else inferred)
    if problem == "regression" and model.classes is not None:
        raise InvalidSpecError(
            "problem", problem, f"{version} predicts classes: leave it out, or write 'classification'"
        )
    return problem


def _champion(spec: EvaluateSpec, registry: Registry, version: ModelVersion) -> tuple[int | None, Scorable | None, str]:
    """The champion's version, the model if it can be compared, and a sentence on that."""
    from airflow_provider_mlops.lifecycle.scoring.rows import Scorable
    from airflow_provider_mlops.registry import models, promotion

    found = promotion.champion(registry, version.name)
    if found is None:
        return None, None, "there is no champion yet"
    if found.version == version.version:
        return found.version, None, f"version {found.version} is the champion itself"
    cannot = f"the champion, version {found.version}, cannot be compared"
    try:
        features = _features(registry, found)
        missing = set(features) - {column.name for column in spec.dataset.manifest.columns}
        if missing:
            return found.version, None, f"{cannot}: the test rows lack its columns {', '.join(sorted(missing)[:5])}"
        champion = Scorable(models.load(registry, found, allow_pickle=spec.allow_pickle), features)
    except InvalidSpecError as error:
        log.warning("%s: %s", cannot, error)
        return found.version, None, f"{cannot}: {error}"
    return found.version, champion, f"compared with the champion, version {found.version}, on the same rows"


STEP = Step(
    "evaluate",
    EvaluateSpec,
    EvaluateResult,
    evaluate,
    extras=(
        "train",
        "reports",
    ),
)
