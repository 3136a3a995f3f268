"""One version of a model in memory, ready to predict."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.errors import RejectedError
from airflow_provider_mlops.registry import models, packaging
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.log.schema import LogSchema
from airflow_provider_mlops.serving.models import batch_profile
from airflow_provider_mlops.serving.models import example as example_of
from airflow_provider_mlops.serving.models.linear import Linear
from airflow_provider_mlops.serving.models.shared_scores import SharedScores
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.rows import Rows

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)

# An array without names is given to a model only after it was seen to make no difference.
warnings.filterwarnings("ignore", message="X does not have valid feature names")

_PROBED_COLUMNS = 100
"""Past this many columns, which of them may have missing values is taken from the signature alone."""

_OUTPUTS = {"i": "long", "u": "long", "f": "double", "b": "boolean"}
_V2_OUTPUTS = {"long": "INT64", "double": "FP64", "boolean": "BOOL", "string": "BYTES", "doubles": "FP64"}


@dataclass(slots=True)
class Answer:
    """What a model says of some rows: one value a row, and (rows, classes) probabilities where it knows them."""

    output: list[Any]
    probabilities: NDArray[np.float64] | None


class LoadedModel:
    """A fitted scikit-learn estimator with all that is worked out once, when it is loaded.

    - Whether it needs a DataFrame. It is built only for models that pick columns by name, or whose columns are not
      all numbers: it costs more than many a prediction.
    - In which columns values may be missing: in those that had missing values in training, and in any in which the
      model was seen to take one.
    - The parts of a Pipeline, so that classes and probabilities share one preprocessing, and where the estimator is one
      of scikit-learn's the scores too; and for linear models the arithmetic alone, see `linear`.
    - How long it takes, and whether rows of several requests may be given to it together.
    """

    def __init__(self, version: ModelVersion, estimator: Any, schema: InputSchema, example: Rows | None) -> None:
        self.version = version
        self.loaded_at = time.time()
        _one_thread(estimator)
        self._estimator = estimator
        self._transformers, self._final = _parts(estimator)
        self._probabilities = hasattr(estimator, "predict_proba")
        self._scores = SharedScores(self._final) if self._probabilities else None
        self.classes = _classes(estimator) if self._probabilities else ()
        self._as_array = False
        self._linear: Linear | None = None
        self.schema = schema
        rows = example_of.blank(schema) if example is None else example
        try:
            self._as_array = schema.numeric and self._same_as_array(rows)
            self.output = _output_kind(self._predict(rows)[0])
        except Exception as error:
            raise RejectedError(
                f"{version.uri} cannot predict {'its input example' if example else 'a row of zeros'}: "
                f"{type(error).__name__}: {error}"
            ) from error
        self.schema = schema.with_nullable(self._nullable(rows))
        if self._as_array:
            self._linear = Linear.of(self._transformers, self._final, rows.array(), self._ask)
        self.pace = batch_profile.measure(estimator, self.predict, rows, by_array=self._as_array)
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

        Raises InvalidSpecError or RejectedError if it cannot be served, BackendUnavailableError if MLflow does not answer.
        """
        from mlflow.models import Model

        began = time.monotonic()
        # One look at the files for all three, since they are fetched anew each time where MLflow is a server.
        with models.downloaded(registry, version) as directory:
            packaged = Model.load(str(directory))
            schema = InputSchema.of(packaged.signature)
            estimator = packaging.read(directory, allow_pickle=allow_pickle)
            example = packaged.load_input_example(str(directory)) if packaged.saved_input_example_info else None
        model = cls(version, estimator, schema, example_of.example_rows(schema, example))
        log.info(
            "Loaded %s in %.2f s: %d features, given as %s, up to %d rows at once, %s",
            version.uri,
            time.monotonic() - began,
            len(schema.features),
            "an array" if model._as_array else "a DataFrame",
            model.pace.batch_rows,
            "on the event loop" if model.pace.quick else "in a thread",
        )
        return model

    @property
    def v2_output(self) -> str:
        """The datatype of the output in the Open Inference Protocol."""
        return _V2_OUTPUTS[self.output]

    def predict(self, rows: Rows) -> Answer:
        """Predict checked rows. Raises whatever the estimator raises."""
        output, probabilities = self._predict(rows)
        values = output.tolist()
        if self.output == "string":
            values = [str(value) for value in values]
        return Answer(values, probabilities)

    def _predict(self, rows: Rows) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        if not self._as_array:
            return self._ask(rows.frame())
        features = rows.array()
        if self._linear is not None:
            found = self._linear.predict(features)
            if found is not None:
                return found
        return self._ask(features)

    def _ask(self, features: Any) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """What the estimator says."""
        for transformer in self._transformers:
            features = transformer.transform(features)
        if self._scores is None:
            return np.asarray(self._final.predict(features)), None
        output, probabilities = self._scores.predict(features)
        return np.asarray(output), np.asarray(probabilities, dtype=np.float64)

    def _same_as_array(self, rows: Rows) -> bool:
        """Whether the model says the same of an array as of a DataFrame."""
        output, probabilities = self._predict(rows)
        self._as_array = True
        try:
            other, other_probabilities = self._predict(rows)
        except Exception:
            return False
        finally:
            self._as_array = False
        if not _same(output, other):
            return False
        if probabilities is None or other_probabilities is None:
            return probabilities is other_probabilities
        return _same(probabilities, other_probabilities)

    def _nullable(self, rows: Rows) -> set[str]:
        """The columns in which the model takes a missing value."""
        names = self.schema.names
        if self._takes(example_of.with_missing(rows, set(names))):
            return set(names)
        if len(names) > _PROBED_COLUMNS:
            return set()
        return {name for name in names if self._takes(example_of.with_missing(rows, {name}))}

    def _takes(self, rows: Rows) -> bool:
        try:
            output, probabilities = self._predict(rows)
        except Exception:
            return False
        finite = output.dtype.kind != "f" or bool(np.isfinite(output).all())
        return finite and (probabilities is None or bool(np.isfinite(probabilities).all()))


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Equal, but for the last digits: sums come out a little different when memory is laid out another way."""
    if one.dtype.kind == other.dtype.kind == "f":
        return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True))
    return bool(np.array_equal(one, other))


def _parts(estimator: Any) -> tuple[list[Any], Any]:
    """What a Pipeline carries out one after another, and what predicts in the end."""
    from sklearn.pipeline import Pipeline

    if type(estimator) is Pipeline and len(estimator.steps) > 1 and estimator.steps[-1][1] not in (None, "passthrough"):
        transformers = [step for _, step in estimator.steps[:-1] if step is not None and step != "passthrough"]
        return transformers, estimator.steps[-1][1]
    return [], estimator


def _one_thread(estimator: Any) -> None:
    """Starting threads for a few rows takes longer than predicting them: a forest answers ten times quicker alone."""
    if hasattr(estimator, "get_params"):
        threads = {name: 1 for name in estimator.get_params() if name == "n_jobs" or name.endswith("__n_jobs")}
        if threads:
            estimator.set_params(**threads)


def _classes(estimator: Any) -> tuple[str, ...]:
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        raise RejectedError("it predicts probabilities of several targets at once, which is not served")
    return tuple(str(name) for name in classes.tolist())


def _output_kind(output: NDArray[Any]) -> str:
    if output.ndim == 2:
        return "doubles"
    return _OUTPUTS.get(output.dtype.kind, "string")
