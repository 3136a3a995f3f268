"""A fitted model as a directory: MLflow's layout, saved with skops, and read back with a list of trusted types."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.registry import trusted
from airflow_provider_mlops.registry.requirements import pip_requirements as requirements_of

if TYPE_CHECKING:
    import pandas
    from mlflow.models import Model, ModelSignature

log = logging.getLogger(__name__)

_EXAMPLE_ROWS = 5


def signature(model: Any, features: pandas.DataFrame) -> ModelSignature:
    """What the model takes and gives, from rows in the form of `registry.rows.feature_rows` and its predictions."""
    import numpy
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    predicted = numpy.asarray(model.predict(features.head(2)))
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(_type(features[name].dtype, features[name]), name) for name in features.columns
    ]
    return ModelSignature(Schema(inputs), Schema([ColSpec(_type(predicted.dtype, predicted))]))


def example(features: pandas.DataFrame) -> pandas.DataFrame:
    """A few rows to show and to check a served model with: complete ones where there are any."""
    complete = features.head(1000).dropna()
    chosen = complete if len(complete) else features
    return chosen.head(_EXAMPLE_ROWS).reset_index(drop=True)


def save(
    model: Any,
    directory: str,
    mlflow_model: Model,
    features: pandas.DataFrame,
    *,
    trusted_types: Sequence[str] = (),
    pip_requirements: Sequence[str] | None = None,
    metadata: dict[str, Any] | None = None,
) -> list[str]:
    """Write a fitted scikit-learn model into a directory that is not there yet. Returns the types that were trusted.

    Raises InvalidSpecError, which names what to add to `trusted_types`, if the model is made of other types than
    scikit-learn's and those, and if it holds functions or classes that nobody could import again.
    """
    import mlflow.sklearn
    from mlflow.exceptions import MlflowException

    skops = _skops()

    trusted.check(trusted_types)
    if pip_requirements is None:
        pip_requirements = requirements_of(model, trusted_types)
    try:
        mlflow.sklearn.save_model(
            model,
            directory,
            mlflow_model=mlflow_model,
            serialization_format="skops",
            skops_trusted_types=sorted({*trusted.TRUSTED_TYPES, *trusted_types}),
            signature=signature(model, features),
            input_example=example(features),
            pip_requirements=list(pip_requirements),
            metadata=metadata,
        )
    except MlflowException as error:
        _explain(model, trusted_types)
        raise InvalidSpecError("estimator", type(model).__name__, f"it cannot be saved with skops: {error}") from error
    # Loading trusts no more than what this model is made of.
    flavor = mlflow_model.flavors["sklearn"]
    found = sorted(skops.io.get_untrusted_types(file=os.path.join(directory, flavor["pickled_model"])))
    trusted.check(found)
    flavor["skops_trusted_types"] = found
    mlflow_model.save(os.path.join(directory, "MLmodel"))
    return found


def read(directory: str | Path, *, allow_pickle: bool = False, trusted_types: Sequence[str] | None = None) -> Any:
    """The fitted scikit-learn model in a directory that MLflow or `save` wrote.

    :param allow_pickle: load pickle and cloudpickle too, which runs whatever code the file's author put there.
    :param trusted_types: what skops may construct besides scikit-learn's own types. By default what the model's
        training trusted, as recorded beside the model, without Python's standard library.

    Raises InvalidSpecError if the model is pickled and that was not allowed, or is not a scikit-learn model.
    """
    import mlflow.models
    import mlflow.sklearn

    skops = _skops()
    from skops.io.exceptions import UntrustedTypesFoundException

    flavors = mlflow.models.Model.load(str(directory)).flavors
    if "sklearn" not in flavors:
        raise InvalidSpecError(
            "model",
            sorted(flavors),
            "only models saved in MLflow's scikit-learn flavor are loaded: train it with this package",
        )
    flavor = flavors["sklearn"]
    form = flavor.get("serialization_format", "pickle")
    if form != "skops":
        if not allow_pickle:
            raise InvalidSpecError(
                "model",
                f"saved with {form}",
                "loading it runs code that the file brings along, so it is refused. Train it again with this package, "
                "which saves with skops, or, if you trust whoever saved it, load it with allow_pickle=True",
            )
        log.warning("Loading a model saved with %s, as allow_pickle is set", form)
        return mlflow.sklearn.load_model(str(directory))
    if trusted_types is None:
        trusted_types = flavor.get("skops_trusted_types") or ()
        trusted.check(trusted_types, "model")
    path = os.path.join(directory, flavor["pickled_model"])
    try:
        return skops.io.load(path, trusted=sorted({*trusted.TRUSTED_TYPES, *trusted_types}))
    except UntrustedTypesFoundException as error:
        raise InvalidSpecError(
            "trusted_types", list(trusted_types), f"{error}: if you trust them, name them in trusted_types"
        ) from error


def _skops() -> Any:
    """skops, with its `io`. Importing it asks every loaded module for every SciPy function.

    In an Airflow task a thousand warnings about names that Airflow has moved would come of that. The filters of
    warnings belong to all threads, so they are touched for the first import only.
    """
    if "skops.io" not in sys.modules:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import skops.io
    import skops

    return skops


def _explain(model: Any, trusted_types: Sequence[str]) -> None:
    """Raise InvalidSpecError if skops cannot save the model, or if it is made of types that are not trusted."""
    skops = _skops()
    with tempfile.TemporaryDirectory(prefix="mlops-skops-") as directory:
        path = os.path.join(directory, "model.skops")
        try:
            skops.io.dump(model, path)
            found = set(skops.io.get_untrusted_types(file=path))
        except Exception as error:
            raise InvalidSpecError(
                "estimator",
                type(model).__name__,
                f"it cannot be saved with skops ({error}): functions and classes in it must be defined at the top "
                "level of a module that can be imported where the model is loaded",
            ) from error
    trusted.check(found)
    unknown = sorted(found - set(trusted.TRUSTED_TYPES) - set(trusted_types))
    if unknown:
        raise InvalidSpecError(
            "trusted_types",
            list(trusted_types),
            "the model is made of types that are not trusted. If you know them and trust them, write "
            f"trusted_types={[*trusted_types, *unknown]!r}",
        )


_KINDS = {"b": "boolean", "i": "long", "u": "long", "f": "double", "M": "datetime"}
"""MLflow's types by the kind of a dtype, which those of NumPy and of pandas have alike."""


def _type(dtype: Any, values: Any) -> str:
    if dtype.kind in _KINDS:
        return _KINDS[dtype.kind]
    shown = next((value for value in values if value is not None and value == value), "")
    if not isinstance(shown, str):
        raise InvalidSpecError(
            "dataset",
            getattr(values, "name", None),
            f"a column of {type(shown).__name__} values cannot be a feature: make numbers, strings, booleans or times "
            "of it, or drop it",
        )
    return "string"
