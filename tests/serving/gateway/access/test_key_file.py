"""The key file and the commands that change it."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from airflow_provider_mlops.cli.app import app
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.gateway.access import key_file
from airflow_provider_mlops.serving.gateway.access.keyring import Keyring, open_keyring


def keys_command(*arguments: str, file: Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["keys", *arguments, "--file", str(file)])
    return result.exit_code, result.stdout.strip(), result.stderr


def test_a_key_is_printed_once_and_only_its_hash_is_stored(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    code, key, message = keys_command("create", "web", "--right", "prediction", "--model", "churn", file=file)
    assert code == 0
    assert key.startswith("mlops_")
    assert len(key) >= 46
    assert key not in message
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    client = Keyring(str(file), None).find(key.encode())
    assert client is not None
    assert (client.name, client.rights, client.models) == ("web", {"prediction"}, {"churn"})
    code, listed, _ = keys_command("list", file=file)
    assert code == 0
    assert "web: prediction for churn" in listed
    assert key not in listed


def test_two_keys_of_a_client_overlap_until_one_is_revoked(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    _, old, _ = keys_command("create", "web", "--right", "prediction", "--right", "feedback", file=file)
    _, new, _ = keys_command("create", "web", file=file)
    keyring = Keyring(str(file), None)
    assert keyring.find(old.encode()) == keyring.find(new.encode()) is not None
    old_id = json.loads(file.read_text())["clients"]["web"]["keys"][0]["sha256"][:12]
    code, message, _ = keys_command("revoke", "web", "--id", old_id, file=file)
    assert (code, message) == (0, f"Revoked key {old_id} of client web; 1 key left")
    keyring.refresh()
    assert keyring.find(old.encode()) is None
    assert keyring.find(new.encode()) is not None
    assert keys_command("revoke", "web", file=file)[0] == 0
    keyring.refresh()
    assert keyring.find(new.encode()) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "web"), "right=None"),
        (("create", "web", "--right", "everything"), "'prediction', 'feedback', 'monitoring'"),
        (("create", "a b", "--right", "prediction"), "client='a b'"),
        (("create", "web", "--right", "monitoring", "--model", "churn"), "monitoring concerns all models"),
        (("create", "known", "--right", "administration"), "already exists, with the rights 'prediction'"),
        (("revoke", "knwon"), "Did you mean 'known'"),
        (("revoke", "known", "--id", "123"), "Its keys are"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    file = tmp_path / "keys.json"
    keys_command("create", "known", "--right", "prediction", file=file)
    before = file.read_text()
    code, output, message = keys_command(*arguments, file=file)
    assert (code, output) == (2, "")
    assert words in message
    assert file.read_text() == before


def test_a_file_that_cannot_be_written_is_unchanged_and_the_message_says_why(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys_command("create", "known", "--right", "prediction", file=file)
    before = file.read_text()
    (tmp_path / "keys.json.tmp").mkdir()
    code, output, message = keys_command("create", "web", "--right", "prediction", file=file)
    assert (code, output) == (2, "")
    assert "the key file cannot be written (Is a directory) and was not changed" in message
    assert file.read_text() == before
    code, _, message = keys_command("create", "web", "--right", "prediction", file=file / "below")
    assert (code, "the key file cannot be written (File exists)" in message) == (2, True)


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.json")

    def add(number: int) -> None:
        with key_file.changing(path) as versions:
            versions.append(versions[0].with_key(f"client{number}", ("prediction",))[0])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(16)))
    assert len(key_file.read(path).clients) == 16


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"clients": {"web": {"rights": ["prediction"], "keys": []}}}',
        '{"clients": {"web": {"rights": [], "keys": [{"sha256": "' + "0" * 64 + '"}]}}}',
        '{"clients": {"web": {"rights": ["all"], "keys": [{"sha256": "' + "0" * 64 + '"}]}}}',
        '{"clients": {"web": {"rights": ["prediction"], "keys": [{"sha256": "mlops_plain"}]}}}',
        '{"clients": {"web": {"rights": ["prediction"], "limits": {"rows": 0}, "keys": [{"sha256": "'
        + "0" * 64
        + '"}]}}}',
        '{"clients": {"a:b": {"rights": ["prediction"], "keys": [{"sha256": "' + "0" * 64 + '"}]}}}',
        '{"clients": {"web": {"rights": ["monitoring"], "models": ["a"], "keys": [{"sha256": "' + "0" * 64 + '"}]}}}',
        '{"clients": {"a": {"rights": ["prediction"], "keys": [{"sha256": "'
        + "0" * 64
        + '"}, {"sha256": "'
        + "0" * 64
        + '"}]}}}',
    ],
)
def test_a_file_that_is_not_valid_is_refused_at_the_start(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    with pytest.raises(InvalidSpecError) as raised:
        open_keyring(str(file), str(tmp_path))
    assert raised.value.field == "keys"
    assert "mlops_plain" not in str(raised.value)


def test_a_file_that_any_user_may_change_or_nobody_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys_command("create", "web", "--right", "prediction", file=file)
    os.chmod(file, 0o666)
    with pytest.raises(InvalidSpecError, match="chmod o-w"):
        open_keyring(str(file), str(tmp_path))
    with pytest.raises(InvalidSpecError, match="cannot be read"):
        open_keyring(str(tmp_path / "nowhere.json"), str(tmp_path))
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(InvalidSpecError, match="has no keys"):
        open_keyring(str(tmp_path / "empty.json"), str(tmp_path))


def test_a_file_that_breaks_later_leaves_the_last_keys_valid_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    _, key, _ = keys_command("create", "web", "--right", "prediction", file=file)
    keyring, valid = Keyring(str(file), None), file.read_text()
    file.write_text(valid[:40])
    keyring.refresh()
    assert keyring.find(key.encode()) is not None
    assert "keys read before stay valid" in (keyring.problem or "")
    file.unlink()
    keyring.refresh()
    assert keyring.find(key.encode()) is not None
    file.write_text(valid)
    keyring.refresh()
    assert keyring.problem is None
    # A file that only looks the same as before was read, too.
    assert keyring.find(key.encode()) is not None


def test_a_mounted_secret_that_is_exchanged_behind_a_link_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    _, first, _ = keys_command("create", "web", "--right", "prediction", file=tmp_path / "one" / "keys.json")
    _, second, _ = keys_command("create", "web", "--right", "prediction", file=tmp_path / "two" / "keys.json")
    link = tmp_path / "data"
    link.symlink_to(tmp_path / "one")
    keyring = Keyring(str(link / "keys.json"), None)
    assert keyring.find(first.encode()) is not None
    (tmp_path / "new").symlink_to(tmp_path / "two")
    os.replace(tmp_path / "new", link)
    keyring.refresh()
    assert keyring.find(first.encode()) is None
    assert keyring.find(second.encode()) is not None
