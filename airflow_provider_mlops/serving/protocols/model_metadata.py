"""The metadata of a model in the Open Inference Protocol: its inputs, its outputs and its loaded versions."""

from __future__ import annotations

from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.protocols.responses import ModelMetadata, TensorMetadata
from airflow_provider_mlops.serving.rows.input_schema import V2_DATATYPES

PLATFORM = "scikit-learn"


def metadata(name: str, versions: list[int], model: LoadedModel) -> ModelMetadata:
    """Return the metadata of a version of a model, with the numbers of all loaded versions."""
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": PLATFORM,
        "inputs": _inputs(model),
        "outputs": _outputs(model),
    }


def _inputs(model: LoadedModel) -> list[TensorMetadata]:
    schema = model.schema
    if schema.row_shape is not None:
        first = schema.features[0]
        return [
            {
                "name": schema.tensor_name,
                "datatype": V2_DATATYPES[first.kind],
                "shape": [-1, *schema.row_shape],
                "parameters": {"kind": first.kind, "optional": False, "nullable": schema.all_nullable},
            }
        ]
    return [
        {
            "name": feature.name,
            "datatype": V2_DATATYPES[feature.kind],
            "shape": [-1],
            "parameters": {"kind": feature.kind, "optional": feature.optional, "nullable": feature.nullable},
        }
        for feature in schema.features
    ]


def _outputs(model: LoadedModel) -> list[TensorMetadata]:
    outputs: list[TensorMetadata] = [
        {"name": "predict", "datatype": model.v2_output, "shape": [-1, *model.targets]},
    ]
    if model.classes:
        outputs.append(
            {
                "name": "predict_proba",
                "datatype": "FP64",
                "shape": [-1, len(model.classes)],
                "parameters": {"classes": list(model.classes)},
            }
        )
    return outputs
