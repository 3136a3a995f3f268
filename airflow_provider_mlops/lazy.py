"""Names that a package offers without importing the modules that define them.

Every parse of a DAG file pays for what it imports. A package such as `operators` therefore lists its public names
with their modules, and a module is imported when one of its names is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package that imports a name's module when the name is first used.

    :param package: name of the package.
    :param modules: the module of each public name, relative to the package.

    >>> __getattr__ = lazy_names("airflow_provider_mlops", {"MlopsError": "errors"})
    >>> __getattr__("MlopsError")
    <class 'airflow_provider_mlops.errors.MlopsError'>
    >>> __getattr__("MlopsErorr")
    Traceback (most recent call last):
    ...
    AttributeError: module 'airflow_provider_mlops' has no attribute 'MlopsErorr'
    """

    def __getattr__(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return __getattr__
