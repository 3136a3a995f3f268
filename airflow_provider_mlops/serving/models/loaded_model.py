"""One version of a model in memory, ready to predict."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import RejectedError, describe_error
from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.model_output import ModelOutputError
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.log.schema import LogSchema, OutputKind
from airflow_provider_mlops.serving.models import activity, batch_profile
from airflow_provider_mlops.serving.models import example as example_of
from airflow_provider_mlops.serving.models.compiled.compiled_model import CompiledModel
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError
from airflow_provider_mlops.serving.models.split_estimator import Prediction, SplitEstimator
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.rows import Rows

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)

_MAX_PROBED_COLUMNS = 100
"""If a model has more columns, only its signature says which of them may have missing values."""

_MAX_FAILED_BATCHES = 3
"""Number of failed batches in a row, whose requests could all be predicted alone, after which none are made."""

_OUTPUTS: dict[str, OutputKind] = {"i": "long", "u": "long", "f": "double", "b": "boolean"}
_V2_OUTPUTS: dict[OutputKind, str] = {
    "long": "INT64",
    "double": "FP64",
    "boolean": "BOOL",
    "string": "BYTES",
    "doubles": "FP64",
}


_NOUNS: dict[OutputKind, str] = {
    "long": "integers",
    "double": "floating-point numbers",
    "boolean": "booleans",
    "string": "text",
    "doubles": "several numbers per row",
}


@dataclass(slots=True)
class ModelResponse:
    """A model's predictions for some rows: one value per row, and (rows, classes) probabilities if it has them."""

    output: list[Any]
    probabilities: NDArray[np.float64] | None


