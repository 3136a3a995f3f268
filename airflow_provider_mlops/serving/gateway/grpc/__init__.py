"""The gateway's gRPC port: the Open Inference Protocol, answered by the same endpoint as HTTP."""
