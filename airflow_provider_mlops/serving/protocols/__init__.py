"""What is sent over HTTP: the Open Inference Protocol, MLflow's `/invocations`, feedback, and OpenAPI."""
