"""A gRPC client of the Open Inference Protocol that can send anything."""

from __future__ import annotations

from typing import Any

import grpc

from airflow_provider_mlops.serving.protocols.grpc import open_inference as messages

SERVICE = "/inference.GRPCInferenceService/"


class GrpcClient:
    """Calls the methods of one address."""

    def __init__(self, address: str, **options: int) -> None:
        self._channel = grpc.insecure_channel(
            address, options=[(f"grpc.{name}", value) for name, value in options.items()]
        )

    def call(self, method: str, content: bytes = b"", **options: Any) -> tuple[bytes, grpc.Call]:
        """Send bytes to a method. Returns the response and what came with it; raises grpc.RpcError."""
        options.setdefault("timeout", 60)
        return self._channel.unary_unary(SERVICE + method).with_call(content, **options)

    def ask(self, method: str, request: Any = None, **options: Any) -> Any:
        """Send a message to a method. Returns the response; raises grpc.RpcError."""
        content, _ = self.call(method, b"" if request is None else request.SerializeToString(), **options)
        return getattr(messages, f"{method}Response").FromString(content)

    def infer(
        self, request: messages.ModelInferRequest, **options: Any
    ) -> tuple[messages.ModelInferResponse, dict[str, str]]:
        """Predict. Returns the response and the initial metadata; raises grpc.RpcError."""
        content, call = self.call("ModelInfer", request.SerializeToString(), **options)
        return messages.ModelInferResponse.FromString(content), dict(call.initial_metadata())

    def close(self) -> None:
        self._channel.close()


def tensor(name: str, datatype: str, shape: list[int], **contents: Any) -> messages.ModelInferRequest.InferInputTensor:
    """A tensor with typed contents, or without any."""
    typed = messages.InferTensorContents(**contents) if contents else None
    return messages.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape, contents=typed)


def request(model: str, *tensors: Any, raw: tuple[bytes, ...] = (), **fields: Any) -> messages.ModelInferRequest:
    """A request for a prediction."""
    return messages.ModelInferRequest(model_name=model, inputs=tensors, raw_input_contents=raw, **fields)
