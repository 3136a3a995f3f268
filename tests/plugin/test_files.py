"""The pages of the plugin, behind Airflow's real API server and its simple auth manager."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from airflow import __version__ as airflow_version
from packaging.version import Version

from airflow_provider_mlops.links.served import is_served
from tests.helpers.airflow.api_server import token_of

ROOT = "reports/churn/run_1/analyze"


@pytest.fixture
def written(storage: Path) -> Path:
    for name, text in {
        f"{ROOT}/analyze.html": "<h1>Report</h1>",
        f"{ROOT}/secret.parquet": "rows",
        "reports/other/run_1/analyze/analyze.html": "other",
        "datasets/churn/run_1/extract/rows/manifest.json": "{}",
        "gateway.key": "key",
    }.items():
        path = storage / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return storage


@pytest.fixture
def token(api_server) -> str:
    return token_of("viewer")


def get(api_server, path: str, token: str | None = None, cookie: str | None = None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"Cookie": f"_token={cookie}"} if cookie else {}
    return api_server.get(f"/mlops/files/{path}", headers=headers, follow_redirects=False)


def test_whoever_is_not_logged_in_gets_nothing(api_server, written):
    assert get(api_server, f"churn/{ROOT}/analyze.html").status_code == 401
    assert get(api_server, f"churn/{ROOT}/analyze.html", token="made.up.token").status_code in (401, 403)


@pytest.mark.parametrize("way", ["token", "cookie"])
def test_a_user_reads_a_report_in_the_browser(api_server, written, token, way):
    if way == "cookie" and Version(airflow_version) < Version("3.1.1"):
        pytest.skip("Airflow 3.1.0 lets no user in by the cookie of the browser")
    answer = get(api_server, f"churn/{ROOT}/analyze.html", **{way: token})
    assert answer.status_code == 200
    assert answer.text == "<h1>Report</h1>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "churn/reports/churn/run_1/analyze/missing.html",
        "churn/reports/churn/run_1/analyze/secret.parquet",
        "churn/reports/other/run_1/analyze/analyze.html",
        "churn/reports/churn/%2e%2e/other/run_1/analyze/analyze.html",
        "churn/reports/churn/..%2Fother/run_1/analyze/analyze.html",
        "churn/datasets/churn/run_1/extract/rows/manifest.json",
        "churn/gateway.key",
        "churn/reports/churn/%2fetc/passwd.html",
        "churn/reports/churn//etc/hosts.html",
    ],
)
def test_nothing_but_the_pages_of_the_dag_is_served(api_server, written, token, path):
    assert get(api_server, path, token).status_code == 404


def test_a_symbolic_link_does_not_lead_out(api_server, written, token, tmp_path):
    outside = tmp_path / "outside.html"
    outside.write_text("outside")
    os.symlink(outside, written / ROOT / "link.html")
    assert get(api_server, f"churn/{ROOT}/link.html", token).status_code == 404


def test_a_user_without_a_role_reads_nothing(api_server, written):
    assert get(api_server, f"churn/{ROOT}/analyze.html", token_of(None)).status_code == 403


def test_reading_takes_the_permission_to_read_that_dag(api_server, written, token, monkeypatch):
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    asked = []

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        asked.append((method, details.id))
        return details.id != "churn"

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", is_authorized_dag)
    assert get(api_server, f"churn/{ROOT}/analyze.html", token).status_code == 403
    assert asked == [("GET", "churn")]
    # Nor does the permission to read another DAG help.
    assert get(api_server, f"other/{ROOT}/analyze.html", token).status_code == 404


def test_dag_ids_are_found_as_tasks_write_them():
    assert is_served("süß", "reports/s__/run/task/page.html")
    assert not is_served("churn", "reports/churn/run\x00/page.html")
    assert not is_served("churn", "reports/churn/a\\b/page.html")