class LoadedModel:
    """A fitted scikit-learn estimator with everything that is determined once, when it is loaded.

    - Whether it needs a DataFrame. Building one takes longer than many predictions, so only models that select columns
      by name, or that have columns that are not numbers, get one.
    - Which columns may have missing values: those that had some in training, and those in which the model accepts one
      in a trial.
    - The steps of a Pipeline, so that classes and probabilities share their preprocessing (see `SplitEstimator`).
    - Its arithmetic, if it has a compiled form (see `compiled`), which then predicts instead of scikit-learn.
    - How long it takes, and whether it can predict rows of several requests together.

    Parameters
    ----------
    example
        Rows to try the model with; without an example, a row of zeros.

    Attributes
    ----------
    as_array
        Whether the model gets arrays instead of DataFrames.
    compiled
        The model's arithmetic, if it has a compiled form.
    pace
        Measured speed of the model.
    targets
        Shape of the prediction for one row: `()`, or `(n,)` for several targets.
    last_crash
        Number of the latest crash of any version when this one was loaded: later ones of this version concern it.
    """

    def __init__(self, version: ModelVersion, estimator: Any, schema: InputSchema, example: Rows | None) -> None:
        self.version = version
        self.loaded_at = time.time()
        self.last_crash = 0
        self._activity = 2 * activity.register(version)
        _use_one_thread(estimator)
        self.classes = _classes(version, estimator)
        self._estimator = SplitEstimator(estimator, len(self.classes))
        self.as_array = False
        self._gets_copy = batch_profile.may_change_input(estimator)
        self.compiled: CompiledModel | None = None
        self.schema = schema
        rows = example_of.blank(schema) if example is None else example
        try:
            # A tensor that is not a table has no DataFrame.
            self.as_array = schema.row_shape is not None or (schema.numeric and self._accepts_array(rows))
            example_output = self._predict(rows)[0]
        except Exception as error:
            tried = "its input example" if example else "a test row of zeros"
            raise RejectedError(
                f"Rejected {version.uri}: its prediction for {tried} failed ({describe_error(error)}). "
                "Log the model with a signature that it accepts, and with an input example."
            ) from error
        self.output = _output_kind(example_output)
        self.targets = example_output.shape[1:]
        self.schema = schema.with_nullable(self._nullable(rows))
        self.compiled = self._compile(estimator, Rows(self.schema, rows.count, columns=rows.columns()))
        self.pace = batch_profile.measure(
            estimator, self.predict, rows, by_array=self.as_array or self.compiled is not None
        )
        self._failed_batches = 0
        self.log_schema = LogSchema(
            model=version.name,
            version=version.version,
            features=tuple((feature.name, feature.kind) for feature in self.schema.features),
            output=self.output,
            classes=self.classes,
        )

    @classmethod
    def load(cls, registry: Registry, version: ModelVersion, *, allow_pickle: bool = False) -> LoadedModel:
        """Load a version from MLflow and try it on its input example.

        Raises InvalidSpecError or RejectedError if it cannot be served, and BackendUnavailableError.
        """
        # One download for everything: an MLflow server sends the files again each time.
        with models.downloaded(registry, version) as directory:
            return cls.read(registry, version, directory, allow_pickle=allow_pickle)

    @classmethod
    def read(
        cls, registry: Registry, version: ModelVersion, directory: Path, *, allow_pickle: bool = False
    ) -> LoadedModel:
        """Load a version from its files in a local directory, and try it on its input example.

        Raises InvalidSpecError or RejectedError if it cannot be served.
        """
        from mlflow.models import Model

        with activity.loading(version):
            packaged = Model.load(str(directory))
            schema = InputSchema.of(packaged.signature)
            estimator = models.read(registry, directory, allow_pickle=allow_pickle)
            example = packaged.load_input_example(str(directory)) if packaged.saved_input_example_info else None
            return cls(version, estimator, schema, example_of.example_rows(schema, example))

    def describe(self) -> str:
        """Return how the model is served, in words."""
        features = pluralize(len(self.schema.features), "feature")
        rows = pluralize(self.pace.batch_rows, "row")
        return (
            f"{features} as {'an array' if self.as_array else 'a DataFrame'}, "
            f"{'' if self.compiled is None else 'compiled, '}batches of up to {rows}, predicts "
            f"{'on the event loop' if self.pace.quick else 'in a thread'}"
        )

    @property
    def v2_output(self) -> str:
        """Datatype of the output in the Open Inference Protocol."""
        return _V2_OUTPUTS[self.output]

    def predict(self, rows: Rows) -> ModelResponse:
        """Predict checked rows. Raises ModelOutputError, or any exception of the estimator."""
        if not rows.count:
            # Few estimators accept no rows.
            return ModelResponse([], np.empty((0, len(self.classes))) if self.classes else None)
        cells, place = activity.slot()
        before = cells[place]
        cells[place] = self._activity
        try:
            return self._respond(rows, self._predict(rows))
        finally:
            cells[place] = before

    def predict_compiled(self, rows: Rows) -> ModelResponse | None:
        """Predict checked rows with the model's arithmetic alone; None if scikit-learn must predict them."""
        prediction = None if self.compiled is None or not rows.count else self.compiled.predict(rows)
        return None if prediction is None else self._respond(rows, prediction)

    def _respond(self, rows: Rows, prediction: Prediction) -> ModelResponse:
        output, probabilities = prediction
        if output.shape[1:] != self.targets:
            raise ModelOutputError(f"it returned an array of shape {output.shape} for {pluralize(rows.count, 'row')}")
        if _output_kind(output) != self.output:
            output = self._as_usual(output)
        values = output.tolist()
        if self.output == "string":
            values = [str(value) for value in values]
        return ModelResponse(values, probabilities)

    def batch_failed(self, error: BaseException, *, all_predicted: bool) -> None:
        """Predict each request alone from now on if batches are the problem.

        That is so if the output was wrong, because its values can then not be assigned to the requests with certainty,
        or if all requests of several batches in a row could be predicted alone.
        """
        self._failed_batches = self._failed_batches + 1 if all_predicted else 0
        if self.pace.batch_rows == 1:
            return
        if isinstance(error, ModelOutputError) or self._failed_batches >= _MAX_FAILED_BATCHES:
            self.pace = replace(self.pace, batch_rows=1)
            log.warning(
                "Predicting each request for %s alone from now on, because its predictions for several requests at "
                "once failed (%s: %s)",
                self.version.uri,
                type(error).__name__,
                error,
            )

    def _as_usual(self, output: NDArray[Any]) -> NDArray[Any]:
        """Return numbers as the type that the model returned for its example. Raises ModelOutputError."""
        if self.output in ("double", "doubles") and output.dtype.kind in "iub":
            return output.astype(np.float64)
        raise ModelOutputError(
            f"it returned {output.dtype} values, but for its example it returned {_NOUNS[self.output]}"
        )

    def _predict(self, rows: Rows) -> Prediction:
        if self.compiled is not None:
            prediction = self.compiled.predict(rows)
            if prediction is not None:
                return prediction
        return self._judge(rows)

    def _judge(self, rows: Rows) -> Prediction:
        """Predict with the estimator itself."""
        return self._estimator.predict(self._own(rows.tensor() if self.as_array else rows.frame()))

    def _own(self, features: Any) -> Any:
        """Return rows that the model may change: the log, a retry and a shadow must see them as they were sent."""
        return features.copy() if self._gets_copy else features

    def _compile(self, estimator: Any, example: Rows) -> CompiledModel | None:
        if self.schema.row_shape is not None:
            return None
        try:
            return CompiledModel.of(
                estimator, example, self._judge, classes=len(self.classes), gets_array=self.as_array
            )
        except NotCompilableError as reason:
            log.info("%s is predicted by its own code, which takes longer: %s", self.version.uri, reason)
        except Exception as error:
            # Attributes of an estimator that were changed after the training, or that another release calls otherwise.
            log.warning(
                "%s is predicted by its own code, because compiling it failed (%s: %s)",
                self.version.uri,
                type(error).__name__,
                error,
            )
        return None

    def _accepts_array(self, rows: Rows) -> bool:
        """Return whether the model predicts the same for an array as for a DataFrame."""
        output, probabilities = self._estimator.predict(self._own(rows.frame()))
        try:
            array_output, array_probabilities = self._estimator.predict(self._own(rows.tensor()))
        except Exception:
            return False
        if not _same(output, array_output):
            return False
        if probabilities is None or array_probabilities is None:
            return probabilities is array_probabilities
        return _same(probabilities, array_probabilities)

    def _nullable(self, rows: Rows) -> set[str]:
        """Return the columns in which the model accepts a missing value."""
        names = self.schema.names
        if self._accepts(example_of.with_missing(rows, set(names))):
            return set(names)
        if len(names) > _MAX_PROBED_COLUMNS:
            return set()
        return {name for name in names if self._accepts(example_of.with_missing(rows, {name}))}

    def _accepts(self, rows: Rows) -> bool:
        try:
            self._predict(rows)
        except Exception:
            return False
        return True


