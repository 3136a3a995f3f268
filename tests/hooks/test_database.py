from __future__ import annotations

import json
import sqlite3

import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.database import sqlalchemy_url


def connect(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(fields))


@pytest.mark.parametrize("how", ["host", "uri"])
def test_sqlite_opens_the_file(tmp_path, monkeypatch, how):
    import sqlalchemy

    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("create table customers (a int)")
        database.execute("insert into customers values (7)")
    if how == "host":
        connect(monkeypatch, conn_type="sqlite", host=str(path))
    else:
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"sqlite:///{path}")
    with sqlalchemy.create_engine(sqlalchemy_url("shop")).connect() as database:
        assert database.execute(sqlalchemy.text("select a from customers")).scalar() == 7


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        (
            {
                "conn_type": "redshift",
                "host": "db",
                "port": 5433,
                "login": "ada",
                "password": "p@ss/word",
                "schema": "shop",
            },
            "postgresql://ada:p%40ss%2Fword@db:5433/shop",
        ),
        ({"conn_type": "mysql", "host": "db", "login": "ada", "schema": "shop"}, "mysql+pymysql://ada@db/shop"),
        (
            {"conn_type": "generic", "host": "db", "extra": {"sqlalchemy_scheme": "duckdb"}},
            "duckdb://db",
        ),
    ],
)
def test_databases_whose_provider_is_not_installed(monkeypatch, fields, url):
    connect(monkeypatch, **fields)
    assert sqlalchemy_url("shop") == url


def test_a_type_that_airflow_did_not_know_says_what_to_install(monkeypatch):
    connect(monkeypatch, conn_type="generic", host="/data/shop.db")
    with pytest.raises(
        InvalidSpecError, match=r"source\.connection=.(shop|SHOP)..*generic.*providers-sqlite.*AIRFLOW_CONN"
    ) as error:
        sqlalchemy_url("shop")
    assert error.value.field == "source.connection"


def test_the_password_is_masked(monkeypatch):
    from airflow.providers.common.compat.sdk import redact

    connect(monkeypatch, conn_type="postgres", host="db", login="ada", password="hush-hush-3")
    shown = redact(sqlalchemy_url("shop"))
    assert shown.startswith("postgresql")
    assert shown.endswith("://ada:***@db")


def test_a_connection_that_does_not_exist():
    with pytest.raises(InvalidSpecError, match=r"source\.connection='nowhere'"):
        sqlalchemy_url("nowhere")
