"""The pages for people: they load nothing, run nothing but their own script, and set texts only as text."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from airflow_provider_mlops.serving.gateway.pages import pages

PATHS = ("/", "/docs")
FILES = resources.files("airflow_provider_mlops.serving.gateway.pages")


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Starlette(routes=pages.routes()))


def policy(client: TestClient, path: str) -> dict[str, str]:
    header = client.get(path).headers["content-security-policy"]
    return dict(part.strip().split(" ", 1) for part in header.split(";"))


@pytest.mark.parametrize("path", PATHS)
def test_the_policy_allows_only_the_pages_own_script_and_style(client: TestClient, path: str) -> None:
    text = client.get(path).text
    rules = policy(client, path)
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_loaded_from_the_network(client: TestClient, path: str) -> None:
    text = client.get(path).text
    assert re.findall(r"https?://", text) == []
    assert re.findall(r"\bsrc=|@import|url\(", text) == []
    assert set(re.findall(r'href="([^"]*)"', text)) <= {"data:,", "docs", ".", "openapi.json"}
    # The policy ignores attributes with scripts and styles, so they would only seem to work.
    assert re.findall(r'\s(on\w+|style)="', text) == []


@pytest.mark.parametrize("name", ["shared.js", "home.js", "docs.js"])
def test_texts_are_never_read_as_html_or_code(name: str) -> None:
    script = FILES.joinpath(name).read_text()
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert forbidden not in script
    for storage in ("localStorage", "sessionStorage", "document.cookie", "indexedDB"):
        assert storage not in script


@pytest.mark.parametrize("path", PATHS)
def test_every_control_has_a_label(client: TestClient, path: str) -> None:
    text = client.get(path).text
    assert '<html lang="en">' in text
    assert 'name="viewport"' in text
    labelled = set(re.findall(r'<label for="([^"]+)"', text))
    assert set(re.findall(r'<(?:input|select|textarea)[^>]* id="([^"]+)"', text)) <= labelled
    assert set(re.findall(r'byId\("([^"]+)"\)', text)) <= set(re.findall(r'\bid="([^"]+)"', text))