def _same(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Return whether two arrays are equal except for the last digits, which depend on the memory layout."""
    if first.dtype.kind == second.dtype.kind == "f":
        return first.shape == second.shape and bool(np.allclose(first, second, rtol=1e-9, atol=1e-12, equal_nan=True))
    return bool(np.array_equal(first, second))


def _use_one_thread(estimator: Any) -> None:
    """Set all n_jobs to 1: for a few rows, starting threads takes longer (for a forest, ten times) than predicting."""
    if hasattr(estimator, "get_params"):
        threads = {name: 1 for name in estimator.get_params() if name == "n_jobs" or name.endswith("__n_jobs")}
        if threads:
            estimator.set_params(**threads)


def _classes(version: ModelVersion, estimator: Any) -> tuple[str, ...]:
    """Return the classes with probabilities. A regressor may have `predict_proba`, too, but it has no classes."""
    classes = getattr(estimator, "classes_", None)
    if classes is None or not hasattr(estimator, "predict_proba"):
        return ()
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        raise RejectedError(
            f"Rejected {version.uri}: it predicts probabilities for several targets, and the gateway serves only one. "
            "Train one model per target."
        )
    return tuple(str(name) for name in classes.tolist())


def _output_kind(output: NDArray[Any]) -> OutputKind:
    if output.ndim == 2:
        return "doubles"
    return _OUTPUTS.get(output.dtype.kind, "string")
