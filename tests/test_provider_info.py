"""The provider's metadata holds what the code has, and Airflow takes both without a warning."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from importlib.resources import files
from typing import Any

import pytest
from airflow import __version__ as airflow_version
from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink
from packaging.version import Version

import airflow_provider_mlops
from airflow_provider_mlops.decorators.steps import ARGUMENTS
from airflow_provider_mlops.get_provider_info import get_provider_info
from airflow_provider_mlops.operators.step import StepOperator
from airflow_provider_mlops.step_names import STEPS

INFO = get_provider_info()
# What a module may not load at import, because every parse of every DAG file would pay for it.
HEAVY = {
    *("mlflow", "great_expectations", "sklearn", "pandas", "numpy", "scipy", "pyarrow", "duckdb", "ibis", "matplotlib"),
    *("optuna", "fairlearn", "skops", "httpx", "sqlalchemy", "jinja2", "starlette", "fastapi", "uvicorn"),
    *("docker", "kubernetes"),
}


def listed(kind: str) -> set[str]:
    return {module for entry in INFO[kind] for module in entry["python-modules"]}


def classes(kind: str, base: type) -> dict[str, type]:
    """The classes of a package of ours that are not abstract, by their full names."""
    package = importlib.import_module(f"airflow_provider_mlops.{kind}")
    found = {}
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        for name, value in vars(importlib.import_module(info.name)).items():
            public = inspect.isclass(value) and issubclass(value, base) and value.__module__ == info.name
            if public and not name.startswith("_") and not inspect.isabstract(value):
                found[f"{info.name}.{name}"] = value
    return found


def modules_that_define(kind: str, base: type) -> set[str]:
    return {value.__module__ for value in classes(kind, base).values()}


def test_it_fits_airflow_s_schema():
    import jsonschema

    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)
    assert INFO["package-name"] == "airflow-provider-mlops"


def test_every_operator_sensor_trigger_and_hook_is_listed():
    from airflow.triggers.base import BaseTrigger

    assert listed("operators") == modules_that_define("operators", BaseOperator)
    assert listed("sensors") == modules_that_define("sensors", BaseOperator) - {
        "airflow_provider_mlops.sensors.waiting"
    }
    assert listed("triggers") == modules_that_define("triggers", BaseTrigger)
    assert listed("hooks") == modules_that_define("hooks", BaseHook)


def test_every_package_offers_its_classes_by_name():
    from airflow.triggers.base import BaseTrigger

    bases = {"operators": BaseOperator, "sensors": BaseOperator, "triggers": BaseTrigger, "hooks": BaseHook}
    for kind, base in bases.items():
        package = importlib.import_module(f"airflow_provider_mlops.{kind}")
        offered = {name: getattr(package, name) for name in package.__all__}
        expected = {value.__name__: value for value in classes(kind, base).values()}
        assert offered == {name: value for name, value in expected.items() if name != "WaitingSensor"}
    with pytest.raises(ImportError, match="TrainModelOperater"):
        from airflow_provider_mlops.operators import TrainModelOperater  # noqa: F401


def test_a_name_imports_its_own_module_only():
    program = """
