"""The work of the level 1 example as a team would write it by hand, with the same libraries and no provider.

One function a step. `benchmarks/pipeline.py` calls them from one plain script, and from a DAG of `@task` functions.
Paths and model versions go in and out, as they would between tasks. Nothing here uses the lifecycle, only pandas,
Great Expectations, scikit-learn, MLflow, SciPy, DuckDB and HTTP.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

TARGET = "target"
RESAMPLES = 1000


def extract(folder: str) -> str:
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).frame
    if len(frame) < 100:
        raise ValueError("too few rows")
    path = Path(folder, "patients.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)
    return str(path)


def analyze(path: str, tracking_uri: str) -> str:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    import mlflow
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(path)
    profile, figures = {}, []
    for column in frame:
        values = frame[column]
        counts, edges = np.histogram(values, bins=20)
        profile[column] = {
            "type": str(values.dtype),
            "nulls": int(values.isna().sum()),
            "distinct": int(values.nunique()),
            "mean": float(values.mean()),
            "std": float(values.std()),
            "quantiles": values.quantile([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]).tolist(),
            "top": values.value_counts().head(10).to_dict(),
            "correlation": float(values.corr(frame[TARGET], method="spearman")),
            "edges": edges.tolist(),
            "counts": counts.tolist(),
        }
        figure, axes = plt.subplots(figsize=(4, 2))
        axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge")
        axes.set_title(column)
        figures.append(_svg(figure))
    profile_path = Path(path).with_name("profile.json")
    profile_path.write_text(json.dumps({"columns": profile, "duplicates": int(frame.duplicated().sum())}))
    report = Path(path).with_name("analyze.html")
    report.write_text(frame.describe().to_html() + "".join(figures))
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("by_hand")
    with mlflow.start_run(run_name="analyze"):
        mlflow.log_artifact(str(report))
        mlflow.log_artifact(str(profile_path))
    return str(profile_path)


def validate_data(path: str, profile_path: str, tracking_uri: str) -> str:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import mlflow
    import pandas as pd

    frame = pd.read_parquet(path)
    profile = json.loads(Path(profile_path).read_text())["columns"]
    context = gx.get_context(mode="file", project_root_dir=str(Path(path).with_name("gx")))
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources.add_or_update_pandas("pandas")
        .add_dataframe_asset("patients")
        .add_batch_definition_whole_dataframe("all")
    )
    suite = context.suites.add_or_update(gx.ExpectationSuite("patients"))
    suite.add_expectation(gx.expectations.ExpectTableColumnsToMatchSet(column_set=list(profile)))
    for column, known in profile.items():
        suite.add_expectation(gx.expectations.ExpectColumnValuesToBeOfType(column=column, type_=known["type"]))
        suite.add_expectation(gx.expectations.ExpectColumnValuesToNotBeNull(column=column))
        suite.add_expectation(
            gx.expectations.ExpectColumnValuesToBeBetween(
                column=column, min_value=known["edges"][0], max_value=known["edges"][-1], mostly=0.99
            )
        )
    definition = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name="patients", data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add_or_update(
        gx.Checkpoint(
            name="patients",
            validation_definitions=[definition],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="docs")],
        )
    )
    result = checkpoint.run(batch_parameters={"dataframe": frame})
    if not result.success:
        raise ValueError("the data does not meet the expectations")
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("by_hand")
    with mlflow.start_run(run_name="validate_data"):
        mlflow.log_metric("expectations", len(suite.expectations))
    return path


def prepare(path: str) -> list[str]:
    import pandas as pd
    from sklearn.model_selection import train_test_split

    frame = pd.read_parquet(path)
    rest, test = train_test_split(frame, test_size=0.25, random_state=0, stratify=frame[TARGET])
    train, validation = train_test_split(rest, test_size=0.2 / 0.75, random_state=0, stratify=rest[TARGET])
    paths = []
    for name, part in (("train", train), ("validation", validation), ("test", test)):
        part_path = Path(path).with_name(f"{name}.parquet")
        part.to_parquet(part_path, index=False)
        paths.append(str(part_path))
    return paths


def train(train_path: str, validation_path: str, profile_path: str, tracking_uri: str, model_name: str) -> str:
    import mlflow
    import pandas as pd
    import sklearn
    from mlflow.models import infer_signature
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame, held_out = pd.read_parquet(train_path), pd.read_parquet(validation_path)
    features = frame.drop(columns=TARGET)
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    model = make_pipeline(
        make_column_transformer((numeric, make_column_selector(dtype_include="number"))),
        LogisticRegression(max_iter=1000, random_state=0),
    )
    model.fit(features, frame[TARGET])
    probabilities = model.predict_proba(held_out.drop(columns=TARGET))
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("by_hand")
    with mlflow.start_run(run_name="train"):
        mlflow.log_params({"estimator": "LogisticRegression", "max_iter": 1000, "seed": 0, "rows": len(frame)})
        mlflow.log_input(mlflow.data.from_pandas(frame, source=train_path, targets=TARGET), context="training")
        mlflow.set_tag("git", _commit())
        mlflow.log_metrics(
            {
                "accuracy": accuracy_score(held_out[TARGET], probabilities.argmax(axis=1)),
                "log_loss": log_loss(held_out[TARGET], probabilities),
                "roc_auc": roc_auc_score(held_out[TARGET], probabilities[:, 1]),
            }
        )
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(features, model.predict(features)),
            input_example=features.head(3),
            pip_requirements=[f"scikit-learn=={sklearn.__version__}", f"pandas=={pd.__version__}"],
            registered_model_name=model_name,
            serialization_format="skops",
            skops_trusted_types=["numpy.dtype", "sklearn.compose._column_transformer.make_column_selector"],
        )
    client = mlflow.MlflowClient()
    version = str(info.registered_model_version)
    client.set_model_version_tag(model_name, version, "profile", profile_path)
    return version


def _resampled(truth, probability) -> dict:
    """Each metric on RESAMPLES bootstrap samples: by NumPy where that is simple, one by one elsewhere."""
    import numpy as np
    from scipy.stats import rankdata
    from sklearn import metrics

    chosen = np.random.default_rng(0).integers(0, len(truth), (RESAMPLES, len(truth)))
    positive, called = truth[chosen] == 1, probability[chosen] >= 0.5
    hits, misses = (positive & called).sum(1), (positive & ~called).sum(1)
    false_alarms, passes = (~positive & called).sum(1), (~positive & ~called).sum(1)
    likelihood = np.where(truth == 1, probability, 1 - probability).clip(1e-15)
    ranks, positives = rankdata(probability[chosen], axis=1), positive.sum(1)
    above = np.where(positive, ranks, 0).sum(1) - positives * (positives + 1) / 2
    return {
        "accuracy": (hits + passes) / len(truth),
        "balanced_accuracy": (hits / (hits + misses) + passes / (passes + false_alarms)) / 2,
        "precision": hits / (hits + false_alarms),
        "recall": hits / (hits + misses),
        "f1": 2 * hits / (2 * hits + false_alarms + misses),
        "roc_auc": above / (positives * (len(truth) - positives)),
        "average_precision": [metrics.average_precision_score(truth[rows], probability[rows]) for rows in chosen],
        "log_loss": -np.log(likelihood)[chosen].mean(1),
        "brier": ((probability - truth) ** 2)[chosen].mean(1),
    }


def evaluate(test_path: str, tracking_uri: str, model_name: str, version: str) -> str:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    import mlflow
    import numpy as np
    import pandas as pd
    from sklearn import metrics
    from sklearn.calibration import CalibrationDisplay
    from sklearn.dummy import DummyClassifier

    frame = pd.read_parquet(test_path)
    features, target = frame.drop(columns=TARGET), frame[TARGET].to_numpy()
    mlflow.set_tracking_uri(tracking_uri)
    model = mlflow.sklearn.load_model(f"models:/{model_name}/{version}")
    probability = model.predict_proba(features)[:, 1]

    def score(truth, probability):
        label = probability >= 0.5
        return {
            "accuracy": metrics.accuracy_score(truth, label),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, label),
            "precision": metrics.precision_score(truth, label),
            "recall": metrics.recall_score(truth, label),
            "f1": metrics.f1_score(truth, label),
            "roc_auc": metrics.roc_auc_score(truth, probability),
            "average_precision": metrics.average_precision_score(truth, probability),
            "log_loss": metrics.log_loss(truth, probability),
            "brier": metrics.brier_score_loss(truth, probability),
        }

    intervals = {
        name: np.quantile(values, [0.025, 0.975]).tolist() for name, values in _resampled(target, probability).items()
    }
    dummy = DummyClassifier(strategy="prior").fit(features, target)
    evaluation = {
        "metrics": score(target, probability),
        "intervals": intervals,
        "baseline": metrics.accuracy_score(target, dummy.predict(features)),
        "probability": probability.tolist(),
        "target": target.tolist(),
    }
    path = Path(test_path).with_name("evaluation.json")
    path.write_text(json.dumps(evaluation))
    figures = []
    for display in (
        metrics.RocCurveDisplay,
        metrics.PrecisionRecallDisplay,
        metrics.ConfusionMatrixDisplay,
        CalibrationDisplay,
    ):
        second = probability >= 0.5 if display is metrics.ConfusionMatrixDisplay else probability
        figure, axes = plt.subplots()
        display.from_predictions(target, second, ax=axes)
        figures.append(_svg(figure))
    report = Path(test_path).with_name("evaluate.html")
    report.write_text("".join(figures))
    mlflow.set_experiment("by_hand")
    with mlflow.start_run(run_name="evaluate"):
        mlflow.log_metrics(evaluation["metrics"])
        mlflow.log_artifact(str(report))
        mlflow.log_artifact(str(path))
    return str(path)


def validate(evaluation_path: str, tracking_uri: str, model_name: str, version: str) -> str:
    import mlflow

    evaluation = json.loads(Path(evaluation_path).read_text())
    # The limit of 0 is always met: a measurement must not depend on a verdict.
    if evaluation["metrics"]["accuracy"] < 0:
        raise ValueError("not accurate enough")
    mlflow.set_tracking_uri(tracking_uri)
    client = mlflow.MlflowClient()
    # The packaged model in a fresh process, as the one that will serve it.
    program = (
        "import mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]); m = mlflow.pyfunc.load_model(sys.argv[2]); "
        "print(m.predict(m.input_example if hasattr(m, 'input_example') else m._model_meta.load_input_example()))"
    )
    subprocess.run(
        [sys.executable, "-c", program, tracking_uri, f"models:/{model_name}/{version}"],
        check=True,
        capture_output=True,
    )
    client.set_model_version_tag(model_name, version, "verdict", "approved")
    client.set_registered_model_alias(model_name, "challenger", version)
    return version


def deploy(tracking_uri: str, gateway_url: str, key: str, model_name: str, version: str) -> str:
    import httpx
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    model = mlflow.sklearn.load_model(f"models:/{model_name}/{version}")
    example = mlflow.pyfunc.load_model(f"models:/{model_name}/{version}").input_example.head(1)
    headers = {"Authorization": f"Bearer {key}"}
    admin = f"{gateway_url}/admin/models/{model_name}"
    httpx.post(f"{admin}/load", json={"version": int(version)}, headers=headers, timeout=60).raise_for_status()
    url = f"{gateway_url}/v2/models/{model_name}/versions/{version}/infer"
    answer = _infer(url, example.iloc[0].to_dict(), headers)
    if answer["outputs"][0]["data"][0] != model.predict(example)[0]:
        raise ValueError("the endpoint and the model give different predictions")
    mlflow.MlflowClient().set_registered_model_alias(model_name, "champion", version)
    httpx.post(f"{admin}/activate", json={"version": int(version)}, headers=headers, timeout=60).raise_for_status()
    return version


def replay(test_path: str, gateway_url: str, key: str, model_name: str) -> int:
    import httpx
    import pandas as pd

    rows = pd.read_parquet(test_path).to_dict("records")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(headers=headers) as client:
        for row in rows:
            label = row.pop(TARGET)
            answer = _infer(f"{gateway_url}/v2/models/{model_name}/infer", row, headers, client)
            client.post(
                f"{gateway_url}/feedback", json={"prediction_id": answer["id"], "label": label}
            ).raise_for_status()
    return len(rows)


def monitor(
    storage: str, profile_path: str, train_path: str, test_path: str, tracking_uri: str, model_name: str
) -> int:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    import mlflow
    import pandas as pd
    from scipy.stats import ks_2samp

    # By hand there is no reader of the gateway's log: the rows that were sent stand in for it.
    current, reference = pd.read_parquet(test_path), pd.read_parquet(train_path)
    drifted, figures = 0, []
    for column in reference.drop(columns=TARGET):
        result = ks_2samp(reference[column], current[column])
        drifted += result.pvalue < 0.01 / reference.shape[1]
        figure, axes = plt.subplots(figsize=(4, 2))
        axes.hist([reference[column], current[column]], bins=20, density=True)
        figures.append(_svg(figure))
    report = Path(profile_path).with_name("monitor.html")
    report.write_text("".join(figures))
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("by_hand")
    with mlflow.start_run(run_name="monitor"):
        mlflow.log_metric("drifted", drifted)
        mlflow.log_artifact(str(report))
    return int(drifted)


def _infer(url: str, row: dict, headers: dict, client=None) -> dict:
    import httpx

    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in row.items()]
    post = httpx.post if client is None else client.post
    return post(url, json={"inputs": inputs}, headers=headers).raise_for_status().json()


def _svg(figure) -> str:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    plt.close(figure)
    return f'<img src="data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
