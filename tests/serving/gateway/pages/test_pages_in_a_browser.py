"""The page at `/` in a browser without a network: it shows hostile names as they are, and predicts with its form."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import register

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing")]

MODEL = "<img src=x onerror=document.title='broken'>"
COLUMN = '"><script>document.title="broken"</script>'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    directory = tmp_path_factory.mktemp("hostile")
    registry = Registry(RegistrySettings(str(directory)))
    rows = pd.DataFrame({COLUMN: [1.0, 2.0] * 5, "{{7*7}}": ["a", "b"] * 5})
    model = DummyClassifier().fit(rows, np.array(["</script>", "<b>"] * 5))
    register(registry, MODEL, model, rows, "1")
    registry.client.set_registered_model_alias(MODEL, "champion", "1")
    with LiveGateway(directory) as process:
        yield process


def dump(url: str, directory: Path) -> str:
    """Return the document after its script has run."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}"]
    # Every name but the gateway's address is unknown.
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=20000", "--dump-dom"]
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=180, check=True)
    return done.stdout


def test_hostile_names_are_shown_as_text(gateway: LiveGateway, tmp_path: Path) -> None:
    text = dump(f"{gateway.url}/", tmp_path)
    assert "<title>Model gateway</title>" in text
    assert "&lt;img src=x onerror=document.title='broken'&gt;" in text
    assert re.search(r'<label for="input-0">"&gt;&lt;script&gt;', text)
    assert "<img" not in text.partition("<body>")[2]
    assert text.count("<script>") == 1
    assert re.search(r'id="health" class="badge good"[^>]*>ready<', text)


def test_the_description_of_the_api(gateway: LiveGateway, tmp_path: Path) -> None:
    text = dump(f"{gateway.url}/docs", tmp_path)
    for path in ("/v2/models/{name}/infer", "/v2/repository/index", "/feedback", "/invocations"):
        assert f"<code>{path}</code>" in text
    assert 'id="schema-InferRequest"' in text
