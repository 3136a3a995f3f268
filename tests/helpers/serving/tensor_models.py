"""Models that take tensors which are not tables, in an MLflow registry."""

from __future__ import annotations

from pathlib import Path

import mlflow.sklearn
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings

IMAGES = np.random.default_rng(0).normal(size=(60, 4, 4, 2))
BRIGHT = IMAGES[:, :2].sum(axis=(1, 2, 3)) > 0
GRAY = np.random.default_rng(1).integers(0, 256, size=(60, 3, 3)).astype(np.uint8)


def image_model() -> Pipeline:
    """A classifier of images of 4 by 4 pixels in two colors."""
    flatten = FunctionTransformer(np.reshape, kw_args={"shape": (-1, 32)})
    return make_pipeline(flatten, LogisticRegression()).fit(IMAGES, BRIGHT)


def gray_model() -> Pipeline:
    """A classifier of images of 8 bits."""
    flatten = FunctionTransformer(np.reshape, kw_args={"shape": (-1, 9)})
    return make_pipeline(flatten, LogisticRegression()).fit(GRAY, GRAY[:, 0, 0] > 127)


def curve_model() -> IsotonicRegression:
    """A regressor of single numbers."""
    return IsotonicRegression(out_of_bounds="clip").fit(np.arange(20.0), np.arange(20.0) ** 2)


def register(storage: Path, files: Path) -> None:
    """Register the three models `images`, `gray` and `curve`, each with a champion."""
    registry = Registry(RegistrySettings(str(storage)))
    models = {
        "images": (image_model(), np.float64, (-1, 4, 4, 2), IMAGES[:3]),
        "gray": (gray_model(), np.uint8, (-1, 3, 3), None),
        "curve": (curve_model(), np.float64, (-1,), None),
    }
    for name, (model, dtype, shape, example) in models.items():
        signature = ModelSignature(Schema([TensorSpec(np.dtype(dtype), shape, name=None)]))
        mlflow.sklearn.save_model(
            model,
            str(files / name),
            serialization_format="cloudpickle",
            pip_requirements=[],
            signature=signature,
            input_example=example,
        )
        registry.client.create_registered_model(name)
        registry.client.create_model_version(name, (files / name).as_uri())
        registry.client.set_registered_model_alias(name, "champion", "1")