import sys
from airflow_provider_mlops.operators import TrainModelOperator
loaded = [name for name in ("extract", "tune", "rollout") if f"airflow_provider_mlops.operators.{name}" in sys.modules]
assert TrainModelOperator.__name__ == "TrainModelOperator" and not loaded, loaded
"""
    run(sys.executable, "-c", program)


def test_every_step_has_an_operator_that_is_listed():
    modules = {f"airflow_provider_mlops.operators.{step}" for step in STEPS}
    assert listed("operators") == {*modules, "airflow_provider_mlops.operators.step"}


def test_every_link_is_listed():
    assert set(INFO["extra-links"]) == set(classes("links", BaseOperatorLink))
    used = {
        f"{type(link).__module__}.{type(link).__name__}"
        for operator in classes("operators", StepOperator).values()
        for link in operator.operator_extra_links
    }
    assert used == set(INFO["extra-links"])


def test_every_decorator_is_listed_and_can_be_used():
    from airflow.sdk import task

    assert {entry["name"] for entry in INFO["task-decorators"]} == {f"mlops_{step}" for step in ARGUMENTS}
    for entry in INFO["task-decorators"]:
        assert callable(getattr(task, entry["name"])())


def test_connection_types_match_their_hooks():
    for entry in INFO["connection-types"]:
        module, _, name = entry["hook-class-name"].rpartition(".")
        hook: Any = getattr(importlib.import_module(module), name)
        assert (hook.conn_type, hook.hook_name) == (entry["connection-type"], entry["hook-name"])
        assert hook.conn_name_attr in inspect.signature(hook).parameters


def test_the_forms_reach_airflow():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert {"mlflow", "mlops_gateway"} <= set(manager.hooks)
    if Version(airflow_version) < Version("3.2"):
        pytest.skip("Airflow 3.1 shows no fields of a provider's own: they are entered as JSON")
    assert {"registry_uri", "token"} <= {
        name.rpartition("__")[2] for name in manager.connection_form_widgets if name.startswith("extra__mlflow__")
    }
    assert "port" in manager.field_behaviours["mlflow"]["hidden_fields"]


def test_the_config_section_is_known_and_has_its_default():
    from airflow.configuration import conf
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_configuration()
    assert conf.get("mlops", "storage_uri") == ""
    assert conf.get("mlops", "rollout_store_url") == ""
    assert ("mlops", "rollout_store_url") in conf.sensitive_config_values


def test_asset_uris_are_checked_by_our_handler():
    from airflow.sdk import Asset

    assert Asset("mlops://models/churn/").uri == "mlops://models/churn"
    assert Asset("mlops://models/churn/rollouts/rolled_back").uri == "mlops://models/churn/rollouts/rolled_back"
    assert Asset("mlops://models/churn/aliases/champion").uri == "mlops://models/churn/aliases/champion"
    with pytest.raises(ValueError, match="must be mlops://datasets/NAME"):
        Asset("mlops://model/churn")
    for other in ("alias/champion", "rollouts/running"):
        with pytest.raises(ValueError, match="is invalid"):
            Asset(f"mlops://models/churn/{other}")


def run(*command: str, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_airflow_lists_the_provider_and_the_plugin_without_a_warning(airflow_database):
    environment = {**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"}
    airflow = [sys.executable, "-W", "default", "-m", "airflow"]
    providers = run(*airflow, "providers", "list", "--output", "plain", env=environment)
    assert "airflow-provider-mlops" in providers
    plugins = run(*airflow, "plugins", "--output", "plain", env=environment)
    assert "mlops" in plugins
    for output in (providers, plugins):
        ours = [line for line in output.splitlines() if "mlops" in line.lower()]
        assert not [line for line in ours if "warn" in line.lower() or "error" in line.lower()], output


def airflow_modules() -> list[str]:
    kinds = ("operators", "sensors", "triggers", "decorators", "hooks", "links", "assets")
    names = ["airflow_provider_mlops.get_provider_info", "airflow_provider_mlops.plugin.plugin"]
    for kind in kinds:
        package = importlib.import_module(f"airflow_provider_mlops.{kind}")
        names += [info.name for info in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]
    return names


def test_what_a_dag_imports_is_light():
    """In one fresh process: nothing heavy is loaded that `import airflow.sdk` and its names had not loaded already."""
    program = f"""
import sys
from airflow.sdk import DAG, Asset, BaseHook, BaseOperator, BaseSensorOperator, Param, task
heavy = {HEAVY!r}
before = {{name for name in heavy if name in sys.modules}}
count = len(sys.modules)
import importlib
for name in {airflow_modules()!r}:
    importlib.import_module(name)
    loaded = [module for module in heavy if module in sys.modules and module not in before]
    assert not loaded, f"{{name}} imports {{loaded}}"
print("modules:", len(sys.modules) - count)
"""
    output = run(sys.executable, "-c", program)
    assert int(output.rpartition("modules:")[2].split()[0]) < 210


def test_importing_every_module_of_the_package_warns_of_nothing():
    names = [
        info.name
        for info in pkgutil.walk_packages(airflow_provider_mlops.__path__, "airflow_provider_mlops.")
        if not info.name.endswith("__main__")
    ]
    program = f"""
import importlib, warnings
# The imports of the libraries that we stand on are their own business.
caught = []
def note(message, category, filename, lineno, file=None, line=None):
    caught.append((filename, str(message)))
warnings.showwarning = note
warnings.simplefilter("always")
for name in {names!r}:
    importlib.import_module(name)
ours = [entry for entry in caught if "airflow_provider_mlops" in entry[0]]
assert not ours, ours
"""
    run(sys.executable, "-c", program)
