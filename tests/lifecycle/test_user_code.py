"""Code that people bring: how a function is described, found again in another process, and called."""

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
from airflow_provider_mlops.lifecycle.user_source import outside_names


def elsewhere(code: UserCode) -> UserCode:
    """The code as another process has it."""
    return UserCode.model_validate(json.loads(code.model_dump_json()))


def of(value: Any) -> UserCode:
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
    """A file as Airflow loads it: under a name that no other process can import, its decorators having no effect."""
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
    code = of("math:hypot")
    assert code.resolve()(3, 4) == 5
    assert elsewhere(code) == code
    assert str(code) == "math:hypot"


def test_an_importable_function_travels_by_its_path() -> None:
    for function, path in (
        (of, f"{__name__}:of"),
        (math.sqrt, "math:sqrt"),
        (Fraction.limit_denominator, "fractions:Fraction.limit_denominator"),
        (Decorator, f"{__name__}:Decorator"),
    ):
        code = of(function)
        assert code.import_path == path
        assert elsewhere(code) == code
        assert hash(elsewhere(code)) == hash(code)
        assert elsewhere(code).resolve() is function


def test_a_function_of_a_dag_file_travels_by_its_source(dag_file: ModuleType) -> None:
    code = of(dag_file.plain)
    assert code.import_path is None
    assert code.resolve() is dag_file.plain
    copy = elsewhere(code)
    assert copy.resolve() is not dag_file.plain
    assert copy.call(features=[1, 2], seed=4) == code.call(features=[1, 2], seed=4) == 10
    assert copy.call(features=[1, 2]) == 16
    assert copy.resolve().__doc__ == dag_file.plain.__doc__


def test_nested_functions_keep_their_text(dag_file: ModuleType) -> None:
    assert elsewhere(of(dag_file.inner)).call(features=1) == dag_file.inner(1) == "kept\n  as it is"


def test_decorators_that_make_tasks_are_left_behind(dag_file: ModuleType) -> None:
    code = elsewhere(of(dag_file.decorated))
    assert "@" not in (code.source or "")
    assert code.call(seed=1) == 2


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("with_default", "LIMIT"),
        ("with_import", "top_level"),
        ("with_helper", "'LIMIT', 'helper'"),
        ("closure", "text"),
        ("helped", "helper"),
        ("doubly", "helper"),
    ],
)
def test_names_from_outside_are_explained(dag_file: ModuleType, name: str, unknown: str) -> None:
    code = of(getattr(dag_file, name))
    # In the process that has the DAG file they are there.
    assert callable(code.resolve())
    message = (
        rf"the function {name}=\[.*{unknown}.*\]: these names come from outside .* import or define them inside it"
    )
    with pytest.raises(InvalidSpecError, match=message):
        elsewhere(code).call(features=1, seed=1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda features: 1, "a lambda has no name"),
        (functools.partial(math.hypot, 1), "cannot be found by another process"),
        (Decorator(), "cannot be found by another process"),
        ([].append, "cannot be found by another process"),
        ("math.hypot", "write it as 'package.module:function'"),
        ("math:", "write it as 'package.module:function'"),
        ("my code:run", "write it as 'package.module:function'"),
        ({}, "give a function, or an import path"),
        ({"name": "run"}, "give a function, or an import path"),
        ({"import_path": "a:b", "source": "def b(): ...", "name": "b"}, "give a function, or an import path"),
        (3, "valid dictionary"),
    ],
)
def test_what_cannot_travel_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        of(value)


def test_asynchronous_functions_and_lambdas_of_dag_files_are_refused(dag_file: ModuleType) -> None:
    with pytest.raises(ValidationError, match="asynchronous is asynchronous: write a function with def"):
        of(dag_file.asynchronous)
    with pytest.raises(ValidationError, match="a lambda has no name"):
        of(dag_file.nameless)


def test_functions_without_a_file_are_refused() -> None:
    namespace: dict[str, Any] = {"__name__": "nowhere"}
    exec("def run(): pass", namespace)
    with pytest.raises(ValidationError, match="the source of run cannot be read"):
        of(namespace["run"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("airflow_provider_mlops.nowhere:run", "the module cannot be imported"),
        ("math:hypotenuse", "math has no hypotenuse"),
        ("math:pi", "it is a float: name a function"),
    ],
)
def test_a_wrong_import_path(path: str, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        of(path).resolve()


def everything(**given: Any) -> list[str]:
    return sorted(given)


def some(seed: int, other: int = 5, *rest: int) -> tuple[int, int, tuple[int, ...]]:
    return seed, other, rest


def required(seed: int, horizon: int) -> int:
    return seed + horizon


def required_and_everything(horizon: int, **given: Any) -> int:
    return horizon


def by_position(seed: int, /) -> int:
    return seed


def test_arguments_are_given_by_name() -> None:
    assert of(everything).call(seed=1, features=2) == ["features", "seed"]
    assert of(some).call(seed=1, features=2) == (1, 5, ())
    with pytest.raises(
        InvalidSpecError, match=r"required': it requires horizon; the function may only .* features, seed"
    ):
        of(required).call(seed=1, features=2)
    with pytest.raises(InvalidSpecError, match="it requires horizon"):
        of(required_and_everything).call(seed=1)
    with pytest.raises(InvalidSpecError, match="arguments are given by name"):
        of(by_position).call(seed=1)


def test_a_check_names_the_field_and_calls_nothing() -> None:
    assert of(everything).check("code", "seed", "features") == ("seed", "features")
    assert of(some).check("code", "seed", "features") == ("seed",)
    with pytest.raises(InvalidSpecError, match=r"^code='math:hypot': .*wrap it in a function"):
        of("math:hypot").check("code", "seed")
    with pytest.raises(InvalidSpecError, match=r"^code='nowhere:run': the module cannot be imported"):
        of("nowhere:run").check("code", "seed")
    with pytest.raises(InvalidSpecError, match=r"^code='.*:required': it requires horizon"):
        of(required).check("code", "seed")


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
        digests.append(of("changing_module:run").text_digest())
    sys.modules.pop("changing_module", None)
    assert digests[0] is not None
    assert digests[0] == digests[1] != digests[2]
    assert of(dag_file.plain).text_digest() == elsewhere(of(dag_file.plain)).text_digest() is not None
    assert of("math:hypot").text_digest() is None


def test_outside_names_know_scopes() -> None:
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
    assert outside_names(source) == sorted(
        ["BOUND", "Base", "DEFAULT", "ImportError", "free", "hidden", "print", "range", "super"]
    )
