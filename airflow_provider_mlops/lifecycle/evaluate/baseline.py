"""The trivial baseline: what somebody would say of every row who knows only the target's training distribution.

It never sees the target of the test rows: the distribution comes from the rows that the model was trained on, or from
their profile.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput, Problem
from airflow_provider_mlops.lifecycle.scoring.rows import Answers, Scorable, as_text, batches
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.tags import PROFILE_URI

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TargetDistribution:
    """What is known of the target in training.

    :param shares: the share of each class by its name; empty for regression.
    :param mean: the mean; 0 for classification.
    :param known_from: where it comes from, in words.
    """

    shares: Mapping[str, float]
    mean: float
    known_from: str


def of_dataset(dataset: Dataset, target: str, problem: Problem, known_from: str) -> TargetDistribution:
    """The target's distribution in a dataset, of which only that column is read. Rows without a value do not count."""
    counts: dict[str, int] = {}
    total, rows = 0.0, 0
    for batch in batches(dataset, [target]):
        values: Any = batch.to_pandas()[target].dropna()
        rows += len(values)
        if problem == "regression":
            total += float(values.astype("float64").sum())
        else:
            for value, count in values.value_counts().items():
                counts[as_text(value)] = counts.get(as_text(value), 0) + int(count)
    if problem == "regression":
        return TargetDistribution({}, total / max(rows, 1), known_from)
    return TargetDistribution({name: count / rows for name, count in counts.items()}, 0.0, known_from)


def of_training(
    registry: Registry,
    model: ModelVersion,
    target: str,
    problem: Problem,
    training_dataset: Dataset | None,
    tags: Mapping[str, str],
) -> TargetDistribution | None:
    """The target's distribution in what the model was trained on, or None if nobody knows it any more.

    It comes from the first of these that there is: the given dataset; the training data that the version's run names as
    its input; the profile that the version's tags name, which may hold the test rows too.
    """
    if training_dataset is not None:
        return of_dataset(training_dataset, target, problem, f"the given training data, {training_dataset.uri}")
    recorded = _recorded_dataset(registry, model)
    if recorded is not None and target in {column.name for column in recorded.manifest.columns}:
        return of_dataset(recorded, target, problem, f"the training data of its run, {recorded.uri}")
    uri = tags.get(PROFILE_URI)
    if uri is None:
        return None
    try:
        profile = Profile.read(uri)
    except InvalidSpecError as error:
        log.warning("The profile of the training data cannot be read: %s", error)
        return None
    if target not in profile.names:
        return None
    known_from = f"the data's profile, {uri}"
    mean = profile.column(target).mean
    if problem == "regression":
        return None if mean is None else TargetDistribution({}, mean, known_from)
    balance = profile.class_balance
    return TargetDistribution(balance, 0.0, known_from) if balance else None


def _recorded_dataset(registry: Registry, model: ModelVersion) -> Dataset | None:
    """The dataset that the version's run names as its training data, if it is still there and the same."""
    from mlflow.exceptions import MlflowException

    try:
        inputs = registry.client.get_run(model.run_id).inputs
    except MlflowException as error:
        log.warning("The training run of %s cannot be read: %s", model, error)
        return None
    for given in inputs.dataset_inputs if inputs else ():
        if not any(tag.value == "training" for tag in given.tags):
            continue
        try:
            dataset = Dataset.at(json.loads(given.dataset.source)["uri"])
        except (InvalidSpecError, ValueError, KeyError, TypeError) as error:
            log.warning("The training data of %s cannot be read any more: %s", model, error)
            continue
        if dataset.fingerprint.startswith(given.dataset.digest):
            return dataset
        log.warning("The training data of %s at %s has changed since", model, dataset.uri)
    return None


def predict(distribution: TargetDistribution, problem: Problem, names: tuple[str, ...], rows: int) -> ModelOutput:
    """What scikit-learn's dummy of that distribution says: the majority class with the class shares, or the mean."""
    import numpy as np
    from sklearn.dummy import DummyClassifier, DummyRegressor

    blank = np.zeros((rows, 1))
    if problem == "regression":
        regressor = DummyRegressor(strategy="mean").fit(np.zeros((1, 1)), [distribution.mean])
        return ModelOutput(np.asarray(regressor.predict(blank), dtype=np.float64))
    known = [code for code, name in enumerate(names) if distribution.shares.get(name, 0.0) > 0]
    weights = [distribution.shares[names[code]] for code in known]
    classifier = DummyClassifier(strategy="prior").fit(np.zeros((len(known), 1)), known, sample_weight=weights)
    probability = np.zeros((rows, len(names)))
    probability[:, known] = classifier.predict_proba(blank)
    return ModelOutput(np.asarray(classifier.predict(blank), dtype=np.int64), probability)


def of_nothing(answers: Answers, model: Scorable, problem: Problem) -> TargetDistribution:
    """What is left if nobody knows the training data: every class alike, or the mean of the model's own predictions."""
    if problem == "regression":
        return TargetDistribution(
            {}, float(answers.output.mean()), "the model's own predictions, for want of its training data"
        )
    names = [as_text(name) for name in model.classes or dict.fromkeys(answers.output.tolist())]
    return TargetDistribution(
        dict.fromkeys(names, 1 / len(names)), 0.0, "the model's classes alone, for want of its training data"
    )
