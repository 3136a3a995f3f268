"""Keys, rights, limits and TLS at the gRPC port, which are those of the HTTP port."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.gateway.access import wrong_keys
from airflow_provider_mlops.serving.gateway.access.access import Access
from airflow_provider_mlops.serving.gateway.access.tls import Certificates, open_certificates
from airflow_provider_mlops.serving.gateway.grpc.door import GrpcDoor
from airflow_provider_mlops.serving.gateway.grpc.server import GrpcServer
from airflow_provider_mlops.serving.gateway.grpc.servicer import Servicer
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers import sockets
from airflow_provider_mlops.serving.protocols.grpc import open_inference as messages
from tests.helpers.serving import served_registry
from tests.helpers.serving.certificates import Authority
from tests.helpers.serving.grpc_client import GrpcClient, request, tensor
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER
from tests.serving.gateway.access.conftest import Keys, write_keys

CODES = grpc.StatusCode
ONE = request("cancer", tensor("x", "FP64", [1, 30], fp64_contents=CANCER.iloc[0].tolist()))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def gateway(served_models: Path, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    directory = tmp_path_factory.mktemp("gateway")
    served_registry.copy_to(served_models, directory)
    options = ("--grpc-port", "0", "--keys", keys.path, "--without-key", "probes")
    process = LiveGateway.launch(directory, *options)
    try:
        yield process.wait_until_ready()
    finally:
        process.kill()


@pytest.fixture(scope="module")
def client(gateway: LiveGateway) -> Iterator[GrpcClient]:
    client = GrpcClient(gateway.grpc_address)
    yield client
    client.close()


def code(client: GrpcClient, method: str, content: Any, key: str | None) -> grpc.StatusCode:
    metadata = () if key is None else (("authorization", f"Bearer {key}"),)
    try:
        client.call(method, content.SerializeToString(), metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return CODES.OK


def test_a_prediction_needs_the_right(client: GrpcClient, keys: Keys) -> None:
    assert code(client, "ModelInfer", ONE, None) is CODES.UNAUTHENTICATED
    assert code(client, "ModelInfer", ONE, "wrong") is CODES.UNAUTHENTICATED
    assert code(client, "ModelInfer", ONE, keys.feedback) is CODES.PERMISSION_DENIED
    assert code(client, "ModelInfer", ONE, keys.churn) is CODES.PERMISSION_DENIED
    assert code(client, "ModelInfer", ONE, keys.predict) is CODES.OK


def test_other_methods_need_a_key_and_changes_an_administrator(client: GrpcClient, keys: Keys) -> None:
    for method, message in (
        ("ServerMetadata", messages.ServerMetadataRequest()),
        ("ModelMetadata", messages.ModelMetadataRequest(name="cancer")),
        ("ModelStatistics", messages.ModelStatisticsRequest(name="cancer")),
        ("RepositoryIndex", messages.RepositoryIndexRequest()),
        ("ModelReady", messages.ModelReadyRequest(name="cancer")),
    ):
        assert code(client, method, message, None) is CODES.UNAUTHENTICATED, method
        assert code(client, method, message, keys.predict) is CODES.OK, method
    for load in (
        messages.RepositoryModelLoadRequest(model_name="cancer"),
        messages.RepositoryModelLoadRequest(repository_name="cancer"),
    ):
        assert code(client, "RepositoryModelLoad", load, keys.predict) is CODES.PERMISSION_DENIED
        assert code(client, "RepositoryModelLoad", load, keys.churn) is CODES.PERMISSION_DENIED
        assert code(client, "RepositoryModelLoad", load, keys.administration) is CODES.OK


def test_probes_are_open(client: GrpcClient) -> None:
    assert code(client, "ServerLive", messages.ServerLiveRequest(), None) is CODES.OK
    assert code(client, "ServerReady", messages.ServerReadyRequest(), None) is CODES.OK


def test_a_key_shows_only_its_models(client: GrpcClient, keys: Keys) -> None:
    allowed = (("authorization", f"Bearer {keys.churn}"),)
    index = client.ask("RepositoryIndex", messages.RepositoryIndexRequest(), metadata=allowed)
    assert {entry.name for entry in index.models} == {"churn"}
    statistics = client.ask("ModelStatistics", messages.ModelStatisticsRequest(), metadata=allowed)
    assert {entry.name for entry in statistics.model_stats} == {"churn"}
    hidden = messages.ModelMetadataRequest(name="cancer")
    assert code(client, "ModelMetadata", hidden, keys.churn) is CODES.PERMISSION_DENIED


def test_wrong_keys_are_limited_together_with_those_over_http(served_models: Path, tmp_path: Path, keys: Keys) -> None:
    served_registry.copy_to(served_models, tmp_path)
    gateway = LiveGateway(tmp_path, "--model", "cancer", "--grpc-port", "0", "--keys", keys.path)
    gateway.key = keys.administration
    with gateway:
        client = GrpcClient(gateway.grpc_address)
        url = f"{gateway.url}/models/cancer/invocations"
        for _ in range(wrong_keys.BURST // 2):
            assert code(client, "ServerMetadata", messages.ServerMetadataRequest(), "wrong") is CODES.UNAUTHENTICATED
            assert httpx.post(url, json={}, headers={"Authorization": "Bearer wrong"}).status_code == 401
        gateway.wait(lambda: code(client, "ModelInfer", ONE, "wrong") is CODES.RESOURCE_EXHAUSTED)
        answer = httpx.post(url, json={}, headers={"Authorization": "Bearer wrong"})
        assert (answer.status_code, "retry-after" in answer.headers) == (429, True)
        assert code(client, "ModelInfer", ONE, keys.predict) is CODES.OK
        client.close()


def only_live(settings: Settings) -> GrpcServer:
    """A server that can answer whether it is live."""
    door = GrpcDoor(Access(settings, Metrics()), settings)
    servicer = Servicer(None, None, None, door, None)  # type: ignore[arg-type]
    return GrpcServer(servicer, settings, open_certificates(settings))


def free_port() -> int:
    with sockets.bind("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def test_mutual_tls(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    ours, theirs, gateways = authority.issue("client"), stranger.issue("stranger"), authority.issue("gateway")
    settings = Settings(
        str(tmp_path),
        grpc_port=free_port(),
        tls_certificate=gateways.certificate,
        tls_key=gateways.key,
        tls_client_ca=authority.bundle,
    )

    async def live(credentials: grpc.ChannelCredentials | None) -> bool:
        address = f"127.0.0.1:{settings.grpc_port}"
        channel = (
            grpc.aio.insecure_channel(address) if credentials is None else grpc.aio.secure_channel(address, credentials)
        )
        async with channel:
            try:
                answer = await channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)
            except grpc.aio.AioRpcError as error:
                if error.code() is not CODES.UNAVAILABLE:
                    raise
                return False
        return bool(messages.ServerLiveResponse.FromString(answer).live)

    def with_files(bundle: str, issued: Any = None) -> grpc.ChannelCredentials:
        pair = () if issued is None else (Path(issued.key).read_bytes(), Path(issued.certificate).read_bytes())
        return grpc.ssl_channel_credentials(Path(bundle).read_bytes(), *pair)

    async def run() -> list[bool]:
        listening = only_live(settings)
        await listening.start()
        try:
            return [
                await live(with_files(authority.bundle, ours)),
                await live(None),
                await live(with_files(authority.bundle)),
                await live(with_files(authority.bundle, theirs)),
                await live(with_files(stranger.bundle, ours)),
            ]
        finally:
            await listening.stop(1)

    assert asyncio.run(run()) == [True, False, False, False, False]


def test_a_new_certificate_and_new_authorities_are_used_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    client, other = old.issue("client"), new.issue("other")
    files = {name: str(tmp_path / f"{name}.pem") for name in ("certificate", "key", "client_ca")}

    def install(authority: Authority) -> None:
        issued = authority.issue("gateway")
        for name, source in (("certificate", issued.certificate), ("key", issued.key), ("client_ca", authority.bundle)):
            shutil.copy(source, files[name])

    install(old)
    settings = Settings(str(tmp_path), grpc_port=free_port())
    certificates = Certificates(files["certificate"], files["key"], files["client_ca"])

    async def live(bundle: str, issued: Any) -> bool:
        pair = Path(issued.key).read_bytes(), Path(issued.certificate).read_bytes()
        credentials = grpc.ssl_channel_credentials(Path(bundle).read_bytes(), *pair)
        # Channels with the same arguments share a connection.
        own = (("grpc.use_local_subchannel_pool", 1),)
        async with grpc.aio.secure_channel(f"127.0.0.1:{settings.grpc_port}", credentials, own) as channel:
            try:
                await channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)
            except grpc.aio.AioRpcError as error:
                return {CODES.UNAVAILABLE: False}[error.code()]
        return True

    async def run() -> list[bool]:
        door = GrpcDoor(Access(settings, Metrics()), settings)
        listening = GrpcServer(Servicer(None, None, None, door, None), settings, certificates)  # type: ignore[arg-type]
        await listening.start()
        try:
            found = [await live(old.bundle, client), await live(new.bundle, other)]
            install(new)
            for _ in range(3):
                await certificates.refresh()
            found += [await live(new.bundle, other), await live(new.bundle, client), await live(old.bundle, client)]
            Path(files["key"]).write_text("nonsense")
            for _ in range(3):
                await certificates.refresh()
            return [*found, await live(new.bundle, other)]
        finally:
            await listening.stop(1)

    assert asyncio.run(run()) == [True, False, True, False, False, True]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    async def run(port: int) -> None:
        await only_live(Settings(str(tmp_path), grpc_port=port)).start()

    with sockets.bind("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(InvalidSpecError, match="grpc_port"):
            asyncio.run(run(taken.getsockname()[1]))
