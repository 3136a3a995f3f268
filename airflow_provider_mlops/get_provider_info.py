"""What Airflow reads of this package: connections, operators, links, decorators, assets and the config section.

Airflow calls this in every process that it starts, so nothing is imported here.
"""

from __future__ import annotations

from typing import Any

_INTEGRATION = "MLOps"
_PACKAGE = "airflow_provider_mlops"
_OPERATORS = (
    "extract",
    "analyze",
    "validate_data",
    "prepare",
    "train",
    "tune",
    "evaluate",
    "validate",
    "deploy",
    "rollout",
    "rollback",
    "monitor",
)
_DECORATORS = ("extract", "validate_data", "prepare", "train", "tune")
_SENSORS = (
    "new_data",
    "model_version",
    "endpoint_ready",
    "endpoint_healthy",
    "rollout_finished",
    "enough_feedback",
)
_LINKS = ("MlflowRunLink", "ModelVersionLink", "DataDocsLink", "ReportLink")


def get_provider_info() -> dict[str, Any]:
    """The provider metadata, as Airflow's `provider_info.schema.json` describes it."""
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
        "operators": _modules("operators", ("step", *_OPERATORS)),
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
                "login": "leave empty if the server needs no login",
                "password": "leave empty if the server needs no login",
            },
        },
        "conn-fields": {
            "registry_uri": {
                "label": "Registry URI",
                "description": "Where the model registry is, if it is not the tracking server.",
                "schema": {"type": ["string", "null"]},
            },
            "token": {
                "label": "Token",
                "description": "A bearer token, in place of user and password.",
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
            "relabeling": {"host": "Gateway URL", "password": "Admin token"},
            "placeholders": {
                "host": "http://127.0.0.1:8710",
                "password": "the token that `airflow-mlops serve` was started with",
            },
        },
    }


def _config_section() -> dict[str, Any]:
    return {
        "description": "Settings of the MLOps provider.",
        "options": {
            "storage_uri": {
                "description": (
                    "Where datasets, profiles, reports, the audit trail and, unless a connection of type ``mlflow``\n"
                    "is configured, MLflow's database and artifacts are kept: a directory or any fsspec URI. Workers,\n"
                    "the API server and the serving gateway must all reach it. Empty means ``{AIRFLOW_HOME}/mlops``.\n"
                ),
                "version_added": "0.1.0",
                "type": "string",
                "example": "s3://my-bucket/mlops",
                "default": "",
            },
            "rollout_store_url": {
                "description": (
                    "The database in which rollouts and what is known of them are kept: a SQLAlchemy URL of\n"
                    "PostgreSQL or SQLite. Workers, the triggerer and all gateways must reach the same one. Empty\n"
                    "means a SQLite file under ``storage_uri`` if that is a directory, which is good for one machine.\n"
                ),
                "version_added": "0.1.0",
                "type": "string",
                "sensitive": True,
                "example": "postgresql+psycopg://mlops:password@db.example.com/mlops",
                "default": "",
            },
        },
    }
