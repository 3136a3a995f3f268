"""The gRPC server of one process, on the event loop of its HTTP server."""

from __future__ import annotations

import grpc

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.gateway.access.tls import Certificates, TlsCredentials
from airflow_provider_mlops.serving.gateway.grpc.servicer import Servicer
from airflow_provider_mlops.serving.gateway.http.http_protocol import HttpProtocol
from airflow_provider_mlops.serving.gateway.settings import Settings

SERVICE = "inference.GRPCInferenceService"
_EXTRA_BYTES = 64 * 1024
"""Added to the size of a body for the names, shapes and parameters around it."""
_OTHER_CALLS = 64
"""Number of calls that are not predictions, in addition to `max_requests`."""
_HANDSHAKE_MS = 10_000
_IDLE_MS = 300_000


class GrpcServer:
    """A server that listens from `start` to `stop`.

    Parameters
    ----------
    servicer
        Answers the calls.
    settings
        Address and limits. Larger requests than `max_body_bytes` get the status RESOURCE_EXHAUSTED.
    certificates
        The certificate of the HTTP port; None without TLS.
    """

    def __init__(self, servicer: Servicer, settings: Settings, certificates: Certificates | None = None) -> None:
        self._settings = settings
        self._certificates = certificates
        self._server = grpc.aio.server(
            options=(
                # The supervisor keeps the port, and all workers listen on it.
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", settings.max_body_bytes + _EXTRA_BYTES),
                # A model's answer may be larger than its input; clients have limits of their own.
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", _EXTRA_BYTES),
                ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
                ("grpc.max_connection_idle_ms", _IDLE_MS),
                # The HTTP port has three quarters of the files of a process, and this one half of the rest.
                ("grpc.max_allowed_incoming_connections", max(16, (HttpProtocol.open_connections.maximum or 0) // 6)),
            ),
            # Requests are counted again when they have arrived; this bounds those that are arriving.
            maximum_concurrent_rpcs=settings.max_requests + _OTHER_CALLS,
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, servicer.handlers()),))

    async def start(self) -> None:
        """Listen. Raises InvalidSpecError if the port is in use."""
        host, port = self._settings.host, self._settings.grpc_port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        credentials = None if self._certificates is None else _credentials(self._certificates)
        try:
            bound = (
                self._server.add_insecure_port(address)
                if credentials is None
                else self._server.add_secure_port(address, credentials)
            )
        except RuntimeError:
            bound = 0
        if not bound:
            raise InvalidSpecError(
                "grpc_port", port, f"it must be free on {host}, but binding failed. Use another port"
            )
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """Accept no more calls, and wait for those in progress for a limited time."""
        await self._server.stop(seconds)


class _Fetcher:
    """Returns the certificate for a new connection if it is another one than before. gRPC calls it in its threads."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._given = certificates.current

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        current = self._certificates.current
        if current is self._given:
            return None
        self._given = current
        return _configuration(current)


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Return the certificate of the HTTP port for gRPC, which changes with it."""
    current = certificates.current
    return grpc.dynamic_ssl_server_credentials(
        _configuration(current), _Fetcher(certificates), require_client_authentication=current.client_ca is not None
    )


def _configuration(current: TlsCredentials) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(current.key, current.certificate)], current.client_ca)
