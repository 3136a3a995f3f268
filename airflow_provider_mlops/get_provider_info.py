"""The provider's metadata for Airflow: connections, operators, links, decorators, assets and configuration.

Airflow calls this in every process that it starts, so nothing is imported here but names.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.step_names import STEPS

_INTEGRATION = "MLOps"
_PACKAGE = "airflow_provider_mlops"
_DECORATORS = ("extract", "validate_data", "prepare", "train", "tune")
_SENSORS = (
    "new_data",
    "model_version",
    "endpoint_ready",
    "endpoint_healthy",
    "rollout_finished",
    "enough_feedback",
)
_LINKS = (
    "MlflowRunLink",
    "ModelVersionLink",
    "DataDocsLink",
    "ReportLink",
    "PromotedLink",
    "RolledBackLink",
    "EndedLink",
)


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the format of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-provider-mlops",
        "name": "MLOps",
        "description": "The machine-learning lifecycle on Apache Airflow, from data extraction to a monitored model.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "tags": ["ai", "machine-learning"],
            }
        ],
        "operators": _modules("operators", ("step", *STEPS)),
        "sensors": _modules("sensors", _SENSORS),
        "triggers": _modules("triggers", (*_SENSORS, "rollout")),
        "hooks": _modules("hooks", ("mlflow", "gateway")),
        "extra-links": [f"{_PACKAGE}.links.step.{name}" for name in _LINKS],
        "task-decorators": [
            {"name": f"mlops_{name}", "class-name": f"{_PACKAGE}.decorators.steps.{name}_task"} for name in _DECORATORS
        ],
        "connection-types": [_mlflow_connection(), _gateway_connection()],
        "asset-uris": [
            {
                "schemes": ["mlops"],
                "handler": f"{_PACKAGE}.assets.uri.normalize",
                "factory": f"{_PACKAGE}.assets.uri.create_asset",
            }
        ],
        "config": {"mlops": _config_section()},
    }


def _modules(kind: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    modules = [f"{_PACKAGE}.{kind}.{name}" for name in names]
    return [{"integration-name": _INTEGRATION, "python-modules": modules}]


def _mlflow_connection() -> dict[str, Any]:
    return {
        "connection-type": "mlflow",
        "hook-name": "MLflow",
        "hook-class-name": f"{_PACKAGE}.hooks.mlflow.MlflowHook",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "port"],
            "relabeling": {"host": "Tracking URI", "login": "User"},
            "placeholders": {
                "host": "https://mlflow.example.com",
                "login": "empty if the server requires no login",
                "password": "empty if the server requires no login",
            },
        },
        "conn-fields": {
            "registry_uri": {
                "label": "Registry URI",
                "description": "URI of the model registry. Defaults to the tracking URI.",
                "schema": {"type": ["string", "null"]},
            },
            "token": {
                "label": "Token",
                "description": "Bearer token to use instead of user and password.",
                "schema": {"type": ["string", "null"], "format": "password"},
            },
        },
    }


def _gateway_connection() -> dict[str, Any]:
    return {
        "connection-type": "mlops_gateway",
        "hook-name": "MLOps gateway",
        "hook-class-name": f"{_PACKAGE}.hooks.gateway.MlopsGatewayHook",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "login", "port", "extra"],
            "relabeling": {"host": "Gateway URL", "password": "Key"},
            "placeholders": {
                "host": "https://gateway.example.com:8710",
                "password": "a key with the rights prediction, monitoring and administration",
            },
        },
        "conn-fields": {
            "ca_bundle": {
                "label": "CA bundle",
                "description": "PEM file with the authorities that sign the gateway's certificate. Empty for the usual "
                "ones. The file must exist wherever tasks run.",
                "schema": {"type": ["string", "null"]},
            },
            "certificate": {
                "label": "Client certificate",
                "description": "PEM file with the certificate to show to the gateway, for mutual TLS.",
                "schema": {"type": ["string", "null"]},
            },
            "certificate_key": {
                "label": "Client certificate key",
                "description": "PEM file with the key of the client certificate, if it is in a file of its own.",
                "schema": {"type": ["string", "null"]},
            },
        },
    }


def _config_section() -> dict[str, Any]:
    return {
        "description": "Settings of the MLOps provider.",
        "options": {
            "storage_uri": {
                "description": (
                    "Directory or fsspec URI for datasets, profiles, reports and the audit trail. MLflow's database\n"
                    "and artifacts are stored here as well if no connection of type ``mlflow`` exists. Workers, the\n"
                    "API server and the serving gateway need access to it. Defaults to ``{AIRFLOW_HOME}/mlops``.\n"
                ),
                "version_added": "0.1.0",
                "type": "string",
                "example": "s3://my-bucket/mlops",
                "default": "",
            },
            "trusted_types": {
                "description": (
                    "Dotted names of types, separated by commas, that may be constructed when a model is loaded. They\n"
                    "are needed only for models that were not saved by the train or tune step of this installation,\n"
                    "whose ``trusted_types`` are recorded. scikit-learn's own types are always trusted.\n"
                ),
                "version_added": "0.1.0",
                "type": "string",
                "example": "my_team.features.LogScaler,lightgbm.sklearn.LGBMClassifier",
                "default": "",
            },
            "rollout_store_url": {
                "description": (
                    "SQLAlchemy URL of the database for rollouts and their evidence, PostgreSQL or SQLite. Workers,\n"
                    "the triggerer and all gateways must use the same database. Defaults to a SQLite file under\n"
                    "``storage_uri`` if that is a local directory, which is sufficient for a single machine.\n"
                ),
                "version_added": "0.1.0",
                "type": "string",
                "sensitive": True,
                "example": "postgresql+psycopg://mlops:password@db.example.com/mlops",
                "default": "",
            },
        },
    }
