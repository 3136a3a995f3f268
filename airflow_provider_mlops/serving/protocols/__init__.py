"""Formats of requests and responses: the Open Inference Protocol, MLflow's `/invocations`, feedback, and OpenAPI."""
