"""The gRPC server of one process, on the event loop of its HTTP server."""

from __future__ import annotations

import logging

import grpc

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.gateway.grpc.servicer import Servicer

log = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
_EXTRA_BYTES = 64 * 1024
"""Added to the size of a body for the names, shapes and parameters around it."""


class GrpcServer:
    """A server that listens from `start` to `stop`.

    Parameters
    ----------
    servicer
        Answers the calls.
    host, port
        Address.
    max_body_bytes
        Maximum size of a request; larger ones get the status RESOURCE_EXHAUSTED.
    shared
        Whether other workers listen on the same port.
    """

    def __init__(self, servicer: Servicer, host: str, port: int, max_body_bytes: int, *, shared: bool) -> None:
        self._port = port
        self._host = host
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", int(shared)),
                ("grpc.max_receive_message_length", max_body_bytes + _EXTRA_BYTES),
                # A model's answer may be larger than its input; clients have limits of their own.
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", _EXTRA_BYTES),
            )
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, servicer.handlers()),))

    async def start(self) -> None:
        """Listen. Raises InvalidSpecError if the port is in use."""
        address = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError:
            bound = 0
        if not bound:
            raise InvalidSpecError(
                "grpc_port", self._port, f"it must be free on {self._host}, but binding failed. Use another port"
            )
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """Accept no more calls, and wait for those in progress for a limited time."""
        await self._server.stop(seconds)
