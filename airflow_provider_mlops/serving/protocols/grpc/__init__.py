"""The Open Inference Protocol in gRPC: its messages, and prediction requests."""
