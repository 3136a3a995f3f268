"""Which arithmetic is the fastest for a fitted model? The gateway's, ONNX Runtime's, treelite's, or the library's.

The same fitted models without preprocessing, 30 numbers, rows of 64-bit numbers that are already an array. Each
candidate calculates a classifier's probabilities, on one thread, in one process, in turns; the table has medians of the
processor time, the time it takes to compile and verify, the largest difference from the library's probabilities on
usual rows and on rows that hit the thresholds of the trees, and the number of rows with another class.

ONNX Runtime (`skl2onnx`, `onnxmltools`) and treelite are not installed with the package. The benchmark installs them
into an environment of their own (`--environments`), in which it runs itself.

    python -m benchmarks.compilers [--environments .venv-peers] [--repeat 9]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from airflow_provider_mlops.serving.models.compiled import verification
from airflow_provider_mlops.serving.models.compiled.compiled_model import compile_estimator
from benchmarks.measure import machine, print_table, versions
from benchmarks.peers import environment

_INSTALLED = (
    "lightgbm==4.7.0",
    "onnxmltools==1.16.0",
    "onnxruntime==1.32.0",
    "skl2onnx==1.20.0",
    "treelite==4.8.1",
    "xgboost-cpu==3.2.0",
    # What the package needs to compile a model.
    "fsspec",
    "orjson",
    "pyarrow",
    "pydantic",
    "scipy",
    "threadpoolctl",
)
_PACKAGES = ("lightgbm", "numpy", "onnxmltools", "onnxruntime", "scikit-learn", "skl2onnx", "treelite", "xgboost-cpu")
_ROWS = (1, 16)
Predict = Callable[[Any], Any]


def estimators() -> dict[str, Any]:
    """Return an estimator of each kind."""
    import lightgbm
    import xgboost

    return {
        "LogisticRegression": LogisticRegression(max_iter=3000),
        "RandomForest, 100 trees": RandomForestClassifier(100, n_jobs=1, random_state=0),
        "HistGradientBoosting, 100 iterations": HistGradientBoostingClassifier(random_state=0),
        "XGBoost, 100 trees": xgboost.XGBClassifier(n_jobs=1),
        "LightGBM, 100 trees": lightgbm.LGBMClassifier(n_jobs=1, verbose=-1),
    }


def ours(estimator: Any) -> Predict:
    """Compile and verify as the gateway does."""
    predictor = compile_estimator(estimator, probabilities=True)
    verification.verify_estimator(estimator, predictor)

    def predict(rows: Any) -> Any:
        prediction = predictor.predict(rows)
        return None if prediction is None else prediction[1]

    return predict


def onnx(estimator: Any) -> Predict:
    """Convert to ONNX and load into ONNX Runtime, which calculates in 32 bits."""
    import onnxruntime

    module = type(estimator).__module__.partition(".")[0]
    if module == "sklearn":
        from skl2onnx import to_onnx

        converted = to_onnx(estimator, np.zeros((1, 30), dtype=np.float32), options={"zipmap": False})
    else:
        from onnxmltools import convert_lightgbm, convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType

        types = [("x", FloatTensorType([None, 30]))]
        if module == "xgboost":
            converted = convert_xgboost(estimator, initial_types=types)
        else:
            converted = convert_lightgbm(estimator, initial_types=types, zipmap=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(converted.SerializeToString(), options)
    name = session.get_inputs()[0].name
    outputs = [session.get_outputs()[1].name]
    return lambda rows: session.run(outputs, {name: rows.astype(np.float32)})[0]


def with_treelite(estimator: Any) -> Predict:
    """Load into treelite, whose GTIL walks the trees."""
    import treelite

    module = type(estimator).__module__.partition(".")[0]
    if module == "xgboost":
        model = treelite.frontend.from_xgboost(estimator.get_booster())
    elif module == "lightgbm":
        model = treelite.frontend.from_lightgbm(estimator.booster_)
    else:
        model = treelite.sklearn.import_model(estimator)
    # The type in which the library itself compares.
    is_32_bits = module == "xgboost" or isinstance(estimator, RandomForestClassifier)
    dtype = np.float32 if is_32_bits else np.float64

    def predict(rows: Any) -> Any:
        found = np.asarray(treelite.gtil.predict(model, rows.astype(dtype, copy=False), nthread=1))[:, 0]
        return np.column_stack([1 - found, found]) if found.shape[1] == 1 else found

    return predict


CANDIDATES: dict[str, Callable[[Any], Predict]] = {
    "the library itself": lambda estimator: estimator.predict_proba,
    "gateway": ours,
    "ONNX Runtime": onnx,
    "treelite": with_treelite,
}


def measure(repeat: int) -> list[tuple[object, ...]]:
    """Return the rows of the table."""
    features, target = load_breast_cancer(return_X_y=True)
    random = np.random.default_rng(0)
    mixed = np.where(random.random(features.shape) < 0.5, features, features[random.permutation(len(features))])
    table: list[tuple[object, ...]] = []
    for name, estimator in estimators().items():
        estimator.fit(features, target)
        edges = compile_estimator(estimator, probabilities=True).edges()
        trial = mixed if edges is None else np.concatenate([mixed, edges])
        expected = estimator.predict_proba(trial)
        found: dict[str, tuple[Predict, float]] = {}
        for candidate, compile_it in CANDIDATES.items():
            began = time.process_time()
            try:
                found[candidate] = compile_it(estimator), time.process_time() - began
            except Exception as error:
                print(f"{name}: {candidate} does not take it ({type(error).__name__}: {str(error)[:100]})", flush=True)
        times: dict[tuple[str, int], list[float]] = {(one, rows): [] for one in found for rows in _ROWS}
        for _ in range(repeat):
            for (candidate, rows), measured in times.items():
                measured.append(_microseconds(found[candidate][0], features[:rows]))
        for candidate, (predict, seconds) in found.items():
            given = np.asarray(predict(trial))
            difference = float(np.abs(given - expected).max())
            classes = int((given.argmax(axis=1) != expected.argmax(axis=1)).sum())
            medians = [float(np.median(times[candidate, rows])) for rows in _ROWS]
            table.append((name, candidate, *medians, 1000 * seconds, f"{difference:.0e}", classes))
    return table


def _microseconds(predict: Predict, rows: Any) -> float:
    predict(rows)
    began = time.process_time()
    for _ in range(30):
        predict(rows)
    return (time.process_time() - began) / 30 * 1e6


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=Path(".venv-peers"), help="where the compilers are")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        binaries = environment.install(options.environments.absolute(), "compilers", _INSTALLED)
        command = [str(binaries / "python"), "-m", "benchmarks.compilers", "--inside", "--repeat", str(options.repeat)]
        sys.exit(subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=Path.cwd()).returncode)
    warnings.simplefilter("ignore")
    print(", ".join(f"{name}: {value}" for name, value in machine().items()))
    print(", ".join(f"{name} {version}" for name, version in versions(_PACKAGES).items()))
    headers = ["model", "calculated by", "1 row, µs", "16 rows, µs", "compile ms", "difference", "other classes"]
    print_table(headers, measure(options.repeat), "Probabilities of 30 numbers")


if __name__ == "__main__":
    main()
