"""The trivial baseline: a prediction that uses only the distribution of the target in the training rows.

The distribution comes from the rows that the model was trained on, or from the profile that its version was registered
with.
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
from airflow_provider_mlops.lifecycle.scoring.rows import RawPredictions, ScorableModel, label_text, read_batches
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.tags import PROFILE_URI

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TargetDistribution:
    """The distribution of the target in the training rows.

    Parameters
    ----------
    shares
        Share of each class by its name; empty for regression.
    mean
        Mean of the target; 0 for classification.
    source
        Data that the distribution was computed from, in words.
    """

    shares: Mapping[str, float]
    mean: float
    source: str


def dataset_distribution(dataset: Dataset, target: str, problem: Problem, source: str) -> TargetDistribution:
    """Return the distribution of the target in a dataset, without rows that have no value in it."""
    counts: dict[str, int] = {}
    total, rows = 0.0, 0
    for batch in read_batches(dataset, [target]):
        values: Any = batch.to_pandas()[target].dropna()
        rows += len(values)
        if problem == "regression":
            total += float(values.astype("float64").sum())
        else:
            for value, count in values.value_counts().items():
                counts[label_text(value)] = counts.get(label_text(value), 0) + int(count)
    if problem == "regression":
        return TargetDistribution({}, total / max(rows, 1), source)
    return TargetDistribution({name: count / rows for name, count in counts.items()}, 0.0, source)


def training_distribution(
    registry: Registry,
    model: ModelVersion,
    target: str,
    problem: Problem,
    training_dataset: Dataset | None,
    tags: Mapping[str, str],
) -> TargetDistribution | None:
    """Return the distribution of the target in the training rows, or None if it is no longer known.

    The first of these sources that exists is used: the given dataset; the training data that the version's run names as
    its input; the profile that the version's tags name, which may include the test rows.
    """
    if training_dataset is not None:
        return dataset_distribution(
            training_dataset, target, problem, f"the given training dataset, {training_dataset.uri}"
        )
    recorded = _recorded_dataset(registry, model)
    if recorded is not None and target in {column.name for column in recorded.manifest.columns}:
        return dataset_distribution(recorded, target, problem, f"the training dataset of the run, {recorded.uri}")
    uri = tags.get(PROFILE_URI)
    if uri is None:
        return None
    try:
        profile = Profile.read(uri)
    except InvalidSpecError as error:
        log.warning("Could not read the profile of the training data of %s: %s", model, error)
        return None
    if target not in profile.names:
        return None
    source = f"the profile of the data, {uri}"
    mean = profile.column(target).mean
    if problem == "regression":
        return None if mean is None else TargetDistribution({}, mean, source)
    balance = profile.class_balance
    return TargetDistribution(balance, 0.0, source) if balance else None


def _recorded_dataset(registry: Registry, model: ModelVersion) -> Dataset | None:
    """Return the training dataset that the version's run names, if it still exists and has not changed."""
    from mlflow.exceptions import MlflowException

    try:
        inputs = registry.client.get_run(model.run_id).inputs
    except MlflowException as error:
        log.warning("Could not read the training run of %s: %s", model, error)
        return None
    for recorded in inputs.dataset_inputs if inputs else ():
        if not any(tag.value == "training" for tag in recorded.tags):
            continue
        try:
            dataset = Dataset.at(json.loads(recorded.dataset.source)["uri"])
        except (InvalidSpecError, ValueError, KeyError, TypeError) as error:
            log.warning("Could not read the training dataset of %s: %s", model, error)
            continue
        if dataset.fingerprint.startswith(recorded.dataset.digest):
            return dataset
        log.warning(
            "The baseline does not use the training dataset of %s at %s, because the dataset has changed since the "
            "training. Set training_dataset to use another one",
            model,
            dataset.uri,
        )
    return None


def predict_baseline(
    distribution: TargetDistribution, problem: Problem, names: tuple[str, ...], rows: int
) -> ModelOutput:
    """Predict as scikit-learn's dummy estimators do: the majority class with the class shares, or the mean."""
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


def fallback_distribution(predicted: RawPredictions, model: ScorableModel, problem: Problem) -> TargetDistribution:
    """Return a distribution that needs no training data: equal class shares, or the mean of the predictions."""
    if problem == "regression":
        return TargetDistribution(
            {}, float(predicted.output.mean()), "the model's predictions, because its training data is not available"
        )
    names = [label_text(name) for name in model.classes or dict.fromkeys(predicted.output.tolist())]
    return TargetDistribution(
        dict.fromkeys(names, 1 / len(names)),
        0.0,
        "equal class shares, because the training data is not available",
    )
