"""The requirements of a model, derived from the model itself.

MLflow derives them by loading the model in a separate process, which takes 6 to 10 seconds.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable
from typing import Any

_ALWAYS = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "skimage": "scikit-image", "cv2": "opencv-python", "PIL": "pillow"}


def pip_requirements(model: Any, types: Iterable[str] = ()) -> list[str]:
    """Return `name==version` of the installed packages that a fitted scikit-learn model needs to load and to predict.

    Parameters
    ----------
    model
        Fitted model. The packages are those of its steps and nested estimators.
    types
        Dotted names of other types in the model, as skops reports them.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> [line.partition("==")[0] for line in pip_requirements(Ridge())]
    ['mlflow', 'numpy', 'pandas', 'scikit-learn', 'scipy', 'skops']
    """
    roots = {name.partition(".")[0] for name in types} | {module.partition(".")[0] for module in _modules(model, 0)}
    names = set(_ALWAYS)
    unknown = set()
    for root in roots:
        if root in sys.stdlib_module_names or root == "sklearn":
            continue
        name = _DISTRIBUTIONS.get(root, root.replace("_", "-"))
        if _version(name) is None:
            unknown.add(root)
        else:
            names.add(name)
    if unknown:
        by_module = importlib.metadata.packages_distributions()
        names.update(by_module[root][0] for root in unknown if by_module.get(root))
    return [f"{name}=={version}" for name in sorted(names) if (version := _version(name)) is not None]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _modules(value: Any, depth: int) -> set[str]:
    modules = {type(value).__module__}
    if depth > 6:
        return modules
    children: list[Any] = []
    if isinstance(value, list | tuple):
        children = list(value)[:50]
    elif isinstance(value, dict):
        children = list(value.values())[:50]
    elif hasattr(value, "get_params"):
        children = list(vars(value).values())
    for child in children:
        if isinstance(child, list | tuple | dict) or hasattr(child, "get_params"):
            modules |= _modules(child, depth + 1)
    return modules
