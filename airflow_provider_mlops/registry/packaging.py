"""Saves fitted models to directories in MLflow's layout with skops, and reads them with a list of trusted types."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.errors import InvalidSpecError, describe_error
from airflow_provider_mlops.registry import trusted, type_approval
from airflow_provider_mlops.registry.requirements import pip_requirements as requirements_of

if TYPE_CHECKING:
    import pandas
    from mlflow.models import Model, ModelSignature

log = logging.getLogger(__name__)

_EXAMPLE_ROWS = 5


def signature(model: Any, features: pandas.DataFrame) -> ModelSignature:
    """Return the signature of a model, from rows as `registry.rows.feature_rows` returns them and its predictions."""
    import numpy
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    predicted = numpy.asarray(model.predict(features.head(2)))
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(_type(features[name].dtype, features[name]), name) for name in features.columns
    ]
    return ModelSignature(Schema(inputs), Schema([ColSpec(_type(predicted.dtype, predicted))]))


def example(features: pandas.DataFrame) -> pandas.DataFrame:
    """Return a few rows as the model's example, if possible without missing values."""
    complete = features.head(1000).dropna()
    rows = complete if len(complete) else features
    return rows.head(_EXAMPLE_ROWS).reset_index(drop=True)


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
    """Save a fitted scikit-learn model to a directory that does not exist yet.

    Parameters
    ----------
    model
        Fitted model.
    directory
        Path of the new directory.
    mlflow_model
        Description of the model for MLflow, which is completed and saved as well.
    features
        Training rows as `registry.rows.feature_rows` returns them.
    trusted_types
        Types that the model may contain in addition to scikit-learn's own.
    pip_requirements
        Requirements of the model; by default derived from the model.
    metadata
        JSON values to store with the model.

    Returns
    -------
    list of str
        Types in the model that skops does not trust by itself.

    Raises
    ------
    InvalidSpecError
        The model contains other types, which the message names, or functions and classes that cannot be imported.
    """
    import mlflow.sklearn
    from mlflow.exceptions import MlflowException

    skops = import_skops()

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
        _explain_unsaved(model, trusted_types)
        raise InvalidSpecError(
            "estimator",
            type(model).__name__,
            f"skops cannot save the model ({error}). Use an estimator that skops supports",
        ) from error
    # For readers other than this package: only the types that this model contains.
    flavor = mlflow_model.flavors["sklearn"]
    contained = sorted(skops.io.get_untrusted_types(file=model_file(directory, flavor)))
    trusted.check(contained)
    flavor["skops_trusted_types"] = contained
    mlflow_model.save(os.path.join(directory, "MLmodel"))
    return contained


def model_file(directory: str | Path, flavor: Mapping[str, Any]) -> Path:
    """Return the file with the fitted model. Raises InvalidSpecError if it is not in the model's directory."""
    root = Path(directory).resolve()
    path = (root / str(flavor["pickled_model"])).resolve()
    if not path.is_relative_to(root):
        raise InvalidSpecError(
            "model", str(flavor["pickled_model"]), "the file must be in the model's directory. Train the model again"
        )
    return path


