"""User code: how a function is described, loaded in another process, and called."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.user_code import UserCode
from airflow_provider_mlops.lifecycle.user_source import undefined_names


def in_another_process(code: UserCode) -> UserCode:
    """Return the code as another process receives it."""
    return UserCode.model_validate(json.loads(code.model_dump_json()))


def user_code(value: Any) -> UserCode:
    return UserCode.model_validate(value)


DAG_FILE = '''
from __future__ import annotations

import math as top_level

from airflow.sdk import task
from somewhere import helper

LIMIT = 3


def plain(features: pandas.DataFrame, seed: int = 7, *, scale: float = 2.0) -> Unknown:
    """Has a docstring
that goes on at the margin."""
    import math

    return math.floor(seed * scale) + len(features)


def with_default(features, limit=LIMIT):
    return limit


def with_import(features):
    return top_level.floor(2.5)


def with_helper(features):
    return helper(features) + LIMIT


def outer():
    text = "closed over"

    def inner(features):
        return """kept
  as it is"""

    def closure(features):
        return text

    return inner, closure


inner, closure = outer()


@task.mlops_train(model_name="churn")
@task.mlops_tune
def decorated(seed: int) -> object:
    return seed + 1


@helper
def helped(seed):
    return seed


@task
@helper
def doubly(seed):
    return seed


class Model:
    def method(self, features):
        return 1


async def asynchronous(features):
    return 1


nameless = lambda features: 1
'''


@pytest.fixture
def dag_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module loaded as Airflow loads DAG files: under a name that no other process can import."""
    path = tmp_path / "dag.py"
    path.write_text(
        DAG_FILE.replace("from airflow.sdk import task\n", "task = Decorator()\n").replace(
            "from somewhere import helper\n", "helper = Decorator()\n"
        )
    )
    spec = importlib.util.spec_from_file_location("unusual_prefix_1234_dag", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__["Decorator"] = Decorator
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


class Decorator:
    """Decorates with and without arguments, and has every name."""

    def __getattr__(self, name: str) -> Decorator:
        return self

    def __call__(self, *functions: Callable[..., Any], **settings: Any) -> Any:
        return functions[0] if functions else self


def test_an_import_path() -> None:
    code = user_code("math:hypot")
    assert code.resolve()(3, 4) == 5
    assert in_another_process(code) == code
    assert str(code) == "math:hypot"


def test_an_importable_function_is_sent_as_its_path() -> None:
    for function, path in (
        (user_code, f"{__name__}:user_code"),
        (math.sqrt, "math:sqrt"),
        (Fraction.limit_denominator, "fractions:Fraction.limit_denominator"),
        (Decorator, f"{__name__}:Decorator"),
    ):
        code = user_code(function)
        assert code.import_path == path
        assert in_another_process(code) == code
        assert hash(in_another_process(code)) == hash(code)
        assert in_another_process(code).resolve() is function


def test_a_function_of_a_dag_file_is_sent_as_its_source(dag_file: ModuleType) -> None:
    code = user_code(dag_file.plain)
    assert code.import_path is None
    assert code.resolve() is dag_file.plain
    copy = in_another_process(code)
    assert copy.resolve() is not dag_file.plain
    assert copy.call(features=[1, 2], seed=4) == code.call(features=[1, 2], seed=4) == 10
    assert copy.call(features=[1, 2]) == 16
    assert copy.resolve().__doc__ == dag_file.plain.__doc__


def test_nested_functions_keep_their_text(dag_file: ModuleType) -> None:
    assert in_another_process(user_code(dag_file.inner)).call(features=1) == dag_file.inner(1) == "kept\n  as it is"


def test_decorators_that_make_tasks_are_removed(dag_file: ModuleType) -> None:
    code = in_another_process(user_code(dag_file.decorated))
    assert "@" not in (code.source or "")
    assert code.call(seed=1) == 2


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("with_default", "LIMIT"),
        ("with_import", "top_level"),
        ("with_helper", "LIMIT, helper"),
        ("closure", "text"),
        ("helped", "helper"),
        ("doubly", "helper"),
    ],
)
def test_names_from_outside_are_explained(dag_file: ModuleType, name: str, unknown: str) -> None:
    code = user_code(getattr(dag_file, name))
    # In the process that has the DAG file they are there.
    assert callable(code.resolve())
    message = rf"'{name}': .*defined outside of it: {unknown}\. Import or define them inside"
    with pytest.raises(InvalidSpecError, match=message):
        in_another_process(code).call(features=1, seed=1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda features: 1, "a lambda cannot be loaded"),
        (functools.partial(math.hypot, 1), "cannot be loaded by another process"),
        (Decorator(), "cannot be loaded by another process"),
        ([].append, "cannot be loaded by another process"),
        ("math.hypot", "'package.module:function'"),
        ("math:", "'package.module:function'"),
        ("my code:run", "'package.module:function'"),
        ({}, "it must be a function, or an import path"),
        ({"name": "run"}, "it must be a function, or an import path"),
        ({"import_path": "a:b", "source": "def b(): ...", "name": "b"}, "it must be a function, or an import path"),
        (3, "it must be a function, or an import path"),
    ],
)
def test_a_value_that_cannot_be_sent_to_another_process_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        user_code(value)


