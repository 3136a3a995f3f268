"""The servers that people use instead: how each is installed, started, asked, and what it answers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmarks import trained_models
from benchmarks.serving_servers import free_port

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Answer:
    """A prediction for one row, and its probabilities if the server returned them."""

    prediction: Any
    probabilities: list[float] | None


class Peer(ABC):
    """A server that loads a fitted Pipeline from a file."""

    name: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]]
    """What pip installs, next to the packages that the Pipeline needs."""
    ready: ClassVar[str] = "/ready"
    """Path that answers 200 when the model is loaded."""

    @abstractmethod
    def command(self, binaries: Path, directory: Path, model: Path, port: int) -> list[str]:
        """Return the command that starts the server with one worker and without a log of its requests."""

    def variables(self, directory: Path, model: Path) -> dict[str, str]:
        """Return the environment variables of the server."""
        return {"MODEL": str(model), "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}

    def request(self, row: dict[str, Any], kinds: dict[str, type], probabilities: bool) -> tuple[str, dict[str, Any]]:
        """Return the path and the body of the usual request for a row."""
        if trained_models.is_numeric(kinds):
            return "/numbers", {"data": [list(row.values())]}
        return "/records", {"records": [row]}

    def answer(self, content: Any) -> Answer:
        """Return what the server answered."""
        probabilities = content.get("probabilities")
        return Answer(content["predictions"][0], None if probabilities is None else probabilities[0])


class FastAPI(Peer):
    """Thirty lines by hand (`fastapi_app.py`)."""

    name = "FastAPI"
    requirements = ("fastapi==0.163.2", "uvicorn[standard]")

    def command(self, binaries: Path, directory: Path, model: Path, port: int) -> list[str]:
        return [str(binaries / "uvicorn"), "fastapi_app:app", "--port", str(port), "--no-access-log"]


class MLServer(Peer):
    """MLServer with its runtime for scikit-learn."""

    name = "MLServer"
    requirements = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1")
    ready = "/v2/models/model/ready"

    def command(self, binaries: Path, directory: Path, model: Path, port: int) -> list[str]:
        folder = directory / f"mlserver-{model.stem}"
        folder.mkdir(exist_ok=True)
        # In the server's own process: with a process of its own for inference, each request takes a hop more.
        settings = {"host": "127.0.0.1", "http_port": port, "parallel_workers": 0, "debug": False}
        settings |= {"grpc_port": free_port(), "metrics_port": free_port()}
        (folder / "settings.json").write_text(json.dumps(settings))
        implementation = {"implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": str(model)}}
        (folder / "model-settings.json").write_text(json.dumps({"name": "model", **implementation}))
        return [str(binaries / "mlserver"), "start", str(folder)]

    def request(self, row: dict[str, Any], kinds: dict[str, type], probabilities: bool) -> tuple[str, dict[str, Any]]:
        outputs = [{"name": "predict"}, *([{"name": "predict_proba"}] if probabilities else [])]
        form = trained_models.TENSOR if trained_models.is_numeric(kinds) else trained_models.COLUMNS
        body = trained_models.body(form, row, kinds)
        if form == trained_models.COLUMNS:
            body |= {"parameters": {"content_type": "pd"}}
        return "/v2/models/model/infer", body | {"outputs": outputs}

    def answer(self, content: Any) -> Answer:
        return v2_answer(content)


class BentoML(Peer):
    """A service after BentoML's documentation (`bento_service.py`)."""

    name = "BentoML"
    requirements = ("bentoml==1.4.40",)
    ready = "/readyz"

    def command(self, binaries: Path, directory: Path, model: Path, port: int) -> list[str]:
        return [str(binaries / "bentoml"), "serve", "bento_service:Model", "--port", str(port)]

    def variables(self, directory: Path, model: Path) -> dict[str, str]:
        return super().variables(directory, model) | {
            "BENTOML_DO_NOT_TRACK": "true",
            "BENTOML_HOME": str(directory / "bentoml"),
        }


class RayServe(Peer):
    """A deployment after Ray Serve's documentation (`ray_app.py`)."""

    name = "Ray Serve"
    requirements = ("ray[serve]==2.60.0",)
    ready = "/"

    def command(self, binaries: Path, directory: Path, model: Path, port: int) -> list[str]:
        return [str(binaries / "python"), str(HERE / "ray_app.py"), str(port)]

    def variables(self, directory: Path, model: Path) -> dict[str, str]:
        return super().variables(directory, model) | {"RAY_USAGE_STATS_ENABLED": "0"}

    def request(self, row: dict[str, Any], kinds: dict[str, type], probabilities: bool) -> tuple[str, dict[str, Any]]:
        return "/", super().request(row, kinds, probabilities)[1]


def v2_answer(content: Any) -> Answer:
    """Return what a server of the Open Inference Protocol answered."""
    outputs = {output["name"]: output["data"] for output in content["outputs"]}
    return Answer(outputs["predict"][0], outputs.get("predict_proba"))


PEERS: dict[str, Peer] = {peer.name: peer for peer in (FastAPI(), MLServer(), BentoML(), RayServe())}
