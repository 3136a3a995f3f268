"""A gateway as it runs in a company: two workers, keys, TLS, certificates of clients, and a rollout by rewards."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.client.credentials import ClientTls
from airflow_provider_mlops.serving.gateway.access import key_file
from airflow_provider_mlops.serving.log import prediction_id, prediction_log
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from airflow_provider_mlops.serving.traffic.replay import Replay
from airflow_provider_mlops.serving.traffic.traffic import Traffic
from tests.helpers.rollouts import canary
from tests.helpers.rollouts_in_gateway import BODY, HALF, begin, counted
from tests.helpers.serving import served_registry
from tests.helpers.serving.certificates import Authority
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER
from tests.serving.gateway.access.conftest import Keys, bearer, write_keys

PATH = "/models/cancer/invocations"


class Guarded(NamedTuple):
    """The gateway, its keys, and files of the authority."""

    gateway: LiveGateway
    keys: Keys
    authority: Authority
    directory: Path

    def session(self) -> httpx.Client:
        """Return connections with the right certificates and without a key."""
        context = self.gateway.tls.context()
        assert context is not None
        return httpx.Client(base_url=self.gateway.url, verify=context, timeout=60)

    @contextmanager
    def changed_keys(self) -> Iterator[list[key_file.KeyFile]]:
        """Change the key file, and wait until both workers have read it. Asking would send many wrong keys."""
        again = "Read the key file"
        before = self.gateway.log.read_text().count(again)
        with key_file.changing(self.keys.path) as versions:
            yield versions
        self.gateway.wait(lambda: self.gateway.log.read_text().count(again) == before + 2, "both have read the keys")

    def statuses(self, key: str, connections: int = 16) -> set[int]:
        """Send a request on each of several new connections, which reach both workers."""
        found = set()
        for _ in range(connections):
            with self.session() as client:
                found.add(client.post(PATH, json=BODY, headers=bearer(key)).status_code)
        return found


@pytest.fixture(scope="module")
def guarded(served_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    storage = directory / "mlops"
    served_registry.copy_to(served_models, storage)
    keys = write_keys(directory)
    authority = Authority(directory, "authority")
    server, client = authority.issue("gateway"), authority.issue("client")
    process = LiveGateway(
        storage,
        *("--model", "cancer", "--workers", "2", "--keys", keys.path, "--cors-origin", "https://app.example.com"),
        *("--tls-certificate", server.certificate, "--tls-key", server.key, "--tls-client-ca", authority.bundle),
    )
    process.key = keys.administration
    process.tls = ClientTls(ca_bundle=authority.bundle, certificate=client.certificate, certificate_key=client.key)
    with process:
        yield Guarded(process, keys, authority, directory)


def test_a_client_with_its_key_and_certificate_is_answered(guarded: Guarded) -> None:
    with guarded.gateway.client() as client:
        assert client.infer("cancer", CANCER.head(3), verification=True).version == 1
        assert "mlops_requests_total" in client.metrics()
    text = guarded.gateway.log.read_text()
    assert "Listening on https://127.0.0.1" in text
    assert "Every request needs a key" in text
    assert not any(key in text for key in guarded.keys[1:])


def test_a_key_that_lacks_a_right_is_told_which(guarded: Guarded) -> None:
    with guarded.gateway.client(guarded.keys.predict) as client:
        with pytest.raises(InvalidSpecError, match="'web' does not have the right 'administration'") as raised:
            client.models()
        assert raised.value.field == "gateway_conn_id"
        assert guarded.keys.predict not in str(raised.value)
    with guarded.gateway.client("wrong") as client:
        # Waiting would not help.
        for ask in (client.ready, lambda: client.model_ready("cancer")):
            with pytest.raises(InvalidSpecError, match="key is not valid"):
                ask()


def test_a_wrong_certificate_on_either_side_is_named(guarded: Guarded) -> None:
    url, right = guarded.gateway.url, guarded.gateway.tls
    stranger = Authority(guarded.directory, "stranger")
    other = stranger.issue("other")
    expired = guarded.authority.issue("expired", days=-1)
    for tls in (
        ClientTls(certificate=right.certificate, certificate_key=right.certificate_key),
        right.model_copy(update={"ca_bundle": stranger.bundle}),
    ):
        with GatewayClient(url, guarded.keys.administration, tls=tls) as client:
            for ask in (client.models, client.ready):
                with pytest.raises(InvalidSpecError, match="not trusted") as raised:
                    ask()
                assert raised.value.field == "ca_bundle"
    for tls in (
        ClientTls(ca_bundle=right.ca_bundle),
        ClientTls(ca_bundle=right.ca_bundle, certificate=other.certificate, certificate_key=other.key),
        ClientTls(ca_bundle=right.ca_bundle, certificate=expired.certificate, certificate_key=expired.key),
    ):
        # The alert that says why can be lost when the server closes the connection.
        refusal = pytest.raises((InvalidSpecError, BackendUnavailableError), match="certificate")
        with GatewayClient(url, guarded.keys.administration, tls=tls) as client, refusal:
            client.models()
    with GatewayClient(url.replace("https", "http"), guarded.keys.administration) as client:
        with pytest.raises(BackendUnavailableError):
            client.models()
    # The name in the certificate is compared as well.
    with GatewayClient(url.replace("127.0.0.1", "localhost"), "any", tls=right) as client:
        with pytest.raises(InvalidSpecError, match="not trusted"):
            client.models()


def test_a_key_is_exchanged_without_a_restart_in_both_workers(guarded: Guarded) -> None:
    with guarded.changed_keys() as versions:
        file, old = versions[0].with_key("mobile", ("prediction",))
        versions.append(file)
    assert guarded.statuses(old) == {200}
    with guarded.changed_keys() as versions:
        file, new = versions[0].with_key("mobile")
        versions.append(file)
    assert guarded.statuses(new) == {200}
    assert guarded.statuses(old) == {200}
    old_id = file.clients["mobile"].keys[0].id
    with guarded.changed_keys() as versions:
        versions.append(versions[0].without("mobile", old_id))
    assert guarded.statuses(old) == {401}
    assert guarded.statuses(new) == {200}


def test_hostile_headers_on_the_wire(guarded: Guarded) -> None:
    right = bearer(guarded.keys.administration)["Authorization"].encode()
    with guarded.session() as client:
        for headers in (
            [(b"Authorization", right), (b"Authorization", right)],
            [(b"Authorization", right), (b"authorization", b"Bearer wrong")],
            [(b"Authorization", b"Bearer \xff\xfe\x80")],
            [(b"Authorization", b"Bearer " + b"x" * 50_000)],
            [(b"Authorization", b"")],
        ):
            answer = client.get("/admin/models", headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="airflow-mlops"')
        assert client.get("/admin/models", headers=[(b"Authorization", right + b"x" * 70_000)]).status_code == 431
        # A preflight has no key, and comes before the doors.
        preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
        assert client.options(PATH, headers=preflight).status_code == 200
    assert guarded.statuses(guarded.keys.predict) == {200}


def test_a_silent_handshake_does_not_keep_others_out(guarded: Guarded) -> None:
    with (
        socket.create_connection(("127.0.0.1", guarded.gateway.port)),
        socket.create_connection(("127.0.0.1", guarded.gateway.port)) as garbage,
    ):
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert guarded.statuses(guarded.keys.predict, 4) == {200}


def test_traffic_sends_its_key_and_checks_the_certificate(guarded: Guarded) -> None:
    rows, secret = guarded.directory / "rows.parquet", guarded.directory / "secret"
    CANCER.head(20).assign(reward=1.0).to_parquet(rows)
    tls = guarded.gateway.tls
    traffic = Traffic(
        str(rows),
        "cancer",
        guarded.gateway.url,
        key_file=str(secret),
        ca_bundle=tls.ca_bundle,
        certificate=tls.certificate,
        certificate_key=tls.certificate_key,
        rate=200,
        reward="reward",
        label_patience=0,
    )
    secret.write_text(f"{guarded.keys.predict}\n")
    assert guarded.keys.predict not in repr(traffic)
    summary = Replay(traffic).run()
    assert (summary.answered, summary.errors) == (20, 0)
    # Its key has no right for rewards.
    assert (summary.labels.acknowledged, summary.labels.lost) == (0, 20)
    with pytest.raises(InvalidSpecError, match="requires a key"):
        Replay(
            Traffic(
                str(rows),
                "cancer",
                guarded.gateway.url,
                ca_bundle=tls.ca_bundle,
                certificate=tls.certificate,
                certificate_key=tls.certificate_key,
            )
        )
    with pytest.raises(InvalidSpecError, match="not trusted"):
        Replay(Traffic(str(rows), "cancer", guarded.gateway.url, key_file=str(secret)))


def test_a_stranger_who_rewards_their_own_requests_changes_nothing(guarded: Guarded) -> None:
    store = RolloutStore(default_url(str(guarded.gateway.storage)))
    rollout = begin(store, guarded.gateway, canary(strategy=HALF, reward={"binary": True}))

    def rewards() -> int:
        return sum(counted(store, rollout, arm).reward_count for arm in ("champion", "candidate"))

    with guarded.session() as client:
        answers = [client.post(PATH, json=BODY, headers=bearer(guarded.keys.predict)) for _ in range(20)]
        # Only a worker that follows the rollout answers with the candidate.
        answers.sort(key=lambda answer: answer.raise_for_status().headers["x-model-version"], reverse=True)
        ids = [answer.headers["x-prediction-id"] for answer in answers]
        entries = [{"prediction_id": name, "reward": 1} for name in ids]
        for headers in ({}, bearer("wrong"), bearer(guarded.keys.predict), bearer(guarded.keys.churn)):
            answer = client.post("/feedback", json={"feedback": entries}, headers=headers)
            assert answer.status_code == (403 if headers in map(bearer, guarded.keys) else 401)
        # The one who may: each reward counts once, and none for a prediction that never was.
        invented = [{"prediction_id": "0190a5d3c1f2" + f"{n:020x}", "reward": 1} for n in range(50)]
        one = [{"prediction_id": ids[0], "reward": 0}]
        for content in (invented, one, one, [{"prediction_id": ids[0], "reward": 1}], one):
            client.post(
                "/feedback", json={"feedback": content}, headers=bearer(guarded.keys.feedback)
            ).raise_for_status()
        guarded.gateway.wait(lambda: rewards() >= 1, "the reward is ingested")
        # All of it was logged before the reward of a later prediction.
        answer = client.post(PATH, json=BODY, headers=bearer(guarded.keys.predict))
        last = {"prediction_id": answer.headers["x-prediction-id"], "reward": 1}
        client.post("/feedback", json=last, headers=bearer(guarded.keys.feedback)).raise_for_status()
    guarded.gateway.wait(lambda: rewards() >= 2, "the last reward is ingested")
    totals = [counted(store, rollout, arm).reward_total for arm in ("champion", "candidate")]
    assert (rewards(), sum(totals)) == (2, 1.0)
    store.close()


def test_secrets_are_in_no_command_line(guarded: Guarded) -> None:
    lines = [path.read_bytes() for path in Path("/proc").glob(f"{guarded.gateway.process.pid}/cmdline")]
    assert lines
    assert not any(key.encode() in line for line in lines for key in guarded.keys[1:])


def test_old_versions_of_tls_are_refused(guarded: Guarded) -> None:
    context = guarded.gateway.tls.context()
    assert context is not None
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", guarded.gateway.port)) as plain:
        with pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_key_labels_predictions_of_its_models_only(guarded: Guarded) -> None:
    gateway = guarded.gateway
    with guarded.changed_keys() as versions:
        file, of_churn = versions[0].with_key("churn-labels", ("feedback",), ("churn",))
        file, of_cancer = file.with_key("cancer-labels", ("feedback",), ("cancer",))
        versions.append(file)
    with guarded.session() as client:
        three = {"instances": [*BODY["instances"]] * 3}
        rows = client.post(PATH, json=three, headers=bearer(guarded.keys.predict)).json()["prediction_ids"]
        single = client.post(PATH, json=BODY, headers=bearer(guarded.keys.predict)).headers["x-prediction-id"]

        def label(key: str, *names: str) -> httpx.Response:
            entries = [{"prediction_id": name, "label": "1", "reward": 1} for name in names]
            return client.post("/feedback", json={"feedback": entries}, headers=bearer(key))

        ids_of_churn = [prediction_id.new("churn") for _ in range(2000)]
        # Also hidden behind many that it may label.
        for names in ([single], [*ids_of_churn[:1], rows[1]], [*ids_of_churn, rows[2]]):
            answer = label(of_churn, *names)
            assert (answer.status_code, answer.json()["field"]) == (403, "prediction_id")
            assert f"the model of the prediction {names[-1]}" in answer.json()["error"]
        # Its own digits in the id of another prediction are the id of none.
        assert label(of_churn, single[:12] + ids_of_churn[0][12:18] + single[18:]).status_code == 200
        assert label(of_cancer, rows[0]).json() == {"accepted": 1}
    log = prediction_log.read(str(gateway.storage), "cancer").execute().set_index("prediction_id")
    assert log.loc[rows[0], "reward"] == 1
    assert log.loc[[rows[1], rows[2], single], ["label", "reward"]].isna().all(axis=None)


def presented(gateway: LiveGateway, connections: int = 16) -> set[bytes | None]:
    """The certificates that the gateway presents on new connections, which reach both workers."""
    context = gateway.tls.context()
    assert context is not None
    found = set()
    for _ in range(connections):
        with socket.create_connection(("127.0.0.1", gateway.port)) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
                found.add(wrapped.getpeercert(binary_form=True))
    return found


def test_a_certificate_is_exchanged_without_a_restart_in_both_workers(guarded: Guarded) -> None:
    gateway = guarded.gateway
    before = presented(gateway)
    # The same files.
    issued = guarded.authority.issue("gateway")
    gateway.wait(lambda: len(presented(gateway) - before) == len(presented(gateway)) == 1, "both workers have read it")
    right = Path(issued.key).read_text()
    Path(issued.key).write_text("nonsense")
    wrong = "ERROR airflow_provider_mlops.serving.gateway.access.tls: The new TLS certificate cannot be used"
    gateway.wait(lambda: gateway.log.read_text().count(wrong) == 2, "both workers have refused the key")
    assert len(presented(gateway)) == 1
    with guarded.session() as client:
        ready = client.get("/v2/health/ready", headers=bearer(guarded.keys.predict)).json()
        assert ready["status"] == "degraded"
        assert "the new TLS certificate cannot be used" in ready["degraded"][0]
    Path(issued.key).write_text(right)

    def is_repaired() -> bool:
        with guarded.session() as client:
            found = client.get("/v2/health/ready", headers=bearer(guarded.keys.predict)).json()
        return bool(found["status"] == "ready")

    gateway.wait(is_repaired, "the key is valid again")