def test_asynchronous_functions_and_lambdas_of_dag_files_are_refused(dag_file: ModuleType) -> None:
    with pytest.raises(ValidationError, match="asynchronous must not be asynchronous"):
        user_code(dag_file.asynchronous)
    with pytest.raises(ValidationError, match="a lambda cannot be loaded"):
        user_code(dag_file.nameless)


def test_functions_without_a_file_are_refused() -> None:
    namespace: dict[str, Any] = {"__name__": "nowhere"}
    exec("def run(): pass", namespace)
    with pytest.raises(ValidationError, match="the source of run cannot be read"):
        user_code(namespace["run"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("airflow_provider_mlops.nowhere:run", "the module cannot be imported"),
        ("math:hypotenuse", r"math has no attribute hypotenuse"),
        ("math:hypto", r"Did you mean 'hypot'"),
        ("math:pi", "it must name a function, not an object of type float"),
    ],
)
def test_a_wrong_import_path(path: str, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        user_code(path).resolve()


def takes_everything(**arguments: Any) -> list[str]:
    return sorted(arguments)


def takes_some(seed: int, other: int = 5, *rest: int) -> tuple[int, int, tuple[int, ...]]:
    return seed, other, rest


def requires_horizon(seed: int, horizon: int) -> int:
    return seed + horizon


def requires_horizon_and_takes_everything(horizon: int, **arguments: Any) -> int:
    return horizon


def by_position(seed: int, /) -> int:
    return seed


def test_arguments_are_given_by_name() -> None:
    assert user_code(takes_everything).call(seed=1, features=2) == ["features", "seed"]
    assert user_code(takes_some).call(seed=1, features=2) == (1, 5, ())
    with pytest.raises(InvalidSpecError, match=r"requires_horizon': .*requires horizon.* features, seed"):
        user_code(requires_horizon).call(seed=1, features=2)
    with pytest.raises(InvalidSpecError, match="requires horizon"):
        user_code(requires_horizon_and_takes_everything).call(seed=1)
    with pytest.raises(InvalidSpecError, match="must accept keyword arguments"):
        user_code(by_position).call(seed=1)


def test_a_check_names_the_field_and_calls_nothing() -> None:
    assert user_code(takes_everything).check("code", "seed", "features") == ("seed", "features")
    assert user_code(takes_some).check("code", "seed", "features") == ("seed",)
    with pytest.raises(InvalidSpecError, match=r"code='math:hypot': .*Wrap it in a function"):
        user_code("math:hypot").check("code", "seed")
    with pytest.raises(InvalidSpecError, match=r"code='nowhere:run': the module cannot be imported"):
        user_code("nowhere:run").check("code", "seed")
    with pytest.raises(InvalidSpecError, match=r"code='.*:requires_horizon': .*requires horizon"):
        user_code(requires_horizon).check("code", "seed")


def test_the_text_digest_follows_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dag_file: ModuleType
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = []
    for body in ("1", "1", "2"):
        (tmp_path / "changing_module.py").write_text(f"def run():\n    return {body}\n")
        sys.modules.pop("changing_module", None)
        importlib.invalidate_caches()
        import linecache

        linecache.checkcache()
        digests.append(user_code("changing_module:run").text_digest())
    sys.modules.pop("changing_module", None)
    assert digests[0] is not None
    assert digests[0] == digests[1] != digests[2]
    assert (
        user_code(dag_file.plain).text_digest()
        == in_another_process(user_code(dag_file.plain)).text_digest()
        is not None
    )
    assert user_code("math:hypot").text_digest() is None


def test_undefined_names_respect_scopes() -> None:
    source = (
        "from __future__ import annotations\n"
        "def f(a: Type1, *args: Type2, **kw) -> Type3:\n"
        "    b: Type4 = 1\n"
        "    class C(Base):\n"
        "        z = 3\n"
        "        def m(self):\n"
        "            return [k for k in range(self.z) if k < BOUND], super().m()\n"
        "    def g(x: Type5 = DEFAULT):\n"
        "        return x + b + a + free\n"
        "    try:\n"
        "        import foo\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
        "    global counter\n"
        "    counter = 1\n"
        "    return f(g(1)), counter, __name__, foo, (lambda u: u + hidden)(2), (w := 3)\n"
    )
    assert undefined_names(source) == sorted(
        ["BOUND", "Base", "DEFAULT", "ImportError", "free", "hidden", "print", "range", "super"]
    )