def read(
    directory: str | Path,
    *,
    allow_pickle: bool = False,
    trusted_types: Sequence[str] = (),
    storage_uri: str | None = None,
) -> Any:
    """Return the fitted scikit-learn model in a directory that MLflow or `save` wrote.

    Parameters
    ----------
    directory
        Path of the directory.
    allow_pickle
        Whether to load pickle and cloudpickle too, which run any code that the author of the file put there.
    trusted_types
        Types that skops may construct in addition to scikit-learn's own. What the model's files say about types is
        never trusted.
    storage_uri
        Storage with the approvals of types; see `type_approval`.

    Raises
    ------
    InvalidSpecError
        The model is pickled and `allow_pickle` is not set, contains types that are not trusted, or is not a
        scikit-learn model.
    """
    import mlflow.models
    import mlflow.sklearn

    skops = import_skops()
    from skops.io.exceptions import UntrustedTypesFoundException

    described = mlflow.models.Model.load(str(directory))
    flavors = described.flavors
    if "sklearn" not in flavors:
        raise InvalidSpecError(
            "model",
            sorted(flavors),
            "the model must be saved in MLflow's scikit-learn flavor. Train it with this package",
        )
    flavor = flavors["sklearn"]
    serialization = flavor.get("serialization_format", "pickle")
    if serialization != "skops":
        if not allow_pickle:
            raise InvalidSpecError(
                "model",
                f"models:/{described.model_id}" if described.model_id else str(directory),
                f"it was saved with {serialization}, so loading it runs code from its file. Train it again with this "
                "package, which saves with skops, or set allow_pickle=True if you trust its author",
            )
        log.warning("Loading a model that was saved with %s, because allow_pickle is set", serialization)
        return mlflow.sklearn.load_model(str(directory))
    path = model_file(directory, flavor)
    allowed = {*trusted.TRUSTED_TYPES, *trusted_types}
    if storage_uri is not None:
        allowed.update(type_approval.approved_types(storage_uri, path))
    trusted.check(allowed)
    try:
        # Asked first and named in one message; loading asks again.
        unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - allowed)
        if not unknown:
            return skops.io.load(path, trusted=sorted(allowed))
    except UntrustedTypesFoundException as error:
        raise InvalidSpecError("model", str(error), "its types are not trusted. Train the model again") from error
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, NotImplementedError, BadZipFile) as error:
        raise InvalidSpecError(
            "model", path.name, f"skops cannot load it ({describe_error(error)}). Train the model again"
        ) from error
    raise InvalidSpecError(
        "trusted_types",
        sorted(allowed - set(trusted.TRUSTED_TYPES)),
        f"the model contains types that are neither scikit-learn's own nor approved: {list_names(unknown)}. If you "
        "trust them, train the model with trusted_types, or name them in the setting trusted_types of the process "
        "that loads it",
    )


def import_skops() -> Any:
    """Return skops with its module `io`.

    Importing `skops.io` looks for every SciPy function in every loaded module. In an Airflow task that leads to a
    thousand warnings about names that Airflow has moved. Warning filters are shared by all threads, so they are changed
    for the first import only.
    """
    if "skops.io" not in sys.modules:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import skops.io
    import skops

    return skops


def _explain_unsaved(model: Any, trusted_types: Sequence[str]) -> None:
    """Raise InvalidSpecError if skops cannot save the model, or if the model contains types that are not trusted."""
    skops = import_skops()
    with tempfile.TemporaryDirectory(prefix="mlops-skops-") as directory:
        path = os.path.join(directory, "model.skops")
        try:
            skops.io.dump(model, path)
            contained = set(skops.io.get_untrusted_types(file=path))
        except Exception as error:
            raise InvalidSpecError(
                "estimator",
                type(model).__name__,
                f"skops cannot save the model ({error}). Define its functions and classes at the top level of a module "
                "that can be imported wherever the model is loaded",
            ) from error
    trusted.check(contained)
    unknown = sorted(contained - set(trusted.TRUSTED_TYPES) - set(trusted_types))
    if unknown:
        raise InvalidSpecError(
            "trusted_types",
            list(trusted_types),
            "the model contains types that are not trusted. If you trust them, set "
            f"trusted_types={[*trusted_types, *unknown]!r}",
        )


_KINDS = {"b": "boolean", "i": "long", "u": "long", "f": "double", "M": "datetime"}
"""MLflow's types by `dtype.kind`, which NumPy and pandas share."""


def _type(dtype: Any, values: Any) -> str:
    if dtype.kind in _KINDS:
        return _KINDS[dtype.kind]
    example_value = next((value for value in values if value is not None and value == value), "")
    if not isinstance(example_value, str):
        raise InvalidSpecError(
            "dataset",
            getattr(values, "name", None),
            f"the column {getattr(values, 'name', None)!r} contains {type(example_value).__name__} values, which "
            "cannot be used as features. Convert them to numbers, strings, booleans or times, or drop the column",
        )
    return "string"
