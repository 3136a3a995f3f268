"""The files and records of an evaluation: prediction profile, example rows, and the MLflow run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation, Example

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateSpec
    from airflow_provider_mlops.lifecycle.scoring.rows import ScorableModel, TestRows
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion
    from airflow_provider_mlops.registry.run import Run

log = logging.getLogger(__name__)

_EXAMPLE_ROWS = 10


def write_prediction_profile(test: TestRows, model: ScorableModel, spec: EvaluateSpec, uri: str) -> str:
    """Profile the predictions: the columns `prediction` and, with probabilities, `probability_<class>`."""
    import ibis
    import pyarrow

    from airflow_provider_mlops.data import engine
    from airflow_provider_mlops.data.profiling import profile

    predicted = test.predictions["model"]
    columns = {"prediction": pyarrow.array(predicted.output)}
    if predicted.probability is not None and model.classes is not None:
        for position, name in enumerate(model.classes):
            columns[f"probability_{name}"] = pyarrow.array(predicted.probability[:, position])
    table = engine.connect().create_table("predictions", ibis.memtable(pyarrow.table(columns)))
    prediction_profile = profile(table).model_copy(
        update={"dataset_uri": spec.dataset.uri, "dataset_fingerprint": spec.dataset.fingerprint}
    )
    return prediction_profile.write(uri)


def write_example(
    spec: EvaluateSpec, registry: Registry, version: ModelVersion, model: ScorableModel, test: TestRows, uri: str
) -> Example:
    """Store the first test rows, and the model's predictions for them and for its own input example."""
    import pyarrow
    import pyarrow.parquet

    from airflow_provider_mlops.lifecycle.scoring.rows import predict_rows, read_batches
    from airflow_provider_mlops.registry import models

    first = next(read_batches(spec.dataset, list(model.features))).slice(0, _EXAMPLE_ROWS)
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_batches([first]), sink)
    storage.write_bytes(uri, sink.getvalue().to_pybytes())
    try:
        example = predict_rows(model, models.input_example(registry, version)).output.tolist()
    except MlopsError as error:
        log.warning("%s cannot predict its own input example: %s", version, error)
        example = None
    return Example(
        rows_uri=uri,
        predictions=test.predictions["model"].output[: first.num_rows].tolist(),
        input_example_predictions=example,
    )


def log_to_mlflow(run: Run, spec: EvaluateSpec, version: ModelVersion, evaluation: Evaluation, report_uri: str) -> None:
    """Log parameters, datasets and metrics to the run, and the evaluation and the report as artifacts."""
    from airflow_provider_mlops.registry import models, tags

    run.log_params(
        {
            "model": version.uri,
            "target": spec.target,
            "problem": evaluation.problem,
            "rows": evaluation.rows,
            "confidence": spec.confidence,
            "resamples": spec.resamples,
            "seed": spec.seed,
        }
    )
    run.log_datasets([(spec.dataset, "test")])
    others = {f"baseline_{name}": value for name, value in evaluation.baseline.metrics.items()}
    if evaluation.champion is not None:
        others |= {f"champion_{name}": value for name, value in evaluation.champion.metrics.items()}
    for part in evaluation.fairness:
        others |= {f"{name}/{part.column}": value for name, value in part.metrics.items()}
        for name, (low, high) in part.intervals.items():
            others |= {f"{name}_low/{part.column}": low, f"{name}_high/{part.column}": high}
    run.log_metrics(others)
    own = dict(evaluation.metrics)
    for name, (low, high) in evaluation.intervals.items():
        own |= {f"{name}_low": low, f"{name}_high": high}
    # With the model's ID, MLflow also shows the metrics on the model's page, next to those of other evaluations.
    run.log_metrics(own, model_id=models.tags(run.registry, version).get(tags.MODEL_ID))
    run.log_text(evaluation.model_dump_json(indent=1), "evaluation.json")
    run.log_text(storage.read_text(report_uri), "reports/evaluate.html")
    run.set_tags({"mlops.model": version.uri})
